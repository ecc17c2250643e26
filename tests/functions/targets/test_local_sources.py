"""Streams of this server as sources: the real engine and store, under a clock that the test moves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.mapping_settings import StartingPosition
from streamd.errors import SourceMissing, TargetUnknown
from streamd.functions.mappings.local_kinesis import LocalKinesis
from streamd.functions.mappings.source_table import SourceTable
from streamd.functions.mappings.sources import Cursor, Lag, Source, SourceShard, Start
from streamd.functions.naming import Account
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.endpoints import EndpointTable
from streamd.server.outbound import Outbound
from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Rooms, open_rooms

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
SHARD = "shardId-000000000000"
PATIENCE_S = 60.0


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with open_rooms(tmp_path / "data", ManualClock()) as opened:
        yield opened


@pytest.fixture
def source(rooms: Rooms) -> Source:
    return _table(rooms).source_of(ARN)


async def test_records_are_read_from_the_first_one_on(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    placed = await rooms.put("orders", b"a", b"b", b"c")

    cursor = await source.open(SHARD, Start())
    first = await cursor.read(record_count_max=2, byte_count_max=1 << 20, wait_s=0)
    second = await cursor.read(record_count_max=2, byte_count_max=1 << 20, wait_s=0)
    third = await cursor.read(record_count_max=2, byte_count_max=1 << 20, wait_s=0)

    assert (list(first.records.data), list(second.records.data), list(third.records.data)) == ([b"a", b"b"], [b"c"], [])
    assert list(first.records.sequence_numbers) == [each.sequence_number for each in placed[:2]]
    assert list(first.records.partition_keys) == [b"key-0", b"key-1"]
    assert list(first.records.arrivals_ms) == [rooms.clock.now_ms()] * 2
    assert (first.is_end, second.is_end, third.is_end) == (False, False, False)


async def test_bytes_bound_a_read_and_one_record_is_always_given(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    await rooms.put("orders", bytes(600), bytes(600), bytes(600))

    cursor = await source.open(SHARD, Start())
    counts = [len((await cursor.read(record_count_max=9, byte_count_max=size, wait_s=0)).records) for size in (1300, 1)]

    assert counts == [2, 1]


async def test_a_reader_is_woken_by_the_commit(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    cursor = await source.open(SHARD, Start())

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(cursor))
        await asyncio.sleep(0)
        await rooms.put("orders", b"a")

    assert reading.result() == ([b"a"], False)


async def test_reading_goes_on_after_a_sequence_number(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    placed = await rooms.put("orders", b"a", b"b", b"c")

    cursor = await source.open(SHARD, Start(after=placed[0].sequence_number))

    assert await _read(cursor) == ([b"b", b"c"], False)


async def test_latest_is_pinned_to_the_place_after_the_last_record(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    await rooms.put("orders", b"before")

    pinned = await source.pin(SHARD, Start(StartingPosition.LATEST))
    await rooms.put("orders", b"after")
    cursor = await source.open(SHARD, Start.from_text(str(pinned)))

    assert await _read(cursor) == ([b"after"], False)


async def test_latest_of_an_empty_shard_is_pinned_too(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")

    pinned = await source.pin(SHARD, Start(StartingPosition.LATEST))
    await rooms.put("orders", b"first")
    cursor = await source.open(SHARD, pinned)

    assert pinned.after is not None
    assert await _read(cursor) == ([b"first"], False)


async def test_a_time_is_a_place(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    await rooms.put("orders", b"old")
    rooms.clock.advance(5_000)
    await rooms.put("orders", b"new")

    start = Start(StartingPosition.AT_TIMESTAMP, rooms.clock.now_ms())
    cursor = await source.open(SHARD, Start.from_text(str(start)))

    assert await source.pin(SHARD, start) == start
    assert await _read(cursor) == ([b"new"], False)


@given(
    st.builds(Start, st.sampled_from([StartingPosition.TRIM_HORIZON, StartingPosition.LATEST]))
    | st.builds(Start, st.just(StartingPosition.AT_TIMESTAMP), st.integers(min_value=0))
    | st.builds(Start, after=st.text("0123456789", min_size=1))
)
def test_a_start_is_the_same_after_it_was_written_down(start: Start) -> None:
    assert Start.from_text(str(start)) == start


async def test_a_split_shard_ends_and_its_children_name_it(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    await rooms.put("orders", b"a")
    cursor = await source.open(SHARD, Start())

    await rooms.ask("SplitShard", StreamName="orders", ShardToSplit=SHARD, NewStartingHashKey=str(1 << 127))
    await rooms.janitor.finish_due()

    assert await source.shards() == [
        SourceShard(shard_id=SHARD, is_open=False),
        SourceShard(shard_id="shardId-000000000001", parent_ids=(SHARD,)),
        SourceShard(shard_id="shardId-000000000002", parent_ids=(SHARD,)),
    ]
    assert await _read(cursor) == ([b"a"], True)
    assert await _read(cursor) == ([], True)


async def test_a_reader_that_waits_hears_of_a_split(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    cursor = await source.open(SHARD, Start())

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(cursor))
        await asyncio.sleep(0)
        await rooms.ask("SplitShard", StreamName="orders", ShardToSplit=SHARD, NewStartingHashKey=str(1 << 127))

    assert reading.result() == ([], True)


async def test_a_reader_does_not_hold_up_a_server_that_ends(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    cursor = await source.open(SHARD, Start())

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(cursor))
        await asyncio.sleep(0)
        rooms.store.end_waits()

    assert reading.result() == ([], False)


async def test_what_expired_unread_is_a_gap_that_is_logged(
    rooms: Rooms, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    await rooms.create("orders")
    placed = await rooms.put("orders", b"read")
    cursor = await source.open(SHARD, Start(after=placed[0].sequence_number))
    await rooms.put("orders", b"lost", b"lost")
    rooms.clock.advance(25 * HOUR_MS)
    await rooms.put("orders", b"kept")

    with caplog.at_level(logging.WARNING):
        found = await _read(cursor)

    assert found == ([b"kept"], False)
    assert "2 records expired before they were read" in caplog.text


async def test_a_place_of_another_shard_is_none(rooms: Rooms, source: Source, caplog: pytest.LogCaptureFixture) -> None:
    await rooms.create("orders", shard_count=2)
    placed = await rooms.put("orders", b"a", b"b", hash_keys=[0, 1 << 127])

    found = [await _read(await source.open(SHARD, Start(after=text))) for text in (placed[1].sequence_number, "7", "x")]

    assert found == [([b"a"], False)] * 3
    assert "is read from its first record" in caplog.text


async def test_a_shard_that_is_gone_is_at_its_end(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")

    cursor = await source.open("shardId-000000000077", Start(StartingPosition.LATEST))

    assert await _read(cursor) == ([], True)
    assert await source.lag("shardId-000000000077", Start()) == Lag(0, 0)


async def test_the_lag_counts_records_and_their_age(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    placed = await rooms.put("orders", b"a", b"b", b"c")
    rooms.clock.advance(2_000)

    behind = await source.lag(SHARD, Start(after=placed[0].sequence_number))
    level = await source.lag(SHARD, Start(after=placed[2].sequence_number))

    assert (behind, level) == (Lag(2, 2_000), Lag(0, 0))


async def test_a_stream_made_again_is_another_one(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    before = await source.identity()
    cursor = await source.open(SHARD, Start())

    await rooms.ask("DeleteStream", StreamName="orders")
    with pytest.raises(SourceMissing, match=f"Stream not found: {ARN}"):
        await source.identity()
    await rooms.janitor.finish_due()
    await rooms.create("orders")

    assert await source.identity() != before
    with pytest.raises(SourceMissing):
        await _read(cursor)


async def test_a_reader_that_waits_hears_of_the_end_of_the_stream(rooms: Rooms, source: Source) -> None:
    await rooms.create("orders")
    cursor = await source.open(SHARD, Start())

    async def read() -> None:
        with pytest.raises(SourceMissing):
            await _read(cursor)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.sleep(0)
        await rooms.ask("DeleteStream", StreamName="orders")
        await rooms.janitor.finish_due()
        await rooms.janitor.sweep()


async def test_a_consumer_is_read_while_it_is_registered(rooms: Rooms) -> None:
    await rooms.create("orders")
    await rooms.put("orders", b"a")
    made = await rooms.ask("RegisterStreamConsumer", StreamARN=ARN, ConsumerName="lambda")
    consumer = made["Consumer"]["ConsumerARN"]

    source = _table(rooms).source_of(consumer)
    found = await _read(await source.open(SHARD, Start()))
    other = _table(rooms).source_of(f"{ARN}/consumer/lambda:1")

    assert (source.arn, found) == (consumer, ([b"a"], False))
    with pytest.raises(SourceMissing):
        await other.identity()


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:kinesis:us-east-1:000000000000:stream",
        "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/c",
        "arn:aws:dynamodb:us-east-1:000000000000:table/orders",
        "arn:aws:sqs:us-east-1:000000000000:orders",
        "orders",
        "",
    ],
)
async def test_what_is_no_stream_is_no_source(rooms: Rooms, arn: str) -> None:
    with pytest.raises(TargetUnknown, match="is no source"):
        _table(rooms).source_of(arn)


async def test_a_stream_elsewhere_must_be_listed(rooms: Rooms) -> None:
    dynamodb = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-11-23T03:30:26.438"

    for arn in (ARN.replace("000000000000", "123456789012"), dynamodb):
        with pytest.raises(TargetUnknown, match=r"cannot be read: no \[\[endpoint\]\]"):
            _table(rooms).source_of(arn)

    assert isinstance(_table(rooms).source_of(ARN.replace("us-east-1", "eu-west-1")), LocalKinesis)


def _table(rooms: Rooms) -> SourceTable:
    return SourceTable(
        account=Account("000000000000", "us-east-1"),
        engine=rooms.engine,
        endpoints=EndpointTable(),
        calls=ServiceCalls(Outbound(), rooms.clock),
    )


async def _read(cursor: Cursor) -> tuple[list[bytes], bool]:
    batch = await cursor.read(record_count_max=100, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    return list(batch.records.data), batch.is_end
