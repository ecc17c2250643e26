"""`kill -9` under load: of a worker, and of the whole daemon. Nothing acknowledged is lost, doubled or out of order."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from streamd.storage.inspect import check
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.durability.loads import read_back, read_shard, running_load

KILL_COUNT = 10
PRODUCER_COUNT = 4
SHARD_COUNT = 3
ACKNOWLEDGED_BETWEEN_KILLS = 120


@pytest.mark.parametrize("worker_count", [1, 3])
def test_what_was_acknowledged_survives_kills_of_the_whole_daemon(
    daemon_factory: DaemonFactory, tmp_path: Path, worker_count: int
) -> None:
    data = tmp_path / "data"
    flags = ("--workers", str(worker_count))
    daemon = daemon_factory(*flags, data=data)
    _create_stream(daemon)
    iterators = _iterators(daemon)

    with running_load(daemon.url, "s", producer_count=PRODUCER_COUNT) as load:
        for _ in range(KILL_COUNT // 2):
            load.wait_for_more(ACKNOWLEDGED_BETWEEN_KILLS)
            daemon.kill()
            # At once, on the same port and the same data.
            daemon = daemon_factory(*flags, data=data, port=daemon.port)
        load.wait_for_more(ACKNOWLEDGED_BETWEEN_KILLS)
    client = daemon.client()
    stored = read_back(client, "s")

    load.verify(stored)
    assert load.refusals, "no producer ever noticed a kill"
    # Iterators outlive the daemon that made them.
    assert {shard_id: read_shard(client, iterator) for shard_id, iterator in iterators.items()} == stored
    assert daemon.stop() == 0
    assert check(data, progress=lambda _done, _total: None).faults == []


def test_what_was_acknowledged_survives_kills_of_workers_and_the_port_never_closes(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", "3", data=data)
    _create_stream(daemon)
    random = Random(1)
    killed = set()

    with _connecting(daemon.port) as refused, running_load(daemon.url, "s", producer_count=PRODUCER_COUNT) as load:
        for _ in range(KILL_COUNT):
            load.wait_for_more(ACKNOWLEDGED_BETWEEN_KILLS)
            victim = random.choice(_workers(daemon, count=3))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        load.wait_for_more(ACKNOWLEDGED_BETWEEN_KILLS)
    stored = read_back(daemon.client(), "s")

    load.verify(stored)
    assert refused == []
    assert len(killed) == KILL_COUNT
    assert not killed & set(_workers(daemon, count=3))
    assert daemon.stop() == 0
    assert check(data, progress=lambda _done, _total: None).faults == []


def _create_stream(daemon: Daemon) -> None:
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=SHARD_COUNT)
    client.get_waiter("stream_exists").wait(StreamName="s")


def _iterators(daemon: Daemon) -> dict[str, str]:
    client = daemon.client()
    return {
        shard["ShardId"]: client.get_shard_iterator(
            StreamName="s", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for shard in client.list_shards(StreamName="s")["Shards"]
    }


def _workers(daemon: Daemon, *, count: int) -> list[int]:
    """List the workers once all of them are there; a successor may still be on its way."""
    for _ in range(1_000):
        pids = daemon.worker_pids()
        if len(pids) == count:
            return pids
        daemon.page("/healthz")
    raise AssertionError(f"there never were {count} workers")


@contextmanager
def _connecting(port: int) -> Iterator[list[str]]:
    """Connect again and again for as long as the block runs; what was refused."""
    refused: list[str] = []
    stopping = threading.Event()

    def connect() -> None:
        while not stopping.wait(0.002):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=30).close()
            except OSError as error:
                refused.append(repr(error))

    thread = threading.Thread(target=connect, name="connector")
    thread.start()
    try:
        yield refused
    finally:
        stopping.set()
        thread.join(60)
