"""Puts with a producer's number: stored once, whatever becomes of the connection, the worker, the shard, the daemon."""

import asyncio
import base64
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from streamd.core.limits import PUT_MEMORY_COUNT
from streamd.errors import ConfigInvalid
from streamd.sdk.client import KinesisClient
from streamd.sdk.producer import Producer
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, RawReply, raw
from tests.sdk.reading import all_records, made_stream


def put(
    url: str, stream: str, data: list[str], *, producer: str, sequence: object = 1, operation: str = "PutRecords"
) -> RawReply:
    """Put records, each with its data up to a blank as its key, over a connection of its own."""
    entries = [
        {"Data": base64.b64encode(text.encode()).decode(), "PartitionKey": text.partition(" ")[0]} for text in data
    ]
    document = {"StreamName": stream, "Records": entries}
    if operation != "PutRecords":
        document = {"StreamName": stream, **entries[0]}
    headers = {"x-streamd-producer-id": producer, "x-streamd-producer-sequence": str(sequence)}
    return raw(
        url,
        operation,
        document,
        Authorization="AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kinesis/aws4_request, "
        "SignedHeaders=host, Signature=0",
        X_Amz_Date="20260101T000000Z",
        **headers,
    )


async def stored_data(url: str, stream: str) -> list[str]:
    async with KinesisClient(url) as client:
        records = await all_records(client, stream)
    return sorted(row["Data"].decode() for rows in records.values() for row in rows)


async def a_stream(url: str, stream: str, *, shard_count: int = 2) -> None:
    async with KinesisClient(url) as client:
        await made_stream(client, stream, shard_count=shard_count)


async def test_the_same_put_on_two_connections_is_stored_once(daemon: Daemon, stream_name: str) -> None:
    await a_stream(daemon.url, stream_name)
    producer, data = uuid4().hex, [str(number) for number in range(50)]

    first = put(daemon.url, stream_name, data, producer=producer)
    again = put(daemon.url, stream_name, data, producer=producer)
    other = put(daemon.url, stream_name, data, producer=producer, sequence=2)

    assert first.status == again.status == 200
    assert again.json() == first.json()
    assert other.json() != first.json()
    assert await stored_data(daemon.url, stream_name) == sorted(data * 2)


async def test_a_single_record_is_stored_once_too(daemon: Daemon, stream_name: str) -> None:
    await a_stream(daemon.url, stream_name)
    producer = uuid4().hex

    replies = [put(daemon.url, stream_name, ["x"], producer=producer, operation="PutRecord") for _ in range(3)]

    assert len({reply.body for reply in replies}) == 1
    assert await stored_data(daemon.url, stream_name) == ["x"]


async def test_the_same_put_to_several_workers_at_once_is_stored_once(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "2")
    await a_stream(daemon.url, "orders")
    data = [str(number) for number in range(20)]
    producers = [uuid4().hex for _ in range(10)]

    def put_twin(number: int) -> tuple[str, bytes]:
        producer = producers[number % 10]
        return producer, put(daemon.url, "orders", data, producer=producer).body

    with ThreadPoolExecutor(16) as threads:
        replies = set(threads.map(put_twin, range(80)))

    # New connections are spread over the workers, so twins met in both of them.
    assert len(replies) == len(producers)
    assert await stored_data(daemon.url, "orders") == sorted(data * 10)


async def test_a_daemon_that_is_killed_after_the_commit_answers_the_repeat_with_the_same_places(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory("--workers", "2", data=tmp_path / "data")
    await a_stream(daemon.url, "orders")
    producer, data = uuid4().hex, [str(number) for number in range(30)]

    first = put(daemon.url, "orders", data, producer=producer)
    daemon.kill()
    restarted = daemon_factory("--workers", "2", data=tmp_path / "data")
    again = put(restarted.url, "orders", data, producer=producer)

    assert again.json() == first.json()
    assert await stored_data(restarted.url, "orders") == sorted(data)


async def test_a_repeat_after_a_split_and_a_merge_gets_the_places_in_the_closed_shards(
    daemon: Daemon, stream_name: str
) -> None:
    await a_stream(daemon.url, stream_name)
    producer, data = uuid4().hex, [str(number) for number in range(60)]

    first = put(daemon.url, stream_name, data, producer=producer)
    async with KinesisClient(daemon.url) as client:
        await client.split_shard(stream_name, "shardId-000000000000", hash_key=1 << 126)
        await client.wait_until_active(stream_name)
        split = put(daemon.url, stream_name, data, producer=producer)
        await client.merge_shards(stream_name, "shardId-000000000003", adjacent_shard_id="shardId-000000000001")
        await client.wait_until_active(stream_name)
    merged = put(daemon.url, stream_name, data, producer=producer)

    assert first.json() == split.json() == merged.json()
    assert await stored_data(daemon.url, stream_name) == sorted(data)


async def test_what_was_refused_for_the_moment_stays_refused_under_its_number(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")
    await a_stream(daemon.url, "orders", shard_count=2)
    producer = uuid4().hex
    # Each request alone is more than its shards take at once.
    batches = [[f"{sequence}-{number} {'x' * 8000}" for number in range(500)] for sequence in range(1, 5)]

    def put_all() -> list[Any]:
        return [
            put(daemon.url, "orders", data, producer=producer, sequence=sequence).json()
            for sequence, data in enumerate(batches, 1)
        ]

    first, again = put_all(), put_all()
    partial = [answer for answer in first if answer["FailedRecordCount"]]
    stored = sum(500 - answer["FailedRecordCount"] for answer in first)

    assert first == again
    assert partial
    assert len(await stored_data(daemon.url, "orders")) == stored
    for answer in partial:
        for shard in ("shardId-000000000000", "shardId-000000000001"):
            has_failed = ["ErrorCode" in row for row in answer["Records"] if shard in str(row)]
            assert has_failed == sorted(has_failed), "after a refusal nothing more of the shard is stored"


async def test_what_was_refused_in_a_shard_stays_refused_after_its_split(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")
    await a_stream(daemon.url, "orders", shard_count=1)
    producer = uuid4().hex
    # Each request alone is more than a shard takes at once.
    batches = [[f"{sequence}-{number} {'x' * 4000}" for number in range(500)] for sequence in range(1, 5)]

    first = [put(daemon.url, "orders", data, producer=producer, sequence=s).json() for s, data in enumerate(batches, 1)]
    async with KinesisClient(daemon.url) as client:
        await client.split_shard("orders", "shardId-000000000000", hash_key=1 << 127)
        await client.wait_until_active("orders")
    again = [put(daemon.url, "orders", data, producer=producer, sequence=s).json() for s, data in enumerate(batches, 1)]

    assert any(answer["FailedRecordCount"] for answer in first)
    assert again == first


async def test_a_number_before_the_window_or_used_for_other_records_is_refused(
    daemon: Daemon, stream_name: str
) -> None:
    await a_stream(daemon.url, stream_name, shard_count=1)
    producer = uuid4().hex
    for sequence in (1, PUT_MEMORY_COUNT + 1):
        put(daemon.url, stream_name, ["x"], producer=producer, sequence=sequence)

    old = put(daemon.url, stream_name, ["x"], producer=producer, sequence=1)
    other = put(daemon.url, stream_name, ["x", "y"], producer=producer, sequence=PUT_MEMORY_COUNT + 1)

    assert [reply.json()["__type"] for reply in (old, other)] == ["ProducerSequenceException"] * 2
    assert "too old" in old.json()["message"]
    assert "other records" in other.json()["message"]
    assert await stored_data(daemon.url, stream_name) == ["x", "x"]


@pytest.mark.parametrize(
    ("producer", "sequence", "operation"),
    [
        ("short", 1, "PutRecords"),
        ("A" * 32, 1, "PutRecords"),
        ("a" * 32, 0, "PutRecords"),
        ("a" * 32, "one", "PutRecord"),
        ("a" * 32, 10**18, "PutRecords"),
    ],
)
async def test_headers_that_are_no_number_of_a_producer_are_refused(
    daemon: Daemon, stream_name: str, producer: str, sequence: object, operation: str
) -> None:
    await a_stream(daemon.url, stream_name)

    reply = put(daemon.url, stream_name, ["x"], producer=producer, sequence=sequence, operation=operation)

    assert (reply.status, reply.json()["__type"]) == (400, "InvalidArgumentException")
    assert await stored_data(daemon.url, stream_name) == []


def test_more_requests_than_the_server_remembers_are_refused() -> None:
    with pytest.raises(ConfigInvalid):
        Producer("s", idempotent=True, request_count_max=PUT_MEMORY_COUNT)


@asynccontextmanager
async def losing_answers(daemon: Daemon, *, every: int) -> AsyncIterator[str]:
    """Pass requests on to a daemon, and hang up instead of passing on every so-and-so-many-th answer."""
    count = 0
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", daemon.port)

        async def pass_requests() -> None:
            while data := await reader.read(1 << 16):
                upstream_writer.write(data)

        passing = asyncio.ensure_future(pass_requests())
        try:
            while data := await upstream_reader.read(1 << 16):
                count += data.startswith(b"HTTP/1.1 200")
                if data.startswith(b"HTTP/1.1 200") and count % every == 0:
                    break
                writer.write(data)
        finally:
            passing.cancel()
            for end in (writer, upstream_writer):
                end.close()
            await asyncio.wait([passing])

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


@pytest.mark.parametrize("aggregate", [False, True])
async def test_a_producer_whose_answers_are_lost_stores_each_record_once(
    daemon: Daemon, stream_name: str, *, aggregate: bool
) -> None:
    await a_stream(daemon.url, stream_name)
    count = 6000

    async with losing_answers(daemon, every=3) as url, KinesisClient(url) as client:
        async with Producer(
            stream_name,
            client=client,
            idempotent=True,
            aggregate=aggregate,
            batch_record_count_max=100,
            buffer_byte_count_max=500_000,
        ) as producer:
            futures = [await producer.put(b"%d" % number, f"key-{number}") for number in range(count)]
        places = [future.result() for future in futures]
    async with KinesisClient(daemon.url) as client:
        records = await all_records(client, stream_name)

    assert producer.counters().retried_record_count > 0
    by_place = {(shard, row["SequenceNumber"]): row["Data"] for shard, rows in records.items() for row in rows}
    assert {(place.shard_id, place.sequence_number) for place in places} == set(by_place)
    if not aggregate:
        found = [by_place[place.shard_id, place.sequence_number] for place in places]
        assert found == [b"%d" % number for number in range(count)]


async def test_a_producer_whose_daemon_is_killed_stores_each_record_once(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    running = daemon_factory("--workers", "2", data=tmp_path / "data")
    await a_stream(running.url, "orders")
    count = 8000

    async def kill_and_start(daemon: Daemon) -> None:
        for _ in range(3):
            await asyncio.to_thread(daemon.kill)
            daemon = await asyncio.to_thread(daemon_factory, "--workers", "2", data=tmp_path / "data", port=daemon.port)

    async with (
        KinesisClient(running.url) as client,
        Producer(
            "orders", client=client, idempotent=True, batch_record_count_max=50, buffer_byte_count_max=400_000
        ) as producer,
    ):
        killing = asyncio.ensure_future(kill_and_start(running))
        number = 0
        while number < count or not killing.done():
            await producer.put(b"%d" % number, f"key-{number}")
            number += 1
        await killing

    assert producer.counters().retried_record_count > 0
    assert producer.counters().failed_record_count == 0
    assert await stored_data(running.url, "orders") == sorted(map(str, range(number)))
