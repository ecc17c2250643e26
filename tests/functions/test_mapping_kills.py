"""Mappings while the whole daemon is killed, again and again, and with several workers.

A line is told by each invocation before it answers, so what happened can be held against the promise: no record is
missed, each lane goes on in order, and what is repeated is the one batch whose checkpoint was not stored yet.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from streamd.core.shard_feed import lane_of
from tests.conftest import DaemonFactory
from tests.functions.witness import PATIENCE_S, Row, Stage
from tests.workers.wire import pinned, until

KILL_COUNT = int(os.environ.get("STREAMD_KILL_COUNT", "15"))
RECORDS_BETWEEN_KILLS = 400
KEY_COUNT = 11


@pytest.mark.timeout(120 + 30 * KILL_COUNT)
@pytest.mark.parametrize(("workers", "lane_count"), [("1", 1), ("2", 3)])
def test_kills_miss_no_record_and_repeat_only_the_batch_in_hand(
    daemon_factory: DaemonFactory, tmp_path: Path, workers: str, lane_count: int
) -> None:
    data = tmp_path / "data"
    flags = ("--workers", workers)
    random = Random(5)
    stage = Stage(daemon_factory(*flags, data=data), "s")
    stage.build(shard_count=2)
    mapping = stage.map(stage.deploy("f"), BatchSize=10, ParallelizationFactor=lane_count)
    put_count = 0

    for _ in range(KILL_COUNT):
        _put(stage, put_count, RECORDS_BETWEEN_KILLS)
        put_count += RECORDS_BETWEEN_KILLS
        _wait_for_more(stage, random.randrange(1, RECORDS_BETWEEN_KILLS // 2), put_count=put_count)
        stage.daemon.kill()
        stage.meet(daemon_factory(*flags, data=data))
    stage.wait_until_done(mapping)

    shards = stage.shards()
    assert sorted(int(row.text) for shard in shards for row in shard) == list(range(put_count))
    for shard in shards:
        for lane in range(lane_count):
            own = [row for row in shard if lane_of(row.key.encode(), lane_count) == lane]
            # More than one for each kill would be a repeat without a reason.
            assert _repeats(own, _batches(stage, own)) <= KILL_COUNT
    assert stage.daemon.stop() == 0


def test_records_through_any_worker_reach_the_function_in_order(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "2")
    stage = Stage(daemon, "s")
    stage.build(shard_count=2)
    stage.map(stage.deploy("f"), BatchSize=50, ParallelizationFactor=2)
    wire_by_pid = pinned(daemon)

    order: dict[str, list[str]] = {}
    for number in range(100):
        for pid, wire in wire_by_pid.items():
            text = f"{number}-{pid}"
            wire.put("s", (f"key-{number % 7}", text.encode()))
            order.setdefault(f"key-{number % 7}", []).append(text)
    seen = stage.wait_until_seen([text for texts in order.values() for text in texts])

    assert len(wire_by_pid) == 2
    assert {key: [row.text for row in seen if row.key == key] for key in order} == order
    for wire in wire_by_pid.values():
        wire.close()


def _put(stage: Stage, start: int, count: int) -> None:
    stage.put(*[(f"key-{number % KEY_COUNT}", str(number)) for number in range(start, start + count)])


def _wait_for_more(stage: Stage, count: int, *, put_count: int) -> None:
    wanted = len(stage.seen()) + count

    def has_come() -> bool:
        # On a busy machine all may have been handed over before anybody began to count.
        seen = stage.seen()
        return len(seen) >= wanted or len({row.text for row in seen}) == put_count

    until(has_come, patience_s=PATIENCE_S)


def _batches(stage: Stage, own: Sequence[Row]) -> list[tuple[Row, ...]]:
    """Give the batches of a lane, in the order in which they were handed to the function."""
    numbers = {row.number for row in own}
    return [each.rows for each in stage.invocations() if each.rows[0].number in numbers]


def _repeats(own: Sequence[Row], batches: Sequence[tuple[Row, ...]]) -> int:
    """Hold a lane's batches against its records; how many batches were begun a second time."""
    place_by_number = {row.number: place for place, row in enumerate(own)}
    repeat_count = start = end = 0
    for batch in batches:
        place = place_by_number[batch[0].number]
        assert batch == tuple(own[place : place + len(batch)]), "a batch has a gap, or a record of another lane"
        assert place in (start, end), "neither the next batch nor the one that was in hand"
        repeat_count += place == start != end
        start, end = place, place + len(batch)
    assert end == len(own), "records were missed"
    return repeat_count
