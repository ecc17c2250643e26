"""aiobotocore, as asyncio programs use it: many calls at once over few connections, its paginators and waiters.

It trails the newest botocore, so these run in an environment of their own (see pyproject.toml).
"""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamd.kinesis.operations import HANDLER_BY_OPERATION
from tests.clients.botocore_rows import note_operations
from tests.clients.conftest import SeenBy
from tests.clients.walk import Walked, kinesis_walk
from tests.conftest import DaemonFactory
from tests.daemons import Daemon

aiobotocore_session = pytest.importorskip("aiobotocore.session")

__all__: list[str] = []


@asynccontextmanager
async def _client(daemon: Daemon, seen_by: SeenBy) -> AsyncIterator[Any]:
    version = importlib.metadata.version("aiobotocore")
    row = seen_by("aiobotocore", version=version, transport="HTTP/1.1, JSON")
    session = aiobotocore_session.get_session()
    async with session.create_client(
        "kinesis",
        endpoint_url=daemon.url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret-for-tests-only",
    ) as client:
        note_operations(client, row)
        yield client


@pytest.fixture
async def aio(daemon: Daemon, seen_by: SeenBy) -> AsyncIterator[Any]:
    """Give an aiobotocore client of the shared daemon."""
    async with _client(daemon, seen_by) as client:
        yield client


async def _records(client: Any, stream: str, shard: str) -> list[bytes]:
    answer = await client.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    place, found = answer["ShardIterator"], []
    while place is not None:
        answer = await client.get_records(ShardIterator=place, Limit=100)
        found += [record["Data"] for record in answer["Records"]]
        place = answer.get("NextShardIterator") if answer["Records"] else None
    return found


async def test_a_walk_through_every_operation(daemon_factory: DaemonFactory, seen_by: SeenBy) -> None:
    async with _client(daemon_factory(), seen_by) as client:
        name_by_operation = {operation: name for name, operation in client.meta.method_to_api_mapping.items()}
        walked = Walked(kinesis_walk("walked"))
        while walked.call is not None:
            answer = await getattr(client, name_by_operation[walked.call.operation])(**walked.call.arguments)
            walked.answered(answer)

    # What is pushed has a test of its own.
    assert walked.operations == set(HANDLER_BY_OPERATION) - {"SubscribeToShard"}


async def test_many_puts_at_once_are_all_there(aio: Any, stream_name: str) -> None:
    await aio.create_stream(StreamName=stream_name, ShardCount=4)
    await aio.get_waiter("stream_exists").wait(StreamName=stream_name, WaiterConfig={"Delay": 0, "MaxAttempts": 5})

    answers = await asyncio.gather(
        *(aio.put_record(StreamName=stream_name, Data=b"%d" % n, PartitionKey=f"key-{n}") for n in range(200))
    )
    batch = await aio.put_records(
        StreamName=stream_name, Records=[{"Data": b"batch-%d" % n, "PartitionKey": f"{n}"} for n in range(100)]
    )
    shards = sorted({answer["ShardId"] for answer in answers})
    found = [data for shard in shards for data in await _records(aio, stream_name, shard)]

    assert len({answer["SequenceNumber"] for answer in answers}) == 200
    assert batch["FailedRecordCount"] == 0
    expected = [b"%d" % n for n in range(200)] + [b"batch-%d" % n for n in range(100)]
    assert sorted(found) == sorted(expected)


async def test_pages_and_errors_are_as_clients_expect_them(aio: Any, stream_name: str) -> None:
    names = [f"{stream_name}-{number}" for number in range(5)]
    for name in names:
        await aio.create_stream(StreamName=name, ShardCount=3)

    pages = aio.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    listed = [name async for page in pages for name in page["StreamNames"]]
    described = aio.get_paginator("describe_stream").paginate(StreamName=names[0], PaginationConfig={"PageSize": 1})
    shards = [shard["ShardId"] async for page in described for shard in page["StreamDescription"]["Shards"]]
    with pytest.raises(aio.exceptions.ResourceNotFoundException) as caught:
        await aio.describe_stream(StreamName="no-such-stream")

    assert [name for name in listed if name.startswith(stream_name)] == names
    assert shards == [f"shardId-{index:012d}" for index in range(3)]
    assert caught.value.response["Error"]["Message"] == "Stream no-such-stream under account 000000000000 not found."


async def test_a_subscription_is_pushed_what_is_put_meanwhile(aio: Any, stream_name: str) -> None:
    await aio.create_stream(StreamName=stream_name, ShardCount=1)
    summary = (await aio.describe_stream_summary(StreamName=stream_name))["StreamDescriptionSummary"]
    consumer = await aio.register_stream_consumer(StreamARN=summary["StreamARN"], ConsumerName="c")
    asked = {"ConsumerARN": consumer["Consumer"]["ConsumerARN"], "ShardId": "shardId-000000000000"}
    answer = await aio.subscribe_to_shard(**asked, StartingPosition={"Type": "LATEST"})

    found: list[bytes] = []
    events = answer["EventStream"]
    async for event in events:
        found += [record["Data"] for record in event["SubscribeToShardEvent"]["Records"]]
        if len(found) == 10:
            break
        await aio.put_record(StreamName=stream_name, Data=b"%d" % len(found), PartitionKey="k")
    events.close()

    assert found == [b"%d" % number for number in range(10)]
