"""The producer against a real daemon: places, batches, refusals, ends, cancellations and counters."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamd.errors import ConfigInvalid
from streamd.sdk.client import KinesisClient
from streamd.sdk.counters import ProducerCollector
from streamd.sdk.failures import (
    NotFound,
    ProducerClosed,
    RecordInvalid,
    RequestInvalid,
    ServiceFaltered,
    ServiceUnreachable,
    Throttled,
)
from streamd.sdk.producer import Producer
from tests.cli.scripted_server import ScriptedServer
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.sdk.reading import all_records, made_stream


async def test_each_future_tells_where_its_record_is(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=4)
        async with Producer(stream_name, client=client) as producer:
            futures = [await producer.put(b"%d" % number, f"key-{number}") for number in range(2000)]
            places = await asyncio.gather(*futures)
        records = await all_records(client, stream_name)

    found = {(shard, r["SequenceNumber"]): r["Data"] for shard, rows in records.items() for r in rows}
    assert [found[place.shard_id, place.sequence_number] for place in places] == [b"%d" % n for n in range(2000)]
    assert len(found) == 2000


async def test_the_end_sends_what_is_left(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=3_600_000) as producer:
            future = await producer.put(b"one", "k")
            assert not future.done()
        records = await all_records(client, stream_name)

    assert [record["Data"] for record in records["shardId-000000000000"]] == [b"one"]
    assert future.done()


async def fail_after_a_put(client: KinesisClient, stream: str) -> None:
    async with Producer(stream, client=client, linger_ms=3_600_000) as producer:
        await producer.put(b"one", "k")
        raise ZeroDivisionError


async def test_an_error_of_the_user_s_still_sends_what_was_admitted(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        with pytest.raises(ZeroDivisionError):
            await fail_after_a_put(client, stream_name)
        records = await all_records(client, stream_name)

    assert [record["Data"] for record in records["shardId-000000000000"]] == [b"one"]


async def test_a_flush_waits_for_all_that_was_admitted(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=3_600_000) as producer:
            futures = [await producer.put(b"x", "k") for _ in range(700)]
            await producer.flush()
            assert all(future.done() for future in futures)
            await producer.flush()


async def test_a_lone_record_waits_for_the_linger_only(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=1) as producer:
            for _ in range(3):
                place = await (await producer.put(b"one", "k"))
                assert place.shard_id == "shardId-000000000000"
            assert producer.counters().request_count == 3


async def test_a_hash_key_chooses_the_shard(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name, shard_count=2)
        async with Producer(stream_name, client=client) as producer:
            futures = [await producer.put(b"x", "k", hash_key=key) for key in (0, (1 << 128) - 1)]
            places = await asyncio.gather(*futures)

    assert [place.shard_id for place in places] == ["shardId-000000000000", "shardId-000000000001"]


async def test_a_record_that_no_stream_takes_is_refused_at_once(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            for data, key, hash_key in (
                (b"x", "", None),
                (b"x", "k" * 257, None),
                (bytes(10 << 20), "k", None),
                (b"x", "k", 1 << 128),
                (b"x", "k", -1),
            ):
                with pytest.raises(RecordInvalid):
                    await producer.put(data, key, hash_key=hash_key)
            assert producer.counters().buffered_byte_count == 0


async def test_one_record_that_the_stream_refuses_takes_no_other_with_it(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=3_600_000) as producer:
            # The stream takes 1 MiB; the producer cannot know, since others take 10.
            futures = [await producer.put(bytes(1_200_000) if n == 5 else b"x", f"k{n}") for n in range(20)]
            await producer.flush()
            endings = await asyncio.gather(*futures, return_exceptions=True)
        records = await all_records(client, stream_name)

    assert isinstance(endings.pop(5), RequestInvalid)
    assert all(not isinstance(ending, BaseException) for ending in endings)
    assert len(records["shardId-000000000000"]) == 19


async def test_a_stream_that_is_not_there_fails_the_futures(daemon: Daemon) -> None:
    async with KinesisClient(daemon.url) as client, Producer("not-there", client=client) as producer:
        future = await producer.put(b"x", "k")
        with pytest.raises(NotFound):
            await future

    assert producer.counters().failed_record_count == 1


async def test_after_its_end_it_takes_nothing(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            pass
        with pytest.raises(ProducerClosed):
            await producer.put(b"x", "k")


@pytest.mark.parametrize(
    "bounds", [{"batch_record_count_max": 501}, {"batch_byte_count_max": 11 << 20}, {"request_count_max": 0}]
)
def test_bounds_that_cannot_be_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ConfigInvalid):
        Producer("s", **bounds)  # type: ignore[arg-type]  # the table holds bounds only


async def test_only_the_records_that_were_refused_are_sent_again(scripted: ScriptedServer) -> None:
    def row(number: int) -> dict[str, str]:
        return {"ShardId": "shardId-000000000000", "SequenceNumber": str(number)}

    slow = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slowly"}
    scripted.will_answer("PutRecords", {"FailedRecordCount": 2, "Records": [row(1), slow, slow, row(2)]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 1, "Records": [row(3), slow]})
    scripted.will_answer("PutRecords", {"FailedRecordCount": 0, "Records": [row(4)]})

    async with KinesisClient(scripted.url) as client, Producer("s", client=client) as producer:
        futures = [await producer.put(b"x", key) for key in "abcd"]
        places = await asyncio.gather(*futures)

    keys = [[entry["PartitionKey"] for entry in sent["Records"]] for sent in scripted.documents("PutRecords")]
    assert keys == [list("abcd"), ["b", "c"], ["c"]]
    assert [place.sequence_number for place in places] == ["1", "3", "4", "2"]
    counters = producer.counters()
    assert (counters.request_count, counters.sent_record_count, counters.retried_record_count) == (3, 7, 3)


async def test_a_record_that_is_refused_for_too_long_is_given_up(scripted: ScriptedServer) -> None:
    slow = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slowly"}
    scripted.will_answer("PutRecords", {"FailedRecordCount": 1, "Records": [slow]})

    async with KinesisClient(scripted.url) as client, Producer("s", client=client, give_up_after_s=0.3) as producer:
        future = await producer.put(b"x", "k")
        with pytest.raises(Throttled, match="slowly"):
            await future

    assert len(scripted.asked) > 1
    assert producer.counters().buffered_byte_count == 0


async def test_a_service_that_falters_for_too_long_fails_the_futures(scripted: ScriptedServer) -> None:
    scripted.will_refuse("PutRecords", "InternalFailure", status=500)

    async with KinesisClient(scripted.url) as client, Producer("s", client=client, give_up_after_s=0.3) as producer:
        future = await producer.put(b"x", "k")
        with pytest.raises(ServiceFaltered):
            await future

    assert len(scripted.asked) > 1


async def test_cancelled_it_leaves_no_future_pending_and_sends_nothing_more(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        futures: list[Any] = []
        put_all = asyncio.Event()

        async def produce() -> None:
            async with Producer(stream_name, client=client, linger_ms=3_600_000, ordered=True) as producer:
                futures.extend([await producer.put(b"x", key) for key in ("a", "a", "b")])
                put_all.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(produce())
        await put_all.wait()
        task.cancel()
        await asyncio.wait([task])
        records = await all_records(client, stream_name)

    assert task.cancelled()
    assert all(future.cancelled() for future in futures)
    assert records["shardId-000000000000"] == []


async def test_cancelled_while_it_flushes_it_leaves_no_future_pending(stuck_url: str) -> None:
    futures: list[Any] = []
    put_all = asyncio.Event()

    async def produce(client: KinesisClient) -> None:
        async with Producer("s", client=client) as producer:
            futures.append(await producer.put(b"x", "k"))
            put_all.set()

    async with KinesisClient(stuck_url) as client:
        task = asyncio.ensure_future(produce(client))
        await put_all.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    assert task.cancelled()
    assert futures[0].cancelled()


async def test_a_stuck_server_stops_the_producer_at_its_bound(stuck_url: str) -> None:
    bound, cost = 200_000, 1024 + 101
    admitted = 0

    async def produce(producer: Producer) -> None:
        nonlocal admitted
        async with producer:
            while True:
                await producer.put(b"x" * 100, "k")
                admitted += 1

    async with KinesisClient(stuck_url) as client:
        producer = Producer("s", client=client, buffer_byte_count_max=bound)
        task = asyncio.ensure_future(produce(producer))
        # Many turns, in which a producer without bounds would admit far more.
        for _ in range(3000):
            await asyncio.sleep(0)
        buffered = producer.counters().buffered_byte_count
        task.cancel()
        await asyncio.wait([task])

    assert buffered <= bound
    assert admitted == bound // cost


async def test_a_request_without_an_answer_is_given_up_after_its_time(stuck_url: str) -> None:
    async with (
        KinesisClient(stuck_url) as client,
        Producer("s", client=client, request_timeout_s=0.05, give_up_after_s=0.2) as producer,
    ):
        future = await producer.put(b"x", "k")
        with pytest.raises(ServiceUnreachable, match="timed out"):
            await future

    assert producer.counters().request_count > 1


async def test_a_future_that_its_owner_cancelled_disturbs_nobody(daemon: Daemon, stream_name: str) -> None:
    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client) as producer:
            first, second = [await producer.put(data, "k") for data in (b"1", b"2")]
            first.cancel()
            await second

    assert producer.counters().record_count == 2


async def test_counters_are_a_value_and_go_to_prometheus(daemon: Daemon, stream_name: str) -> None:
    registry = CollectorRegistry()

    async with KinesisClient(daemon.url) as client:
        await made_stream(client, stream_name)
        async with Producer(stream_name, client=client, linger_ms=3_600_000) as producer:
            registry.register(ProducerCollector(producer))
            await producer.put(b"12345", "key")
            buffered = producer.counters()
            await producer.flush()
            counters = producer.counters()
            page = generate_latest(registry).decode()

    assert (buffered.buffered_record_count, buffered.record_count) == (1, 0)
    assert buffered.buffered_byte_count == 1024 + 8
    assert (counters.buffered_byte_count, counters.record_count, counters.byte_count) == (0, 1, 8)
    assert counters.latency_s_max == pytest.approx(counters.latency_s_sum)
    assert f'streamd_producer_records_total{{stream="{stream_name}"}} 1.0' in page
    assert f'streamd_producer_latency_seconds_count{{stream="{stream_name}"}} 1.0' in page


async def test_a_daemon_that_is_killed_in_the_middle_loses_nothing_that_was_acknowledged(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    first = daemon_factory(data=tmp_path / "data")
    count = 6000

    async with KinesisClient(first.url) as client:
        await made_stream(client, "orders", shard_count=2)
        async with Producer("orders", client=client, ordered=True, buffer_byte_count_max=200_000) as producer:
            killing = asyncio.ensure_future(kill_and_start(first, daemon_factory, tmp_path))
            futures = [await producer.put(b"%d" % number, f"key-{number % 97}") for number in range(count)]
            await killing
            places = await asyncio.gather(*futures)
        records = await all_records(client, "orders")

    assert producer.counters().retried_record_count > 0
    at = {(shard, r["SequenceNumber"]): int(r["Data"]) for shard, rows in records.items() for r in rows}
    assert [at[place.shard_id, place.sequence_number] for place in places] == list(range(count))
    for rows in records.values():
        _assert_order_by_key(rows)


async def kill_and_start(daemon: Daemon, factory: DaemonFactory, tmp_path: Path) -> None:
    for _ in range(2):
        await asyncio.to_thread(daemon.kill)
        daemon = await asyncio.to_thread(factory, data=tmp_path / "data", port=daemon.port)


def _assert_order_by_key(rows: list[Any]) -> None:
    """Each key's records appear first in the order in which they were put; repeats come after their first."""
    last: dict[str, int] = {}
    seen: set[int] = set()
    for row in rows:
        number = int(row["Data"])
        if number not in seen:
            assert number > last.get(row["PartitionKey"], -1)
            last[row["PartitionKey"]] = number
        seen.add(number)


async def test_shards_over_their_limits_take_all_records_in_order_in_the_end(
    daemon_factory: DaemonFactory,
) -> None:
    daemon = daemon_factory("--limits", "aws")
    count = 4000

    async with KinesisClient(daemon.url) as client:
        await made_stream(client, "orders", shard_count=2)
        async with Producer("orders", client=client, ordered=True) as producer:
            for number in range(count):
                await producer.put(b"%d" % number, f"key-{number % 211}")
        records = await all_records(client, "orders")

    assert producer.counters().retried_record_count > 0
    assert producer.counters().record_count == count
    assert sum(len(rows) for rows in records.values()) == count
    for rows in records.values():
        _assert_order_by_key(rows)
