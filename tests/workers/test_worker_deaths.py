"""Workers that die are replaced; the port never closes, counts stay, and nothing outlives the supervisor."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.workers.process_figures import cpu_ticks, is_running
from tests.workers.shard_walk import ShardWalk
from tests.workers.wire import Wire, count_of, pinned, until

_DEATH_COUNT = 6
_WAIT_MS = 20_000
_HOLDER = """
import fcntl, sys
with open(sys.argv[1], "rb") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""
_HALF_A_REQUEST = (
    b"POST / HTTP/1.1\r\nHost: streamd\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n"
    b"Content-Type: application/x-amz-json-1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
)


def _replace_worker(daemon: Daemon, victim: int) -> None:
    os.kill(victim, signal.SIGKILL)
    count = int(daemon.flags[daemon.flags.index("--workers") + 1])
    until(lambda: len(pids := daemon.worker_pids()) == count and victim not in pids)


def test_a_killed_worker_is_replaced_while_the_others_go_on_and_no_count_is_lost(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "3")
    before = set(daemon.worker_pids())
    wire_by_pid = pinned(daemon)
    victim, *others = before
    wire_by_pid[others[0]].ask("CreateStream", StreamName="s", ShardCount=1)
    for number, wire in enumerate(wire_by_pid.values()):
        wire.put("s", ("key", b"%d" % number))
    counted = count_of(daemon, "streamd_requests_total")
    records = count_of(daemon, "streamd_incoming_records_total", stream="s")

    _replace_worker(daemon, victim)
    for number, pid in enumerate(others, start=3):
        wire_by_pid[pid].put("s", ("key", b"%d" % number))
    fresh = pinned(daemon)

    after = set(daemon.worker_pids())
    assert before - after == {victim}
    assert count_of(daemon, "streamd_requests_total") >= counted + len(others)
    assert records == 3
    assert count_of(daemon, "streamd_incoming_records_total", stream="s") == 5
    for wire in fresh.values():
        walk = ShardWalk(wire, "s")
        walk.follow(lambda: True)
        assert [record.data for record in walk.records] == [b"%d" % number for number in range(5)]
        wire.close()
    for wire in wire_by_pid.values():
        wire.close()


def test_writers_wait_at_a_lock_that_the_kernel_takes_from_the_dead(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "3")
    wires = list(pinned(daemon).values())
    wires[0].ask("CreateStream", StreamName="s", ShardCount=1)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(daemon.data / "log" / "data.mdb")], stdin=PIPE, stdout=PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with Wire(daemon) as reader:
            for wire in wires:
                wire.begin("PutRecord", StreamName="s", PartitionKey="key", Data="MQ==")
            for _ in range(100):
                reader.ask("DescribeStreamSummary", StreamName="s")
            answered_early = [wire.has_answer() for wire in wires]
        holder.kill()

    assert answered_early == [False] * 3
    assert len({wire.finish()["SequenceNumber"] for wire in wires}) == 3
    for wire in wires:
        wire.close()


def test_connections_that_come_while_workers_are_replaced_are_all_answered(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "3")
    is_over = threading.Event()
    refused: list[OSError] = []

    def knock() -> int:
        count = 0
        while not is_over.is_set():
            with Wire(daemon) as wire:
                try:
                    wire.ask("ListStreams", Limit=1)
                except ConnectionRefusedError as error:
                    refused.append(error)
                except (OSError, HTTPException):
                    # It was on the worker that was killed.
                    continue
                count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        knockers = [pool.submit(knock) for _ in range(4)]
        try:
            for _ in range(5):
                _replace_worker(daemon, daemon.worker_pids()[0])
        finally:
            is_over.set()

    assert not refused
    assert sum(knocker.result() for knocker in knockers) > 0


def test_a_worker_that_dies_again_and_again_is_replaced_after_growing_pauses(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "2")
    steady, unlucky = daemon.worker_pids()
    deaths_s: list[float] = []
    births_s: list[float] = []

    for _ in range(_DEATH_COUNT):
        os.kill(unlucky, signal.SIGKILL)
        deaths_s.append(time.monotonic())
        until(lambda: len(pids := daemon.worker_pids()) == 2 and unlucky not in pids)  # noqa: B023 - called at once
        births_s.append(time.monotonic())
        (unlucky,) = set(daemon.worker_pids()) - {steady}

    # 0.05 s, doubled with each early death: the last pause is 1.6 s or more, however slow this machine is.
    assert births_s[-1] - deaths_s[-1] > 1.0
    assert births_s[-2] - deaths_s[-2] > 0.5
    assert is_running(steady)
    assert cpu_ticks(daemon.process.pid) < 200
    assert daemon.log.read_text().count("is replaced") == _DEATH_COUNT


@pytest.mark.parametrize(("end", "is_damage"), [(signal.SIGBUS, True), (signal.SIGKILL, False)])
def test_whoever_ends_as_damaged_pages_end_a_process_says_what_tells(
    daemon_factory: DaemonFactory, *, end: signal.Signals, is_damage: bool
) -> None:
    daemon = daemon_factory("--workers", "2")
    os.kill(daemon.worker_pids()[0], end)
    until(lambda: f"ended with status {-end} and is replaced" in daemon.log.read_text())

    assert ("`streamd data check` tells" in daemon.log.read_text()) is is_damage


def test_a_worker_that_lived_for_a_while_is_replaced_at_once_after_early_deaths_of_another(
    daemon_factory: DaemonFactory,
) -> None:
    daemon = daemon_factory("--workers", "2")
    steady, unlucky = daemon.worker_pids()
    os.kill(unlucky, signal.SIGKILL)
    until(lambda: len(daemon.worker_pids()) == 2)

    _replace_worker(daemon, steady)

    with Wire(daemon) as wire:
        assert wire.ask("ListStreams")["StreamNames"] == []


@pytest.mark.parametrize("worker_count", [1, 3])
def test_when_the_supervisor_is_killed_its_workers_end_and_a_new_daemon_takes_over(
    daemon_factory: DaemonFactory, tmp_path: Path, worker_count: int
) -> None:
    data = tmp_path / "kept"
    daemon = daemon_factory("--workers", str(worker_count), data=data)
    workers = daemon.worker_pids()
    with Wire(daemon) as wire:
        wire.ask("CreateStream", StreamName="s", ShardCount=1)
        wire.put("s", ("key", b"kept"))

    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    successor = daemon_factory("--workers", str(worker_count), data=data, port=daemon.port)

    until(lambda: not any(is_running(pid) for pid in workers))
    with Wire(successor) as wire:
        walk = ShardWalk(wire, "s")
        walk.follow(lambda: True)
    assert successor.port == daemon.port
    assert [record.data for record in walk.records] == [b"kept"]


def _waiting_reader(wire: Wire, neighbour: Wire) -> None:
    """Begin a read that is held, and be sure that the worker has it: it answers another call that came later."""
    place = wire.iterator("s", "shardId-000000000000", "LATEST")
    wire.begin("GetRecords", wait_ms=_WAIT_MS, ShardIterator=place)
    for _ in range(5):
        neighbour.ask("ListStreams")
    assert not wire.has_answer()


def test_readers_that_wait_hold_up_neither_the_end_nor_the_next_daemon(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "kept"
    daemon = daemon_factory("--workers", "2", data=data)
    neighbour_by_pid = pinned(daemon)
    wire_by_pid = pinned(daemon)
    next(iter(wire_by_pid.values())).ask("CreateStream", StreamName="s", ShardCount=1)
    for pid, wire in wire_by_pid.items():
        _waiting_reader(wire, neighbour_by_pid[pid])

    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    successor = daemon_factory("--workers", "2", data=data, port=daemon.port)

    answers = [wire.finish() for wire in wire_by_pid.values()]
    assert [answer["Records"] for answer in answers] == [[], []]
    until(lambda: not any(is_running(pid) for pid in wire_by_pid))
    assert successor.page("/readyz").status == 200
    for wire in (*wire_by_pid.values(), *neighbour_by_pid.values()):
        wire.close()


def test_a_new_daemon_waits_for_the_workers_that_a_killed_supervisor_left_with_a_request_in_hand(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "kept"
    daemon = daemon_factory("--workers", "2", data=data)
    workers = daemon.worker_pids()
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(_HALF_A_REQUEST)
        for neighbour in pinned(daemon).values():
            neighbour.close()

        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        successor = daemon_factory("--workers", "2", data=data, port=daemon.port)

    assert not any(is_running(pid) for pid in workers)
    assert successor.page("/readyz").status == 200


@pytest.mark.parametrize("worker_count", [1, 2])
def test_a_daemon_that_is_told_to_end_answers_its_waiting_readers(
    daemon_factory: DaemonFactory, worker_count: int
) -> None:
    daemon = daemon_factory("--workers", str(worker_count))
    with Wire(daemon) as wire, Wire(daemon) as neighbour:
        wire.ask("CreateStream", StreamName="s", ShardCount=1)
        _waiting_reader(wire, neighbour)

        status = daemon.stop()
        answer = wire.finish()

    assert status == 0
    assert answer["Records"] == []
