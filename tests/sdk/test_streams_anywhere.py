"""What a program may count on wherever its stream is: each test runs against a daemon and against MemoryKinesis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import InUse, NotFound, RequestInvalid, ServiceRefused
from streamd.sdk.testing import MemoryKinesis
from tests.daemons import Daemon

FIRST = "shardId-000000000000"
HALF = 1 << 127
LONG_WAIT_MS = 20_000


@pytest.fixture(params=["daemon", "memory"])
async def client(request: pytest.FixtureRequest, daemon: Daemon) -> AsyncIterator[KinesisClient]:
    """Give a client of either."""
    made = MemoryKinesis() if request.param == "memory" else KinesisClient(daemon.url)
    async with made:
        yield made


@pytest.fixture
async def stream(client: KinesisClient, stream_name: str) -> str:
    """Give a stream of two shards."""
    await client.create_stream(stream_name, shard_count=2)
    await client.wait_until_active(stream_name)
    return stream_name


def entries(*texts: str) -> list[dict[str, Any]]:
    return [{"Data": text.encode(), "PartitionKey": text} for text in texts]


async def read(client: KinesisClient, stream: str, shard_id: str, **place: Any) -> list[bytes]:
    """Read a shard until nothing more is there."""
    iterator: str | None = await client.get_shard_iterator(stream, shard_id, **place)
    found: list[bytes] = []
    while iterator is not None:
        answer = await client.get_records(iterator)
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
        found += [record["Data"] for record in answer["Records"]]
        iterator = answer.get("NextShardIterator")
    return found


async def test_a_stream_is_made_found_described_and_ended(client: KinesisClient, stream_name: str) -> None:
    await client.create_stream(stream_name, shard_count=3, tags={"team": "blue"})
    summary = await client.wait_until_active(stream_name)

    assert (summary["OpenShardCount"], summary["RetentionPeriodHours"]) == (3, 24)
    assert summary["StreamARN"] == f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream_name}"
    assert stream_name in {each["StreamName"] for each in await client.list_streams()}
    assert await client.list_tags(stream_name) == {"team": "blue"}
    assert len((await client.describe_stream(stream_name))["Shards"]) == 3
    await client.delete_stream(stream_name)
    await client.wait_until_gone(stream_name)
    with pytest.raises(NotFound):
        await client.describe_stream_summary(stream_name)


async def test_records_come_back_as_they_were_put_in_order_from_the_shard_that_owns_their_key(
    client: KinesisClient, stream: str
) -> None:
    texts = [f"text-{number}" for number in range(50)]
    rows = (await client.put_records(stream, entries(*texts)))["Records"]

    for shard in await client.list_shards(stream):
        own = [text for text, row in zip(texts, rows, strict=True) if row["ShardId"] == shard["ShardId"]]
        assert [data.decode() for data in await read(client, stream, shard["ShardId"])] == own
    numbers = [int(row["SequenceNumber"]) for row in rows if row["ShardId"] == FIRST]
    assert numbers == sorted(set(numbers))


async def test_a_hash_key_chooses_the_shard(client: KinesisClient, stream: str) -> None:
    low = await client.put_record(stream, b"low", "k", hash_key=HALF - 1)
    high = await client.put_record(stream, b"high", "k", hash_key=HALF)

    assert (low["ShardId"], high["ShardId"]) == (FIRST, "shardId-000000000001")


async def test_every_kind_of_iterator_begins_where_it_says(client: KinesisClient, stream: str) -> None:
    places = [await client.put_record(stream, b"%d" % number, "k", hash_key=0) for number in range(4)]
    number = places[1]["SequenceNumber"]
    latest = await client.get_shard_iterator(stream, FIRST, "LATEST")
    await client.put_record(stream, b"4", "k", hash_key=0)

    assert await read(client, stream, FIRST) == [b"0", b"1", b"2", b"3", b"4"]
    at = await read(client, stream, FIRST, iterator_type="AT_SEQUENCE_NUMBER", sequence_number=number)
    after = await read(client, stream, FIRST, iterator_type="AFTER_SEQUENCE_NUMBER", sequence_number=number)
    timed = await read(client, stream, FIRST, iterator_type="AT_TIMESTAMP", timestamp_ms=1)
    assert (at, after) == ([b"1", b"2", b"3", b"4"], [b"2", b"3", b"4"])
    assert timed == [b"0", b"1", b"2", b"3", b"4"]
    assert [record["Data"] for record in (await client.get_records(latest))["Records"]] == [b"4"]


async def test_a_limit_cuts_an_answer_and_the_next_iterator_goes_on(client: KinesisClient, stream: str) -> None:
    for number in range(5):
        await client.put_record(stream, b"%d" % number, "k", hash_key=0)

    first = await client.get_records(await client.get_shard_iterator(stream, FIRST), limit=2)
    second = await client.get_records(first["NextShardIterator"], limit=10)

    assert [record["Data"] for record in first["Records"]] == [b"0", b"1"]
    assert [record["Data"] for record in second["Records"]] == [b"2", b"3", b"4"]
    assert {record["PartitionKey"] for record in second["Records"]} == {"k"}


async def test_a_reader_that_waits_is_woken_by_the_next_record(client: KinesisClient, stream: str) -> None:
    iterator = await client.get_shard_iterator(stream, FIRST)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(client.get_records(iterator, wait_ms=LONG_WAIT_MS))
        await client.put_record(stream, b"news", "k", hash_key=0)

    assert [record["Data"] for record in reading.result()["Records"]] == [b"news"]


async def test_a_shard_that_was_split_ends_and_names_its_children_which_take_what_comes(
    client: KinesisClient, stream: str
) -> None:
    await client.put_record(stream, b"before", "k", hash_key=0)
    await client.split_shard(stream, FIRST, hash_key=HALF // 2)
    await client.put_record(stream, b"after", "k", hash_key=0)

    answer = await client.get_records(await client.get_shard_iterator(stream, FIRST))

    assert [record["Data"] for record in answer["Records"]] == [b"before"]
    assert "NextShardIterator" not in answer
    children = [child["ShardId"] for child in answer["ChildShards"]]
    assert await read(client, stream, children[0]) == [b"after"]
    await client.merge_shards(stream, children[0], adjacent_shard_id=children[1])
    shards = {shard["ShardId"]: shard for shard in await client.list_shards(stream)}
    last = shards[max(shards)]
    assert [last["ParentShardId"], last["AdjacentParentShardId"]] == children
    await client.update_shard_count(stream, 4)
    assert (await client.describe_stream_summary(stream))["OpenShardCount"] == 4


async def test_records_are_pushed_to_a_registered_consumer_until_its_shard_ends(
    client: KinesisClient, stream: str
) -> None:
    arn = (await client.describe_stream_summary(stream))["StreamARN"]
    consumer = await client.register_stream_consumer(arn, "pushed")
    await client.put_record(stream, b"one", "k", hash_key=0)

    seen: list[bytes] = []
    events = client.subscribe_to_shard(consumer["ConsumerARN"], FIRST, {"Type": "TRIM_HORIZON"})
    async with aclosing(events):
        async for event in events:
            seen += [record["Data"] for record in event["Records"]]
            if seen == [b"one"]:
                await client.put_record(stream, b"two", "k", hash_key=0)
            elif len(seen) == 2 and "ChildShards" not in event:
                await client.split_shard(stream, FIRST, hash_key=HALF // 2)

    assert seen == [b"one", b"two"]
    assert len(event["ChildShards"]) == 2
    assert [each["ConsumerName"] for each in await client.list_stream_consumers(arn)] == ["pushed"]
    await client.deregister_stream_consumer(consumer["ConsumerARN"])


@pytest.mark.parametrize(
    ("operation", "document", "kind", "code"),
    [
        ("CreateStream", {"StreamName": "{}"}, InUse, "ResourceInUseException"),
        ("PutRecord", {"StreamName": "no", "Data": b"", "PartitionKey": "k"}, NotFound, "ResourceNotFoundException"),
        ("PutRecord", {"StreamName": "{}", "Data": b"", "PartitionKey": ""}, RequestInvalid, "ValidationException"),
        ("PutRecords", {"StreamName": "{}", "Records": []}, RequestInvalid, "ValidationException"),
        ("GetRecords", {"ShardIterator": "none"}, RequestInvalid, "InvalidArgumentException"),
        ("SplitShard", {"StreamName": "{}", "ShardToSplit": FIRST, "NewStartingHashKey": "0"}, RequestInvalid, None),
        ("DescribeStream", {"StreamName": 7}, RequestInvalid, "SerializationException"),
        ("MakeCoffee", {}, ServiceRefused, None),
    ],
)
async def test_what_is_wrong_is_refused_in_the_words_of_the_service(
    client: KinesisClient,
    stream: str,
    operation: str,
    document: dict[str, Any],
    kind: type[ServiceRefused],
    code: str | None,
) -> None:
    filled = {name: stream if value == "{}" else value for name, value in document.items()}

    with pytest.raises(kind) as refused:
        await client.call(operation, filled)

    assert code in (None, refused.value.code)
    assert refused.value.status in (400, 404)
