"""A reader that waits is woken by a commit in any worker, and costs nothing until then."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.workers.process_figures import cpu_ticks
from tests.workers.wire import Wire, pinned, until

# Far longer than a test may take: a reader that only looked again of its own accord would run into the time limit.
_WAIT_MS = 20_000
_SHARD = "shardId-000000000000"

pytestmark = pytest.mark.timeout(15)


@pytest.fixture
def daemon(daemon_factory: DaemonFactory) -> Daemon:
    return daemon_factory("--workers", "2")


@pytest.fixture
def wires(daemon: Daemon) -> Iterator[list[Wire]]:
    found = list(pinned(daemon).values())
    found[0].ask("CreateStream", StreamName="s", ShardCount=1)
    yield found
    for wire in found:
        wire.close()


def _wait_for_more(reader: Wire, neighbour: Wire) -> None:
    """Begin a read that is held; the worker has it once it answered a call that came later."""
    place = reader.iterator("s", _SHARD, "LATEST")
    reader.begin("GetRecords", wait_ms=_WAIT_MS, ShardIterator=place)
    for _ in range(5):
        neighbour.ask("ListStreams", Limit=1)
    assert not reader.has_answer()


def _by_worker(daemon: Daemon) -> tuple[list[Wire], list[Wire]]:
    """Open two connections to each worker, in the same order."""
    first, second = pinned(daemon), pinned(daemon)
    return list(first.values()), [second[pid] for pid in first]


@pytest.mark.parametrize("reading", [0, 1])
def test_a_put_in_another_worker_wakes_a_waiting_reader(daemon: Daemon, wires: list[Wire], reading: int) -> None:
    readers, neighbours = _by_worker(daemon)
    for _ in range(20):
        _wait_for_more(readers[reading], neighbours[reading])

        neighbours[1 - reading].put("s", ("key", b"wake"))

        assert [record["Data"] for record in readers[reading].finish()["Records"]] == ["d2FrZQ=="]
    for wire in (*readers, *neighbours):
        wire.close()


def test_a_put_in_its_own_worker_wakes_a_waiting_reader(daemon: Daemon, wires: list[Wire]) -> None:
    readers, neighbours = _by_worker(daemon)
    _wait_for_more(readers[0], neighbours[0])

    neighbours[0].put("s", ("key", b"wake"))

    assert len(readers[0].finish()["Records"]) == 1
    for wire in (*readers, *neighbours):
        wire.close()


def test_a_reader_sleeps_on_through_commits_that_are_not_for_its_shard(daemon: Daemon, wires: list[Wire]) -> None:
    readers, neighbours = _by_worker(daemon)
    neighbours[0].ask("CreateStream", StreamName="other", ShardCount=1)
    _wait_for_more(readers[0], neighbours[0])

    for wire in neighbours * 10:
        wire.put("other", ("key", b"not for it"))
    for _ in range(5):
        neighbours[0].ask("ListStreams", Limit=1)
    is_still_waiting = not readers[0].has_answer()
    neighbours[1].put("s", ("key", b"for it"))

    assert is_still_waiting
    assert len(readers[0].finish()["Records"]) == 1
    for wire in (*readers, *neighbours):
        wire.close()


def test_a_reshard_in_another_worker_wakes_a_waiting_reader_and_shows_it_the_way_on(
    daemon: Daemon, wires: list[Wire]
) -> None:
    readers, neighbours = _by_worker(daemon)
    _wait_for_more(readers[0], neighbours[0])

    neighbours[1].ask("SplitShard", StreamName="s", ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))
    answer = readers[0].finish()
    while (place := answer.get("NextShardIterator")) is not None:
        # It was woken when the parent was sealed, a moment before the children were there to be seen.
        answer = readers[0].ask("GetRecords", wait_ms=_WAIT_MS, ShardIterator=place)

    assert [child["ShardId"] for child in answer["ChildShards"]] == [f"shardId-{index:012d}" for index in (1, 2)]
    for wire in (*readers, *neighbours):
        wire.close()


def test_a_worker_that_replaced_another_is_woken_too(daemon: Daemon, wires: list[Wire]) -> None:
    victim = daemon.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(pids := daemon.worker_pids()) == 2 and victim not in pids)
    readers, neighbours = _by_worker(daemon)

    for reading in (0, 1):
        _wait_for_more(readers[reading], neighbours[reading])
        neighbours[1 - reading].put("s", ("key", b"wake"))

        assert len(readers[reading].finish()["Records"]) == 1
    for wire in (*readers, *neighbours):
        wire.close()


def test_a_wait_that_ends_without_a_record_answers_an_empty_read(daemon: Daemon, wires: list[Wire]) -> None:
    place = wires[0].iterator("s", _SHARD, "LATEST")

    answer = wires[0].ask("GetRecords", wait_ms=50, ShardIterator=place)

    assert answer["Records"] == []
    assert answer["MillisBehindLatest"] == 0
    assert answer["NextShardIterator"]


def test_waiting_costs_next_to_no_processor_time(daemon: Daemon, wires: list[Wire]) -> None:
    readers, neighbours = _by_worker(daemon)
    more = [Wire(daemon) for _ in range(50)]
    for wire in more:
        place = wire.iterator("s", _SHARD, "LATEST")
        wire.begin("GetRecords", wait_ms=_WAIT_MS, ShardIterator=place)
    for reader, neighbour in zip(readers, neighbours, strict=True):
        _wait_for_more(reader, neighbour)
    place = wires[0].iterator("s", _SHARD, "LATEST")
    before = [cpu_ticks(pid) for pid in daemon.worker_pids()]

    # The pause itself is a held read, so that it is the server that measures out three seconds of waiting.
    wires[0].ask("GetRecords", wait_ms=3000, ShardIterator=place)
    after = [cpu_ticks(pid) for pid in daemon.worker_pids()]
    wires[1].put("s", ("key", b"wake"))
    answers = [wire.finish() for wire in (*more, *readers)]

    assert all(len(answer["Records"]) == 1 for answer in answers)
    assert max(now - then for now, then in zip(after, before, strict=True)) <= 15, "of 300 ticks"
    for wire in (*more, *readers, *neighbours):
        wire.close()
