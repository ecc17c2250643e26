"""Retention is exact when records are read, and gives the space back a little at a time."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from streamd.core.blocks import RecordColumns
from streamd.core.limits import PUT_MEMORY_MS, TRIM_BLOCK_COUNT_MAX
from streamd.core.put_tokens import PutToken
from streamd.storage.shard_log import ShardKey
from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Refusal, Rooms, open_rooms

_DAY_MS = 24 * HOUR_MS
_OLD, _NEW = b"old", b"new"


async def _shard_ids(rooms: Rooms, name: str) -> list[str]:
    answer = await rooms.ask("ListShards", StreamName=name)
    return [shard["ShardId"] for shard in answer["Shards"]]


async def _records(rooms: Rooms, name: str, shard: str, **place: Any) -> list[dict[str, Any]]:
    answer = await rooms.ask("GetShardIterator", StreamName=name, ShardId=shard, **place)
    found = await rooms.ask("GetRecords", ShardIterator=answer["ShardIterator"])
    records: list[dict[str, Any]] = found["Records"]
    return records


async def _split(rooms: Rooms, name: str) -> None:
    await rooms.ask("SplitShard", StreamName=name, ShardToSplit="shardId-0", NewStartingHashKey=str(1 << 127))


async def test_a_record_is_given_until_the_last_millisecond_and_never_after_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _OLD)
        clock.advance(1)
        await rooms.put("s", _NEW)

        clock.advance(_DAY_MS - 1)
        at_the_last_millisecond = await rooms.payloads("s")
        clock.advance(1)
        one_over = await rooms.payloads("s")
        clock.advance(1)
        both_over = await rooms.payloads("s")

        assert at_the_last_millisecond == [_OLD, _NEW]
        assert one_over == [_NEW]
        assert both_over == []


async def test_an_expired_record_is_out_of_reach_of_every_kind_of_iterator_before_it_is_removed(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        (old,) = await rooms.put("s", _OLD)
        old_ms = clock.now_ms()
        clock.advance(_DAY_MS + 1)
        await rooms.put("s", _NEW)
        shard = "shardId-000000000000"
        number = {"StartingSequenceNumber": old.sequence_number}

        found = [
            await _records(rooms, "s", shard, ShardIteratorType="TRIM_HORIZON"),
            await _records(rooms, "s", shard, ShardIteratorType="AT_SEQUENCE_NUMBER", **number),
            await _records(rooms, "s", shard, ShardIteratorType="AFTER_SEQUENCE_NUMBER", **number),
            await _records(rooms, "s", shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=old_ms / 1000),
            await _records(rooms, "s", shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=old_ms / 1000 - 9),
        ]

        state = await rooms.store.state(ShardKey(1, 0))
        assert state.live_record_count == 2
        assert [[record["Data"] for record in records] for records in found] == [[b64encode(_NEW).decode()]] * 5


async def test_a_place_at_the_horizon_begins_with_the_oldest_record_that_is_left(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        for place in range(10):
            await rooms.put("s", b"%d" % place)
            clock.advance(HOUR_MS)
        clock.advance(_DAY_MS - 6 * HOUR_MS)
        horizon_s = (clock.now_ms() - _DAY_MS) / 1000
        shard = "shardId-000000000000"

        before = await _records(rooms, "s", shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=horizon_s)
        await rooms.janitor.sweep()
        after = await _records(rooms, "s", shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=horizon_s)
        trimmed = await _records(rooms, "s", shard, ShardIteratorType="TRIM_HORIZON")

        assert [record["Data"] for record in before] == [b64encode(b"%d" % place).decode() for place in range(4, 10)]
        assert before == after == trimmed


async def test_a_longer_retention_never_brings_an_expired_record_back(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _OLD)
        clock.advance(_DAY_MS + 1)
        await rooms.put("s", _NEW)

        await rooms.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
        found = await rooms.payloads("s")
        clock.advance(_DAY_MS + 1)
        later = await rooms.payloads("s")

        assert found == later == [_NEW]


async def test_a_shorter_retention_expires_records_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=72)
        await rooms.put("s", _OLD)
        clock.advance(_DAY_MS + 1)
        await rooms.put("s", _NEW)
        held = await rooms.payloads("s")

        await rooms.ask("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)
        left = await rooms.payloads("s")
        await rooms.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=72)
        raised_again = await rooms.payloads("s")

        assert held == [_OLD, _NEW]
        assert left == raised_again == [_NEW]


async def test_a_sweep_removes_everything_that_expired_and_nothing_else(tmp_path: Path) -> None:
    clock = ManualClock()
    old_count = TRIM_BLOCK_COUNT_MAX + 50
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        for place in range(old_count):
            await rooms.put("s", b"%d" % place)
        clock.advance(_DAY_MS + 1)
        await rooms.put("s", _NEW)

        first_step = await rooms.store.trim(ShardKey(1, 0), before_ms=clock.now_ms() - _DAY_MS)
        await rooms.janitor.sweep()
        swept = await rooms.store.state(ShardKey(1, 0))
        await rooms.janitor.sweep()

        assert (first_step.record_count, first_step.has_more) == (TRIM_BLOCK_COUNT_MAX, True)
        assert (swept.trimmed_record_count, swept.live_record_count) == (old_count, 1)
        assert await rooms.store.state(ShardKey(1, 0)) == swept
        assert await rooms.payloads("s") == [_NEW]


async def test_the_space_of_removed_records_is_used_again(tmp_path: Path) -> None:
    clock = ManualClock()
    payload = b"x" * 200_000
    sizes = []
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")

        for _ in range(24):
            for _ in range(4):
                await rooms.put("s", payload, payload)
            clock.advance(8 * HOUR_MS)
            await rooms.janitor.sweep()
            sizes.append(rooms.store.space().file)

    # A day holds three rounds of 1.6 MB; all 24 rounds together wrote 38 MB.
    assert max(sizes) < 12_000_000
    assert max(sizes[12:]) == max(sizes[6:12])


async def test_a_closed_shard_is_listed_for_as_long_as_it_may_hold_records(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _OLD)
        await _split(rooms, "s")

        clock.advance(_DAY_MS)
        at_the_last_millisecond = await _shard_ids(rooms, "s")
        clock.advance(1)
        one_over = await _shard_ids(rooms, "s")

        assert at_the_last_millisecond == [f"shardId-{index:012d}" for index in range(3)]
        assert one_over == [f"shardId-{index:012d}" for index in (1, 2)]
        with pytest.raises(Refusal, match="ResourceNotFoundException"):
            await _records(rooms, "s", "shardId-000000000000", ShardIteratorType="TRIM_HORIZON")


async def test_the_sweep_takes_a_closed_shard_out_of_the_store_and_gives_its_index_to_nobody(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await rooms.put("s", _OLD)
        await _split(rooms, "s")
        clock.advance(_DAY_MS + 1)

        await rooms.janitor.sweep()
        await rooms.janitor.sweep()
        await rooms.ask("MergeShards", StreamName="s", ShardToMerge="shardId-1", AdjacentShardToMerge="shardId-2")

        assert [key.shard_index for key, _ in await rooms.store.states()] == [1, 2, 3]
        assert await _shard_ids(rooms, "s") == [f"shardId-{index:012d}" for index in (1, 2, 3)]
        assert await rooms.store.scan("grave/", limit=10) == []


async def test_a_removed_stream_leaves_no_record_behind(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s", shard_count=3)
        await rooms.create("other")
        for place in range(TRIM_BLOCK_COUNT_MAX + 10):
            await rooms.put("s", b"%d" % place, hash_keys=[0])
        await rooms.put("other", _NEW)

        await rooms.ask("DeleteStream", StreamName="s")
        await rooms.janitor.sweep()

        states = dict(await rooms.store.states())
        assert [key.stream_number for key in states] == [2]
        assert await rooms.payloads("other") == [_NEW]
        assert await rooms.store.scan("grave/", limit=10) == []


async def _stored_count(rooms: Rooms, *, sequence: int) -> int:
    """Put one record under a number of one producer; how many records there are then."""
    stream = await rooms.engine.streams.load("s")
    token = PutToken(bytes(16), sequence)
    await rooms.engine.shards.put(stream, RecordColumns([b"key"], [b"data"]), hash_keys=None, token=token)
    return len(await rooms.payloads("s"))


async def _pass(rooms: Rooms, duration_ms: int) -> None:
    """Let time pass, and sweep as often as the janitor does in much more of it."""
    for _ in range(10):
        rooms.clock.advance(duration_ms // 10)
        await rooms.janitor.sweep()


@pytest.mark.parametrize("set_ms", [HOUR_MS, -HOUR_MS, 3 * HOUR_MS], ids=["forward", "back", "further"])
async def test_a_producer_is_remembered_whatever_the_clock_is_set_to_and_forgotten_in_the_end(
    tmp_path: Path, set_ms: int
) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        await _pass(rooms, PUT_MEMORY_MS)

        first = await _stored_count(rooms, sequence=1)
        clock.jump(set_ms)
        await _pass(rooms, PUT_MEMORY_MS - 10_000)
        repeated = await _stored_count(rooms, sequence=1)
        # What was put before the clock was set back is remembered until the clock has come round again.
        await _pass(rooms, 2 * PUT_MEMORY_MS + max(0, -set_ms))
        forgotten = await _stored_count(rooms, sequence=1)

        assert (first, repeated, forgotten) == (1, 1, 2)


async def test_a_producer_is_remembered_for_its_time_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_rooms(tmp_path, clock) as rooms:
        await rooms.create("s")
        first = await _stored_count(rooms, sequence=1)

    clock.jump(HOUR_MS)
    async with open_rooms(tmp_path, clock) as rooms:
        await _pass(rooms, PUT_MEMORY_MS - 10_000)
        repeated = await _stored_count(rooms, sequence=1)
        await _pass(rooms, PUT_MEMORY_MS)
        forgotten = await _stored_count(rooms, sequence=1)

    assert (first, repeated, forgotten) == (1, 1, 2)
