"""Streams elsewhere as sources: a second daemon for Kinesis, moto for DynamoDB, a scripted stream for what fails."""

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition
from streamd.engine.clock import SystemClock
from streamd.errors import OutsideRefused, OutsideUnreachable, SourceMissing
from streamd.functions.mappings.remote_cursor import Pace, RemoteCursor, RemotePage
from streamd.functions.mappings.source_table import SourceTable
from streamd.functions.mappings.sources import NO_RECORDS, Cursor, SourceShard, Start
from streamd.functions.naming import Account
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.endpoints import EndpointTable
from streamd.server.outbound import Outbound
from tests.clocks import ManualClock
from tests.daemons import Daemon
from tests.engine.rooms import Rooms, open_rooms
from tests.functions.targets.webhooks import answer, open_webhook

SHARD = "shardId-000000000000"
PATIENCE_S = 60.0
NO_PAUSE = Pace(busy_s=0, idle_s=0)


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with open_rooms(tmp_path / "data", ManualClock()) as opened:
        yield opened


@pytest.fixture
def kinesis_table(rooms: Rooms, outbound: Outbound, daemon: Daemon) -> SourceTable:
    return _table(rooms, outbound, "arn:aws:kinesis:eu-west-1:*", daemon.url)


def _table(rooms: Rooms, outbound: Outbound, arn: str, url: str) -> SourceTable:
    return SourceTable(
        account=Account("000000000000", "us-east-1"),
        engine=rooms.engine,
        endpoints=EndpointTable.parse([{"arn": arn, "endpoint_url": url}]),
        calls=ServiceCalls(outbound, SystemClock()),
    )


def _arn(stream_name: str) -> str:
    return f"arn:aws:kinesis:eu-west-1:000000000000:stream/{stream_name}"


async def test_a_stream_of_another_server_is_read(kinesis_table: SourceTable, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    entries = [{"Data": b"a", "PartitionKey": "kéy", "ExplicitHashKey": "0"}] * 3
    kinesis.put_records(StreamName=stream_name, Records=entries)

    source = kinesis_table.source_of(_arn(stream_name))
    shards = await source.shards()
    cursor = await source.open(SHARD, Start())
    first = await cursor.read(record_count_max=2, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    second = await cursor.read(record_count_max=2, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    again = await source.open(SHARD, Start(after=first.records.sequence_numbers[0]))

    assert shards == [SourceShard(shard_id=SHARD), SourceShard(shard_id="shardId-000000000001")]
    assert (list(first.records.data), list(first.records.partition_keys)) == ([b"a"] * 2, ["kéy".encode()] * 2)
    assert (list(second.records.data), source.region) == ([b"a"], "eu-west-1")
    assert min(first.records.arrivals_ms) > 1_600_000_000_000
    assert await _read(again) == ([b"a", b"a"], False)


async def test_latest_elsewhere_is_pinned_to_a_time(kinesis_table: SourceTable, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    source = kinesis_table.source_of(_arn(stream_name))
    pinned = await source.pin(SHARD, Start(StartingPosition.LATEST))
    kinesis.put_record(StreamName=stream_name, Data=b"after", PartitionKey="k")
    cursor = await source.open(SHARD, Start.from_text(str(pinned)))

    assert pinned.position is StartingPosition.AT_TIMESTAMP
    assert await _read(cursor) == ([b"after"], False)


async def test_a_shard_elsewhere_ends_and_its_children_name_it(
    kinesis_table: SourceTable, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, Data=b"a", PartitionKey="k")
    kinesis.split_shard(StreamName=stream_name, ShardToSplit=SHARD, NewStartingHashKey=str(1 << 127))

    source = kinesis_table.source_of(_arn(stream_name))
    shards = await source.shards()
    cursor = await source.open(SHARD, Start())

    assert [(shard.parent_ids, shard.is_open) for shard in shards] == [((), False), ((SHARD,), True), ((SHARD,), True)]
    assert await _read_to_end(cursor) == [b"a"]


async def test_a_place_that_is_not_known_elsewhere_is_a_gap_that_is_logged(
    kinesis_table: SourceTable, kinesis: Any, stream_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    lost = kinesis.put_record(StreamName=stream_name, Data=b"a", PartitionKey="k")["SequenceNumber"]
    kinesis.delete_stream(StreamName=stream_name)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=stream_name)
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, Data=b"b", PartitionKey="k")

    number = str(int(lost) - (1 << 180))
    cursor = await kinesis_table.source_of(_arn(stream_name)).open(SHARD, Start(after=number))

    with caplog.at_level(logging.WARNING):
        assert await _read(cursor) == ([b"b"], False)
    assert f"the place AFTER:{number} is no longer known there" in caplog.text


async def test_a_stream_that_is_not_there_is_missing(kinesis_table: SourceTable, stream_name: str) -> None:
    source = kinesis_table.source_of(_arn(stream_name))

    with pytest.raises(SourceMissing):
        await source.identity()
    with pytest.raises(SourceMissing):
        await source.shards()
    with pytest.raises(SourceMissing):
        await _read(await source.open(SHARD, Start()))


async def test_a_server_that_is_down_is_unreachable(rooms: Rooms, outbound: Outbound) -> None:
    source = _table(rooms, outbound, "arn:aws:kinesis:*", "http://127.0.0.1:1").source_of(_arn("orders"))

    with pytest.raises(OutsideUnreachable, match=r"no answer from http://127\.0\.0\.1:1"):
        await source.identity()
    with pytest.raises(OutsideUnreachable):
        await _read(await source.open(SHARD, Start()))


async def test_a_stream_made_again_elsewhere_is_another_one(rooms: Rooms, outbound: Outbound) -> None:
    summaries = [
        {"StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.0},
        {"StreamStatus": "ACTIVE", "StreamCreationTimestamp": 2.0},
        {"StreamStatus": "ACTIVE", "StreamCreationTimestamp": 2.0, "StreamId": "x"},
    ]
    answers = [answer(200, orjson.dumps({"StreamDescriptionSummary": summary})) for summary in summaries]

    async with open_webhook(*answers) as hook:
        source = _table(rooms, outbound, "arn:aws:kinesis:*", hook.url).source_of(_arn("orders"))
        found = [await source.identity() for _ in summaries]

    assert len(set(found)) == 3


async def test_a_stream_that_is_being_deleted_elsewhere_is_missing(rooms: Rooms, outbound: Outbound) -> None:
    summary = {"StreamStatus": "DELETING", "StreamCreationTimestamp": 1.0}

    async with open_webhook(answer(200, orjson.dumps({"StreamDescriptionSummary": summary}))) as hook:
        source = _table(rooms, outbound, "arn:aws:kinesis:*", hook.url).source_of(_arn("orders"))
        with pytest.raises(SourceMissing):
            await source.identity()


async def test_a_stream_of_a_table_is_read(
    rooms: Rooms, outbound: Outbound, moto_url: str, elsewhere: Callable[[str], Any]
) -> None:
    dynamodb = elsewhere("dynamodb")
    made = dynamodb.create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for number in ("1", "9"):
        dynamodb.put_item(TableName="orders", Item={"id": {"S": "1"}, "n": {"N": number}})

    table = _table(rooms, outbound, "arn:aws:dynamodb:*:*:table/*", moto_url)
    source = table.source_of(made["TableDescription"]["LatestStreamArn"])
    shard = (await source.shards())[0]
    cursor = await source.open(shard.shard_id, Start())
    batch = await cursor.read(record_count_max=10, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    again = await source.open(shard.shard_id, Start(after=batch.records.sequence_numbers[0]))
    rest = await again.read(record_count_max=10, byte_count_max=1 << 20, wait_s=PATIENCE_S)

    records = [orjson.loads(data) for data in batch.records.data]
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY"]
    assert [record["dynamodb"]["SequenceNumber"] for record in records] == list(batch.records.sequence_numbers)
    assert list(batch.records.partition_keys) == [b'{"id":{"S":"1"}}'] * 2
    assert [orjson.loads(data) for data in rest.records.data] == records[1:]
    assert shard.is_open
    assert await source.identity()


async def test_a_table_that_is_not_there_has_no_stream(rooms: Rooms, outbound: Outbound, moto_url: str) -> None:
    table = _table(rooms, outbound, "arn:aws:dynamodb:*:*:table/*", moto_url)
    source = table.source_of("arn:aws:dynamodb:us-east-1:123456789012:table/none/stream/2026-11-23T03:30:26.438")

    with pytest.raises(SourceMissing):
        await source.shards()


class Scripted:
    """A stream that answers what the test says, and remembers where it was read."""

    arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/scripted"

    def __init__(self, *pages: RemotePage | OutsideRefused | OutsideUnreachable) -> None:
        self.pages = list(pages)
        self.starts: list[str] = []
        self.iterators: list[str] = []
        self.is_missing = False

    async def identity(self) -> str:
        if self.is_missing:
            raise SourceMissing(self.arn)
        return "1"

    async def iterator(self, shard_id: str, start: Start) -> str:
        assert shard_id == SHARD
        self.starts.append(str(start))
        return f"iterator-{len(self.starts)}"

    async def page(self, shard_id: str, iterator: str, *, record_count_max: int) -> RemotePage:
        assert (shard_id, record_count_max) == (SHARD, 100)
        self.iterators.append(iterator)
        page = self.pages.pop(0)
        if isinstance(page, RemotePage):
            return page
        raise page

    def cursor(self, *, pace: Pace = NO_PAUSE) -> RemoteCursor:
        return RemoteCursor(self, shard_id=SHARD, start=Start(StartingPosition.LATEST), pace=pace)


def _page(*numbers: str, size: int = 1, following: str | None = "next") -> RemotePage:
    count = len(numbers)
    return RemotePage(SourceRecords(numbers, [b"k"] * count, [bytes(size)] * count, [1] * count), following)


def _refusal(code: str) -> OutsideRefused:
    return OutsideRefused(code, "no", status=400)


async def test_an_expired_iterator_is_asked_for_again_after_the_last_record() -> None:
    stream = Scripted(_page("1", "2"), _refusal("ExpiredIteratorException"), _page("3"))
    cursor = stream.cursor()

    found = [await _numbers(cursor) for _ in range(2)]

    assert found == [["1", "2"], ["3"]]
    assert stream.starts == ["LATEST", "AFTER:2"]
    assert stream.iterators == ["iterator-1", "next", "iterator-2"]


async def test_an_iterator_of_a_shard_that_rolled_is_asked_for_once_more() -> None:
    stream = Scripted(_page("1"), _refusal("ValidationException"), _page("2"), *[_refusal("ValidationException")] * 2)
    cursor = stream.cursor()

    found = [await _numbers(cursor) for _ in range(2)]
    with pytest.raises(OutsideUnreachable, match="cannot be read: ValidationException: no"):
        await _numbers(cursor)

    assert found == [["1"], ["2"]]
    assert stream.starts == ["LATEST", "AFTER:1", "AFTER:2"]


async def test_what_was_trimmed_is_a_gap_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stream = Scripted(_page("1"), _refusal("TrimmedDataAccessException"), _page("7"))
    cursor = stream.cursor()

    with caplog.at_level(logging.WARNING):
        found = [await _numbers(cursor) for _ in range(2)]

    assert found == [["1"], ["7"]]
    assert stream.starts == ["LATEST", "TRIM_HORIZON"]
    assert "the place AFTER:1 is no longer known there" in caplog.text


async def test_a_throttle_is_waited_out() -> None:
    stream = Scripted(_refusal("ProvisionedThroughputExceededException"), _page("1"))

    assert await _numbers(stream.cursor()) == ["1"]


async def test_a_throttle_is_kept_however_often_is_asked() -> None:
    stream = Scripted(_refusal("LimitExceededException"), _page("1"))
    cursor = stream.cursor()

    batches = [await cursor.read(record_count_max=100, byte_count_max=1, wait_s=0) for _ in range(50)]

    assert not any(batch.records for batch in batches)
    assert stream.pages == [_page("1")]


async def test_the_pace_is_kept_however_often_is_asked() -> None:
    stream = Scripted(_page(), _page("1"))
    cursor = stream.cursor(pace=Pace(busy_s=0, idle_s=3_600))

    batches = [await cursor.read(record_count_max=100, byte_count_max=1, wait_s=0) for _ in range(50)]

    assert not any(batch.records for batch in batches)
    assert len(stream.pages) == 1


async def test_no_answer_keeps_the_place() -> None:
    stream = Scripted(_page("1"), OutsideUnreachable("no answer"), _page("2"))
    cursor = stream.cursor()

    first = await _numbers(cursor)
    with pytest.raises(OutsideUnreachable):
        await _numbers(cursor)

    assert (first, await _numbers(cursor)) == (["1"], ["2"])
    assert stream.iterators == ["iterator-1", "next", "next"]


async def test_what_was_read_is_given_piece_by_piece_and_the_end_last() -> None:
    cursor = Scripted(_page("1", "2", "3", "4", "5", size=10, following=None)).cursor()

    batches = [
        await cursor.read(record_count_max=count, byte_count_max=size, wait_s=PATIENCE_S)
        for count, size in ((100, 25), (100, 5), (1, 100), (100, 100), (100, 100))
    ]

    numbers = [list(batch.records.sequence_numbers) for batch in batches]
    assert numbers == [["1", "2"], ["3"], ["4"], ["5"], []]
    assert [batch.is_end for batch in batches] == [False, False, False, True, True]


async def test_a_shard_that_expired_elsewhere_is_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    stream = Scripted(_refusal("ResourceNotFoundException"))

    with caplog.at_level(logging.WARNING):
        batch = await stream.cursor().read(record_count_max=100, byte_count_max=1, wait_s=PATIENCE_S)

    assert (batch.records, batch.is_end) == (NO_RECORDS, True)
    assert "has expired" in caplog.text


async def test_a_stream_that_is_gone_elsewhere_is_missing() -> None:
    stream = Scripted(_refusal("ResourceNotFoundException"))
    stream.is_missing = True

    with pytest.raises(SourceMissing):
        await _numbers(stream.cursor())


async def _numbers(cursor: Cursor) -> list[str]:
    batch = await cursor.read(record_count_max=100, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    return list(batch.records.sequence_numbers)


async def _read(cursor: Cursor) -> tuple[list[bytes], bool]:
    batch = await cursor.read(record_count_max=100, byte_count_max=1 << 20, wait_s=PATIENCE_S)
    return list(batch.records.data), batch.is_end


async def _read_to_end(cursor: Cursor) -> list[bytes]:
    found: list[bytes] = []
    is_end = False
    while not is_end:
        data, is_end = await _read(cursor)
        found += data
    return found
