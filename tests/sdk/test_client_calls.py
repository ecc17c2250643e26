"""The client's coroutines against a real daemon: records pushed, consumers, tags and shards."""

from contextlib import aclosing
from typing import Any

import pytest

from streamd.core.event_stream import Message, encode
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import NotFound, ServiceFaltered, ServiceUnreachable
from tests.cli.scripted_server import ScriptedServer
from tests.daemons import Daemon


async def made(client: KinesisClient, stream: str, *, shard_count: int = 1) -> str:
    await client.create_stream(stream, shard_count=shard_count)
    summary = await client.wait_until_active(stream)
    return str(summary["StreamARN"])


async def test_records_are_pushed_with_their_data_as_bytes_until_the_shard_ends(
    daemon: Daemon, stream_name: str
) -> None:
    async with KinesisClient(daemon.url) as client:
        arn = await made(client, stream_name)
        consumer = await client.register_stream_consumer(arn, "pusher")
        await client.put_record(stream_name, b"\x00\xff", "k")
        await client.update_shard_count(stream_name, 2)
        events = client.subscribe_to_shard(consumer["ConsumerARN"], "shardId-000000000000", {"Type": "TRIM_HORIZON"})
        async with aclosing(events):
            seen = [event async for event in events]

    assert [record["Data"] for event in seen for record in event["Records"]] == [b"\x00\xff"]
    assert len(seen[-1]["ChildShards"]) == 2
    assert all("ContinuationSequenceNumber" in event for event in seen[:-1])


async def test_a_subscription_goes_on_after_the_place_where_the_last_one_was_left(
    daemon: Daemon, stream_name: str
) -> None:
    async with KinesisClient(daemon.url) as client:
        arn = await made(client, stream_name)
        first, second = [(await client.register_stream_consumer(arn, name))["ConsumerARN"] for name in ("a", "b")]
        await client.put_record(stream_name, b"one", "k")
        async with aclosing(
            client.subscribe_to_shard(first, "shardId-000000000000", {"Type": "TRIM_HORIZON"})
        ) as events:
            place = (await anext(events))["ContinuationSequenceNumber"]
        await client.put_record(stream_name, b"two", "k")
        position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": place}
        async with aclosing(client.subscribe_to_shard(second, "shardId-000000000000", position)) as events:
            event = await anext(events)

    assert [record["Data"] for record in event["Records"]] == [b"two"]


async def test_a_subscription_of_nobody_is_refused_as_not_found(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        arn = await made(client, stream_name)
        nobody = f"{arn}/consumer/nobody:1"
        with pytest.raises(NotFound):
            await anext(client.subscribe_to_shard(nobody, "shardId-000000000000", {"Type": "LATEST"}))


async def test_a_fault_that_is_pushed_ends_the_events_with_its_error(scripted: ScriptedServer) -> None:
    event = Message({":event-type": "SubscribeToShardEvent"}, b'{"Records":[],"MillisBehindLatest":0}')
    fault = Message({":exception-type": "InternalFailureException"}, b'{"message":"as the script says"}')
    scripted.will_answer("SubscribeToShard", encode(event) + encode(fault))

    async with KinesisClient(scripted.url) as client:
        events = client.subscribe_to_shard("arn", "shard", {"Type": "LATEST"})
        seen = await anext(events)
        with pytest.raises(ServiceFaltered, match="InternalFailureException: as the script says"):
            await anext(events)

    assert seen == {"Records": [], "MillisBehindLatest": 0}


@pytest.mark.parametrize("cut", [5, 20])
async def test_events_that_break_off_are_told(scripted: ScriptedServer, cut: int) -> None:
    event = Message({":event-type": "SubscribeToShardEvent"}, b'{"Records":[],"MillisBehindLatest":0}')
    scripted.will_answer("SubscribeToShard", encode(event)[:cut])

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(ServiceUnreachable):
            await anext(client.subscribe_to_shard("arn", "shard", {"Type": "LATEST"}))


async def test_consumers_are_registered_found_listed_and_ended(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        arn = await made(client, stream_name)
        registered = await client.register_stream_consumer(arn, "one")
        by_name = await client.describe_stream_consumer(stream_arn=arn, consumer="one")
        by_arn = await client.describe_stream_consumer(consumer_arn=registered["ConsumerARN"])
        listed = await client.list_stream_consumers(arn)
        await client.deregister_stream_consumer(registered["ConsumerARN"])
        left = await client.list_stream_consumers(arn)

    assert by_name == by_arn
    assert [consumer["ConsumerName"] for consumer in listed] == ["one"]
    assert left == []


async def test_tags_are_added_listed_over_pages_and_removed(daemon: Daemon, stream_name: str) -> None:
    tags = {f"key-{number:02}": str(number) for number in range(10)}

    async with KinesisClient(daemon.url) as client:
        await made(client, stream_name)
        await client.add_tags(stream_name, tags)
        listed = await client.list_tags(stream_name)
        await client.remove_tags(stream_name, ["key-00", "never"])
        left = await client.list_tags(stream_name)

    assert listed == tags
    assert left == {key: value for key, value in tags.items() if key != "key-00"}


async def test_pages_of_tags_are_joined(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListTagsForStream", {"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": True})
    scripted.will_answer("ListTagsForStream", {"Tags": [{"Key": "b"}], "HasMoreTags": False})

    async with KinesisClient(scripted.url) as client:
        tags = await client.list_tags("s")

    assert tags == {"a": "1", "b": ""}
    assert scripted.documents("ListTagsForStream")[1] == {"StreamName": "s", "ExclusiveStartTagKey": "a"}


async def test_a_stream_is_described_with_all_pages_of_its_shards(scripted: ScriptedServer) -> None:
    def page(shard: str, *, more: bool) -> dict[str, Any]:
        return {"StreamDescription": {"Shards": [{"ShardId": shard}], "HasMoreShards": more}}

    scripted.will_answer("DescribeStream", page("a", more=True))
    scripted.will_answer("DescribeStream", page("b", more=False))

    async with KinesisClient(scripted.url) as client:
        description = await client.describe_stream("s")

    assert description["Shards"] == [{"ShardId": "a"}, {"ShardId": "b"}]
    assert scripted.documents("DescribeStream")[1] == {"StreamName": "s", "ExclusiveStartShardId": "a"}


async def test_a_record_with_a_hash_key_goes_to_that_shard(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made(client, stream_name, shard_count=2)
        low = await client.put_record(stream_name, b"x", "k", hash_key=0)
        high = await client.put_record(stream_name, b"x", "k", hash_key=(1 << 128) - 1)
        limits = await client.describe_limits()
        described = await client.describe_stream(stream_name)

    assert (low["ShardId"], high["ShardId"]) == ("shardId-000000000000", "shardId-000000000001")
    assert limits["OpenShardCount"] >= 2
    assert len(described["Shards"]) == 2
