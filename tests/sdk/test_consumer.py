"""One consumer of a real daemon: what it gives out, where it begins, how it goes on, what it survives."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator

from streamd.core.lease import AT_END
from streamd.errors import ConfigInvalid, LeaseLost
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.failures import NotFound
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.sdk.consumers import Members, client_at, made_stream, put, texts

__all__: list[str] = []


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[KinesisClient]:
    async with client_at(daemon.url) as opened:
        yield opened


@pytest.fixture
async def members(client: KinesisClient, stream_name: str) -> Members:
    await made_stream(client, stream_name, shards=3)
    return Members(client, stream_name)


async def test_everything_comes_once_and_each_key_in_order(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(3000))
    consumer = members.consumer()

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(consumer))
        await members.reads.all_of(wanted)
        wanted += await put(members.client, members.stream, range(3000, 4000))
        await members.reads.all_of(wanted)
        consumer.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())
    assert {batch.epoch for _, batch in members.reads.batches} == {1}


async def test_a_record_says_what_it_is(members: Members) -> None:
    before_ms = datetime.now(UTC).timestamp() * 1000
    answer = await members.client.put_record(members.stream, b"data", "key")

    async with members.consumer() as consumer:
        batch = await anext(aiter(consumer))

        (record,) = batch.records
        assert (record.data, record.key, record.sub_sequence_number) == (b"data", "key", None)
        assert record.sequence_number == answer["SequenceNumber"] == batch.place
        assert batch.shard_id == answer["ShardId"]
        assert before_ms - 1 <= record.arrival_ms
        assert consumer.lag().keys() == set(consumer.shard_ids)
        assert batch.lag_ms >= 0


async def test_a_batch_that_was_left_comes_again_and_one_that_was_done_does_not(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(30), keys=1)

    async with members.consumer(batch_record_count_max=10) as consumer:
        seen = []
        async for batch in consumer:
            seen.append(texts(batch.records))
            if len(seen) == 2:
                break
        async for batch in consumer:
            seen.append(texts(batch.records))
            await batch.checkpoint()
            break
        async for batch in consumer:
            seen.append(texts(batch.records))
            break
    async with members.consumer("two") as later:
        rest = texts((await anext(aiter(later))).records)

    assert seen == [wanted[:10], wanted[10:20], wanted[10:20], wanted[20:]]
    assert rest == wanted[20:]


async def test_an_error_in_the_body_leaves_the_batch_undone_and_is_raised_as_it_is(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(10), keys=1)

    async def read() -> None:
        async with members.consumer() as consumer:
            async for _ in consumer:
                raise KeyError

    with pytest.raises(KeyError):
        await read()
    async with members.consumer("two") as later:
        again = texts((await anext(aiter(later))).records)

    assert again == wanted


async def test_nothing_is_checkpointed_for_a_caller_who_does_it_alone(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(40), keys=1)

    async with members.consumer(checkpoint="manual", batch_record_count_max=10) as consumer:
        batches = aiter(consumer)
        first, second, third = [await anext(batches) for _ in range(3)]
        await second.checkpoint()
        await first.checkpoint()
    async with members.consumer("two") as later:
        rest = texts((await anext(aiter(later))).records)

    assert texts(third.records) == wanted[20:30]
    assert rest == wanted[20:]
    with pytest.raises(LeaseLost):
        await third.checkpoint()


async def test_several_tasks_share_the_shards_of_one_consumer(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(2000))
    consumer = members.consumer(batch_record_count_max=50)
    in_hand: set[str] = set()

    async def work() -> None:
        async for batch in consumer:
            assert batch.shard_id not in in_hand
            in_hand.add(batch.shard_id)
            await asyncio.sleep(0)
            members.reads.note("one", batch)
            in_hand.remove(batch.shard_id)

    async with consumer, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(work())
        await members.reads.all_of(wanted)
        consumer.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())


async def test_latest_begins_when_the_group_was_made(members: Members) -> None:
    await put(members.client, members.stream, range(10))
    await asyncio.to_thread(_next_millisecond)
    consumer = members.consumer(start="LATEST")

    wanted = await put(members.client, members.stream, range(10, 20))
    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(consumer))
        await members.reads.all_of(wanted)
        consumer.stop()

    assert sorted(members.reads.texts) == sorted(wanted)


async def test_a_group_begins_at_a_time_and_later_members_where_it_stands(members: Members) -> None:
    await put(members.client, members.stream, range(10))
    await asyncio.to_thread(_next_millisecond)
    moment = datetime.now(UTC)
    wanted = await put(members.client, members.stream, range(10, 20))
    consumer = members.consumer(start=moment)

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(consumer))
        await members.reads.all_of(wanted)
        consumer.stop()
    later = members.consumer("two", start=moment - timedelta(hours=1))
    more = await put(members.client, members.stream, range(20, 30))
    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(later))
        await members.reads.all_of(more)
        later.stop()

    assert sorted(members.reads.texts) == sorted(wanted + more)


async def test_aggregated_records_come_out_as_they_were_put(members: Members) -> None:
    aggregator = RecordAggregator()
    for number in range(5):
        aggregator.add_user_record(f"k{number}", f"part {number}".encode())
    key, _, data = aggregator.clear_and_get().get_contents()
    answer = await members.client.put_record(members.stream, data, key)

    async with members.consumer() as consumer:
        batch = await anext(aiter(consumer))

    assert [(record.key, record.data, record.sub_sequence_number) for record in batch.records] == [
        (f"k{number}", f"part {number}".encode(), number) for number in range(5)
    ]
    assert {record.sequence_number for record in batch.records} == {answer["SequenceNumber"]}


async def test_splits_and_merges_are_followed_parents_first(members: Members) -> None:
    wanted = await put(members.client, members.stream, range(500))
    consumer = members.consumer(batch_record_count_max=20)

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(consumer))
        for count in (6, 3, 5):
            await members.client.update_shard_count(members.stream, count)
            await members.client.wait_until_active(members.stream)
            wanted += await put(members.client, members.stream, range(len(wanted), len(wanted) + 500))
        await members.reads.all_of(wanted)
        consumer.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())
    snapshot = await members.leases.snapshot(members.stream, "g")
    shards = {shard["ShardId"]: shard for shard in await members.client.list_shards(members.stream)}
    done = {lease.shard_id for lease in snapshot.leases if lease.place == AT_END}
    closed = {i for i, shard in shards.items() if "EndingSequenceNumber" in shard["SequenceNumberRange"]}
    assert done == closed


async def test_the_end_of_a_shard_is_given_to_a_caller_who_checkpoints_alone(members: Members) -> None:
    await members.client.split_shard(members.stream, "shardId-000000000000", hash_key=1 << 100)
    await members.client.wait_until_active(members.stream)

    async with members.consumer(checkpoint="manual") as consumer:
        batch = await anext(aiter(consumer))
        before = await members.leases.snapshot(members.stream, "g")
        await batch.checkpoint()
        after = await members.leases.snapshot(members.stream, "g")

    assert (batch.shard_id, batch.ends_shard, list(batch.records)) == ("shardId-000000000000", True, [])
    assert AT_END not in {lease.place for lease in before.leases}
    assert {lease.shard_id for lease in after.leases if lease.place == AT_END} == {"shardId-000000000000"}


async def test_memory_is_bounded_while_the_caller_is_slow(members: Members) -> None:
    entries = [{"Data": bytes(50_000), "PartitionKey": f"k{number}"} for number in range(100)]
    for _ in range(8):
        await members.client.put_records(members.stream, entries)
    budget = 4 << 20
    count = 0

    async with members.consumer(buffer_byte_count_max=budget) as consumer:
        async for batch in consumer:
            count += len(batch.records)
            # An answer may turn out larger than was expected from the ones before it: the first of each shard.
            assert consumer.buffered_byte_count <= 2 * budget
            if count == 800:
                break

    assert consumer.buffered_byte_count == 0


async def test_a_daemon_that_is_killed_costs_a_consumer_nothing_but_repeats(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    async with client_at(daemon.url) as client:
        await made_stream(client, "orders", shards=3)
        members = Members(client, "orders")
        consumer = members.consumer()
        wanted: list[str] = []

        async with asyncio.TaskGroup() as group:
            group.create_task(members.read(consumer))
            for _ in range(3):
                wanted += await put(client, "orders", range(len(wanted), len(wanted) + 300))
                await members.reads.all_of(wanted[-100:])
                await asyncio.to_thread(daemon.kill)
                daemon = await asyncio.to_thread(daemon_factory, data=daemon.data, port=daemon.port)
            wanted += await put(client, "orders", range(len(wanted), len(wanted) + 300))
            await members.reads.all_of(wanted)
            consumer.stop()

    assert set(members.reads.texts) == set(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())


async def test_a_stream_that_is_not_there_is_told(client: KinesisClient) -> None:
    members = Members(client, "no-such-stream")

    with pytest.raises(NotFound):
        await members.read(members.consumer())


async def test_a_registered_consumer_has_its_records_pushed(members: Members) -> None:
    summary = await members.client.describe_stream_summary(members.stream)
    registered = await members.client.register_stream_consumer(summary["StreamARN"], "pushed")
    wanted = await put(members.client, members.stream, range(1000))
    by_name = members.consumer(consumer_name="pushed")

    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(by_name))
        await members.reads.all_of(wanted)
        await members.client.split_shard(members.stream, "shardId-000000000001", hash_key=(1 << 127))
        await members.client.wait_until_active(members.stream)
        wanted += await put(members.client, members.stream, range(1000, 1500))
        await members.reads.all_of(wanted)
        by_name.stop()
    by_arn = members.consumer("two", consumer_arn=registered["ConsumerARN"])
    async with asyncio.TaskGroup() as group:
        group.create_task(members.read(by_arn))
        wanted += await put(members.client, members.stream, range(1500, 1600))
        await members.reads.all_of(wanted)
        by_arn.stop()

    assert sorted(members.reads.texts) == sorted(wanted)
    assert all(numbers == sorted(numbers) for numbers in members.reads.key_orders().values())


@pytest.mark.parametrize(
    "settings",
    [
        {"start": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused
        {"start": "EARLIEST"},
        {"checkpoint": "never"},
        {"batch_record_count_max": 10_001},
        {"member_timeout_s": 0.1},
        {"buffer_byte_count_max": 1000},
        {"consumer_arn": "arn", "consumer_name": "name"},
    ],
    ids=str,
)
async def test_settings_that_cannot_be_are_refused(client: KinesisClient, settings: dict[str, object]) -> None:
    members = Members(client, "orders")

    with pytest.raises(ConfigInvalid):
        Consumer("orders", group="g", client=client, leases=members.leases, **settings)  # type: ignore[arg-type]  # wrong on purpose


def _next_millisecond() -> None:
    """Wait for the clock to move on: a group's start is a whole millisecond."""
    now = datetime.now(UTC)
    while datetime.now(UTC) - now < timedelta(milliseconds=2):
        pass
