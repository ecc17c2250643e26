"""Many records put at once: one future for all their places, within the bounds and with the repeats of single ones."""

import asyncio
from typing import Any

import pytest

from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import ProducerClosed, RecordInvalid, RequestInvalid, Throttled
from streamd.sdk.producer import Producer
from tests.cli.scripted_server import ScriptedServer
from tests.daemons import Daemon
from tests.sdk.reading import all_records, made_stream

__all__: list[str] = []


def _records(count: int, *, key_count: int = 97) -> list[tuple[bytes, str]]:
    return [(b"%d" % number, f"key-{number % key_count}") for number in range(count)]


@pytest.mark.parametrize("settings", [{}, {"ordered": True}, {"buffer_byte_count_max": 20_000}, {"linger_ms": 0}])
async def test_the_future_tells_where_each_record_is(
    daemon: Daemon, stream_name: str, settings: dict[str, Any]
) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=4)
        async with Producer(stream_name, client=client, **settings) as producer:
            places = await (await producer.put_many(_records(2345)))
        records = await all_records(client, stream_name)

    found = {(shard, r["SequenceNumber"]): r["Data"] for shard, rows in records.items() for r in rows}
    assert [found[place.shard_id, place.sequence_number] for place in places] == [b"%d" % n for n in range(2345)]
    assert len(found) == 2345
    assert producer.counters().record_count == 2345
    assert producer.counters().buffered_byte_count == 0


async def test_records_that_fill_no_more_than_a_request_go_out_in_one(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=0, request_count_max=1) as producer:
            for _ in range(3):
                await (await producer.put_many(_records(500)))
        records = await all_records(client, stream_name)

    assert producer.counters().request_count == 3
    assert [int(row["Data"]) for row in records["shardId-000000000000"]] == [*range(500)] * 3


async def test_aggregated_records_have_places_of_their_own(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=2)
        async with Producer(stream_name, client=client, aggregate=True, ordered=True) as producer:
            places = await (await producer.put_many(_records(1000)))
        records = await all_records(client, stream_name)

    assert len(set(places)) == 1000
    stored = {(shard, row["SequenceNumber"]) for shard, rows in records.items() for row in rows}
    assert {(place.shard_id, place.sequence_number) for place in places} == stored
    assert len(stored) < 100


async def test_none_is_answered_at_once(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client, Producer(stream_name, client=client) as producer:
        assert await (await producer.put_many([])) == []


async def test_only_what_was_refused_is_sent_again(scripted: ScriptedServer) -> None:
    slow = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slowly"}
    scripted.will_answer("PutRecords", {"FailedRecordCount": 2, "Records": [_row(1), slow, slow, _row(2)]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 1, "Records": [_row(3), slow]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 0, "Records": [_row(4)]})

    async with KinesisClient(scripted.url) as client, Producer("s", client=client) as producer:
        places = await (await producer.put_many([(b"x", key) for key in "abcd"]))

    keys = [[entry["PartitionKey"] for entry in sent["Records"]] for sent in scripted.documents("PutRecords")]
    assert keys == [list("abcd"), ["b", "c"], ["c"]]
    assert [place.sequence_number for place in places] == ["1", "3", "4", "2"]


def _row(number: int) -> dict[str, str]:
    return {"ShardId": "shardId-000000000000", "SequenceNumber": str(number)}


async def test_one_that_is_given_up_fails_the_future_once_all_have_their_end(scripted: ScriptedServer) -> None:
    slow = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slowly"}
    scripted.will_answer("PutRecords", {"FailedRecordCount": 2, "Records": [slow, _row(1), slow]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 2, "Records": [slow, slow]})

    async with KinesisClient(scripted.url) as client, Producer("s", client=client, give_up_after_s=0.3) as producer:
        future = await producer.put_many([(b"x", key) for key in "abc"])
        with pytest.raises(Throttled, match="slowly"):
            await future
        counters = producer.counters()

    assert len(scripted.asked) > 1
    assert (counters.record_count, counters.failed_record_count, counters.buffered_byte_count) == (1, 2, 0)


async def test_one_that_the_stream_refuses_takes_no_other_with_it(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            # The stream takes 1 MiB; the producer cannot know, since others take 10.
            future = await producer.put_many([(bytes(1_200_000) if n == 5 else b"x", f"k{n}") for n in range(20)])
            with pytest.raises(RequestInvalid):
                await future
        records = await all_records(client, stream_name)

    assert len(records["shardId-000000000000"]) == 19


@pytest.mark.parametrize("bad", [(b"x", ""), (b"x", "k" * 257), (bytes(10 << 20), "k")])
async def test_of_records_with_one_that_no_stream_takes_none_is_admitted(
    daemon: Daemon, stream_name: str, bad: tuple[bytes, str]
) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            with pytest.raises(RecordInvalid):
                await producer.put_many([*_records(10), bad])
            assert producer.counters().buffered_byte_count == 0
        records = await all_records(client, stream_name)

    assert records["shardId-000000000000"] == []


async def test_after_its_end_a_producer_takes_nothing(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        async with Producer(stream_name, client=client) as producer:
            pass
        with pytest.raises(ProducerClosed):
            await producer.put_many(_records(3))


async def test_a_stuck_server_stops_many_records_at_the_bound(stuck_url: str) -> None:
    bound = 200_000

    async def produce(producer: Producer) -> None:
        async with producer:
            await producer.put_many(_records(100_000))

    async with KinesisClient(stuck_url) as client:
        producer = Producer("s", client=client, buffer_byte_count_max=bound)
        task = asyncio.ensure_future(produce(producer))
        # Many turns, in which a producer without bounds would admit far more.
        for _ in range(3000):
            await asyncio.sleep(0)
        counters = producer.counters()
        task.cancel()
        await asyncio.wait([task])

    assert bound // 2 < counters.buffered_byte_count <= bound
    assert task.cancelled()
    assert producer.counters().buffered_byte_count == 0


async def test_cancelled_in_the_midst_it_leaves_whole_what_was_admitted_and_holds_nobody_up(
    daemon: Daemon, stream_name: str
) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        # The buffer is full of what lingers, so the rest waits for ever.
        producer = Producer(stream_name, client=client, linger_ms=3_600_000, buffer_byte_count_max=100_000)
        async with producer:
            task = asyncio.ensure_future(producer.put_many(_records(1000, key_count=1)))
            for _ in range(100):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            admitted_count = producer.counters().buffered_record_count
            await producer.flush()
            assert producer.counters().buffered_record_count == 0
        records = await all_records(client, stream_name)

    assert 0 < admitted_count < 1000
    assert [int(row["Data"]) for row in records["shardId-000000000000"]] == list(range(admitted_count))


async def test_a_producer_that_ends_tells_those_who_wait_for_room(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        producer = Producer(stream_name, client=client, linger_ms=3_600_000, buffer_byte_count_max=100_000)
        async with producer:
            task = asyncio.ensure_future(producer.put_many(_records(1000)))
            for _ in range(100):
                await asyncio.sleep(0)
        with pytest.raises(ProducerClosed):
            await task

    assert 0 < producer.counters().record_count < 1000


async def test_a_future_that_its_owner_cancelled_disturbs_nobody(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            first, second = [await producer.put_many(_records(5)) for _ in range(2)]
            first.cancel()
            await second

    assert producer.counters().record_count == 10
