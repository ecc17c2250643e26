"""The client, the producer and the consumer against servers of others: moto, and kinesalite where npm installs it."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamd.core.aggregation import deaggregate
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.failures import InUse, NotFound
from streamd.sdk.leases_memory import MemoryLeases
from streamd.sdk.producer import Producer
from tests.sdk.reading import made_stream

_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamd-tests" / "kinesalite"
_PATIENCE_S = 60
_SHARD_COUNT = 2


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """Run a server until the context ends; its address, once it takes connections."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline_s = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline_s:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, "the server ended"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def moto() -> tuple[list[str], int]:
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    port = free_port()
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port


def kinesalite() -> tuple[list[str], int]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    program = _FOLDER / "node_modules" / "kinesalite" / "cli.js"
    if not program.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(_FOLDER), "kinesalite@3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode and "CI" not in os.environ:
            pytest.skip(f"npm cannot install kinesalite: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, done.stderr
    port = free_port()
    times = ["--createStreamMs", "10", "--deleteStreamMs", "10"]
    return ["node", str(program), "--port", str(port), *times], port


@pytest.fixture(scope="module", params=[moto, kinesalite], ids=["moto", "kinesalite"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of a server of others."""
    with running(*request.param()) as address:
        yield address


async def read_to_the_end(client: KinesisClient, stream: str, shard_id: str) -> list[bytes]:
    found: list[bytes] = []
    iterator = await client.get_shard_iterator(stream, shard_id)
    while True:
        answer = await client.get_records(iterator)
        if not answer["Records"]:
            return found
        found += [record["Data"] for record in answer["Records"]]
        iterator = answer["NextShardIterator"]


@pytest.mark.parametrize(("ordered", "aggregate"), [(False, False), (True, False), (True, True)])
async def test_the_producer_stores_every_record(url: str, stream_name: str, *, ordered: bool, aggregate: bool) -> None:
    data = [b"%d" % number for number in range(1200)]

    async with KinesisClient(url) as client:
        await made_stream(client, stream_name, shard_count=_SHARD_COUNT)
        # One request at a time: moto's threads write over each other's records.
        async with Producer(
            stream_name, client=client, ordered=ordered, aggregate=aggregate, request_count_max=1
        ) as producer:
            futures = [await producer.put(datum, f"key-{number % 150}") for number, datum in enumerate(data)]
            places = await asyncio.gather(*futures)
        shards = await client.list_shards(stream_name)
        records = [
            record for shard in shards for record in await read_to_the_end(client, stream_name, shard["ShardId"])
        ]

    unpacked = [user.data for record in records for user in deaggregate(record) or ()] if aggregate else []
    plain = [record for record in records if deaggregate(record) is None]
    assert sorted(unpacked + plain) == sorted(data)
    assert {place.shard_id for place in places} == {shard["ShardId"] for shard in shards}


async def test_consumers_share_the_shards_and_read_every_record_in_order(url: str, stream_name: str) -> None:
    leases = MemoryLeases()
    found: dict[str, list[int]] = {}
    count = 600

    async with KinesisClient(url) as client:
        await made_stream(client, stream_name, shard_count=_SHARD_COUNT)
        async with Producer(stream_name, client=client, ordered=True, request_count_max=1) as producer:
            for number in range(count):
                await producer.put(b"%d" % number, f"key-{number % 30}")

        async def read() -> None:
            async with Consumer(stream_name, group="g", client=client, leases=leases) as consumer:
                async for batch in consumer:
                    for record in batch.records:
                        found.setdefault(str(record.key), []).append(int(record.data))
                    if sum(map(len, found.values())) >= count:
                        return

        # Who reads the last record ends both: the other one may wait for records that never come.
        readers = [asyncio.ensure_future(read()) for _ in range(2)]
        await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED, timeout=_PATIENCE_S)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    assert found == {f"key-{key}": list(range(key, count, 30)) for key in range(30)}


async def test_the_client_manages_streams_and_names_what_is_wrong(url: str, stream_name: str) -> None:
    async with KinesisClient(url) as client:
        await made_stream(client, stream_name, shard_count=1)
        await client.add_tags(stream_name, {"a": "1"})
        tags = await client.list_tags(stream_name)
        names = [summary["StreamName"] for summary in await client.list_streams()]
        description = await client.describe_stream(stream_name)
        with pytest.raises(InUse):
            await client.create_stream(stream_name, shard_count=1)
        with pytest.raises(NotFound):
            await client.put_record("never-made", b"x", "k")
        await client.delete_stream(stream_name)
        await client.wait_until_gone(stream_name)

    assert tags == {"a": "1"}
    assert stream_name in names
    assert len(description["Shards"]) == 1
