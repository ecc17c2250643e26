"""A consumer where time is moved, where AWS's limits hold, and on a server that is not streamd."""

import asyncio

from streamd.core.lease import AT_END
from streamd.sdk.client import KinesisClient
from streamd.sdk.testing import MemoryKinesis
from tests.cli.scripted_server import ScriptedServer
from tests.clocks import START_MS, ManualClock
from tests.conftest import DaemonFactory
from tests.sdk.consumers import Members, client_at, made_stream, put, texts

__all__: list[str] = []

FIRST = "shardId-000000000000"


async def test_an_iterator_that_grew_old_is_renewed_after_the_last_record_it_gave() -> None:
    clock = ManualClock(START_MS)
    async with MemoryKinesis(clock=clock) as client:
        await _made(client, clock, shards=1)
        members = Members(client, "orders")
        wanted = await put(client, "orders", range(10), keys=1)

        found: list[str] = []
        async with members.consumer(batch_record_count_max=1) as consumer:
            async for batch in consumer:
                found += texts(batch.records)
                clock.advance(301_000)
                if len(found) == 10:
                    break

    assert found == wanted


async def test_shards_that_expired_are_forgotten_and_what_followed_them_is_read() -> None:
    clock = ManualClock(START_MS)
    async with MemoryKinesis(clock=clock) as client:
        await _made(client, clock, shards=1)
        members = Members(client, "orders")
        await put(client, "orders", range(10))
        async with members.consumer(checkpoint="manual") as consumer:
            await anext(aiter(consumer))
        await client.split_shard("orders", FIRST, hash_key=1 << 127)
        clock.advance(60_000)
        await client.wait_until_active("orders")
        clock.advance(25 * 3_600_000)
        await client.expire()
        wanted = await put(client, "orders", range(10, 20))

        later = members.consumer("two")
        async with asyncio.TaskGroup() as group:
            group.create_task(members.read(later))
            await members.reads.all_of(wanted)
            later.stop()
        snapshot = await members.leases.snapshot("orders", "g")

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(lease.shard_id != FIRST or lease.place == AT_END for lease in snapshot.leases)


async def test_a_shards_limits_slow_a_consumer_down_and_lose_nothing(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")
    async with client_at(daemon.url) as client:
        await made_stream(client, "orders", shards=2)
        members = Members(client, "orders")
        wanted = await put(client, "orders", range(400))
        consumer = members.consumer(batch_record_count_max=20)

        async with asyncio.TaskGroup() as group:
            group.create_task(members.read(consumer))
            await members.reads.all_of(wanted)
            consumer.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert 'kind="read"' in daemon.page("/metrics").body.decode()


async def test_one_small_answer_does_not_make_the_next_ones_small(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [{"ShardId": FIRST}]})
    scripted.will_answer("GetShardIterator", {"ShardIterator": "here"})
    for first, count in ((1, 2000), (2001, 2000), (4001, 1), (4002, 2), (4004, 0)):
        records = [
            {"Data": "eA==", "PartitionKey": "k", "SequenceNumber": str(number), "ApproximateArrivalTimestamp": 1.0}
            for number in range(first, first + count)
        ]
        # What is behind is read on at once.
        answer = {"Records": records, "NextShardIterator": "there", "MillisBehindLatest": 1 if count else 0}
        scripted.will_answer("GetRecords", answer)
    async with client_at(scripted.url) as client:
        members = Members(client, "s")

        async with members.consumer() as consumer:
            batches = aiter(consumer)
            counts = [len((await anext(batches)).records) for _ in range(4)]

    assert counts == [2000, 2000, 1, 2]
    limits = [document["Limit"] for document in scripted.documents("GetRecords")]
    assert limits[0] < limits[2]
    assert limits[3] >= 2000


async def test_moto_is_read_too(moto_url: str, stream_name: str) -> None:
    async with KinesisClient(moto_url, region="us-east-1") as client:
        await made_stream(client, stream_name, shards=2)
        members = Members(client, stream_name)
        wanted = await put(client, stream_name, range(200))
        consumer = members.consumer()

        async with asyncio.TaskGroup() as group:
            group.create_task(members.read(consumer))
            await members.reads.all_of(wanted)
            await client.split_shard(stream_name, FIRST, hash_key=1 << 125)
            await client.wait_until_active(stream_name)
            wanted += await put(client, stream_name, range(200, 400))
            await members.reads.all_of(wanted)
            consumer.stop()

    assert sorted(set(members.reads.texts)) == sorted(wanted)


async def _made(client: MemoryKinesis, clock: ManualClock, *, shards: int) -> None:
    await client.create_stream("orders", shard_count=shards)
    clock.advance(60_000)
    await client.wait_until_active("orders")
