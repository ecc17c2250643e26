"""async-kinesis, unmodified: what its producer puts its consumers bring out, once, and they go on where they stopped.

It stands on aiobotocore, and runs in its environment (see pyproject.toml).
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import run_program
from tests.clients.botocore_rows import note_operations
from tests.clients.client_table import ClientRow
from tests.clients.conftest import SeenBy
from tests.daemons import Daemon

__all__: list[str] = []

_IS_HERE = importlib.util.find_spec("kinesis") is not None
_REDIS = shutil.which("redis-server")

pytestmark = pytest.mark.skipif(not _IS_HERE, reason="async-kinesis is not installed")


class Programs:
    """Makes producers and consumers of the daemon, as a program would by its settings."""

    def __init__(self, daemon: Daemon, row: ClientRow) -> None:
        from aiobotocore.session import AioSession  # noqa: PLC0415 - it may not be there, which is the skip's reason

        self.session = AioSession()
        self.session.set_credentials("AKIAEXAMPLE", "secret-for-tests-only")
        note_operations(self.session, row)
        self._place = {"session": self.session, "endpoint_url": daemon.url, "region_name": "us-east-1"}

    def producer(self, stream: str, **settings: Any) -> Any:
        from kinesis import Producer  # noqa: PLC0415

        return Producer(stream, **self._place, **settings)

    def consumer(self, stream: str, **settings: Any) -> Any:
        from kinesis import Consumer  # noqa: PLC0415

        # It waits this long for a record, and this long between answers without any: short for a test, not for luck.
        return Consumer(
            stream, **self._place, idle_timeout=1, sleep_time_no_records=0.1, shard_fetch_rate=5, **settings
        )


@pytest.fixture
def programs(daemon: Daemon, seen_by: SeenBy) -> Programs:
    """Give producers and consumers of the daemon."""
    version = importlib.metadata.version("async-kinesis")
    return Programs(daemon, seen_by("async-kinesis", version=version, transport="HTTP/1.1, JSON"))


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[None]:
    """Start Redis on a free port, and name it where async-kinesis looks for it."""
    if _REDIS is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(_REDIS, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async for line in process.stdout:
        if b"Ready to accept connections" in line:
            break
    before = {name: os.environ.get(name) for name in ("REDIS_HOST", "REDIS_PORT")}
    os.environ.update(REDIS_HOST="127.0.0.1", REDIS_PORT=port)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value
    process.terminate()
    await process.communicate()


async def _put(programs: Programs, stream: str, items: list[Any], **settings: Any) -> None:
    async with programs.producer(stream, **settings) as producer:
        for item in items:
            await producer.put(item)


async def _take(consumer: Any, count: int) -> list[Any]:
    """Take at least so many, and then all that comes until the consumer is idle: by then it has its checkpoint too."""
    found: list[Any] = []
    while len(found) < count:
        async for item in consumer:
            found.append(item)  # noqa: PERF401 - an iteration that ends early keeps what it found
    return found


def _items(name: str, count: int) -> list[Any]:
    return [{"name": name, "number": number, "text": "ü" * (number % 50)} for number in range(count)]


def _order(item: Any) -> tuple[str, int]:
    return item["name"], item["number"]


@pytest.mark.parametrize("processor", ["JsonProcessor", "JsonLineProcessor", "JsonListProcessor", "KPLJsonProcessor"])
async def test_everything_put_comes_out_once(programs: Programs, stream_name: str, processor: str) -> None:
    from kinesis import processors  # noqa: PLC0415

    sent = _items("post", 1200)

    made = getattr(processors, processor)
    await _put(programs, stream_name, sent, processor=made(), create_stream=True, create_stream_shards=3)
    async with programs.consumer(stream_name, processor=made()) as consumer:
        # A list of one aggregate is given out as one item.
        lists = await _take(consumer, 1 if processor == "JsonListProcessor" else len(sent))

    found = [item for part in lists for item in part] if processor == "JsonListProcessor" else lists
    assert sorted(found, key=_order) == sent


async def test_the_records_of_a_key_come_out_in_order(programs: Programs, stream_name: str) -> None:
    async with programs.producer(stream_name, create_stream=True, create_stream_shards=4, buffer_time=0.05) as producer:
        for number in range(500):
            await producer.put({"key": number % 7, "number": number}, partition_key=f"key-{number % 7}")
    async with programs.consumer(stream_name) as consumer:
        found = await _take(consumer, 500)

    assert len(found) == 500
    for key in range(7):
        numbers = [item["number"] for item in found if item["key"] == key]
        assert numbers == list(range(key, 500, 7))


async def test_a_consumer_goes_on_from_its_checkpoint(programs: Programs, stream_name: str) -> None:
    from kinesis import MemoryCheckPointer  # noqa: PLC0415

    checkpoints = MemoryCheckPointer(name="test")

    await _put(programs, stream_name, _items("first", 200), create_stream=True, create_stream_shards=2)
    async with programs.consumer(stream_name, checkpointer=checkpoints) as consumer:
        first = await _take(consumer, 200)
    await _put(programs, stream_name, _items("second", 100))
    async with programs.consumer(stream_name, checkpointer=checkpoints) as consumer:
        second = await _take(consumer, 100)

    assert sorted(first, key=_order) == _items("first", 200)
    assert sorted(second, key=_order) == _items("second", 100)


async def test_a_consumer_reads_through_a_split(programs: Programs, daemon: Daemon, stream_name: str) -> None:
    await _put(programs, stream_name, _items("before", 100), create_stream=True)
    # It has no call for this; streamd's own command does it, so that README claims nothing for it here.
    split = await asyncio.to_thread(run_program, "stream", "split", stream_name, "0", "--endpoint", daemon.url)
    await _put(programs, stream_name, _items("later", 100))

    async with programs.consumer(stream_name) as consumer:
        found = await _take(consumer, 200)

    assert split.status == 0, split.err
    assert sorted(found[:100], key=_order) == _items("before", 100)
    assert sorted(found[100:], key=_order) == _items("later", 100)


@pytest.mark.usefixtures("redis")
async def test_consumers_share_a_stream_by_redis_and_take_over(programs: Programs, stream_name: str) -> None:
    from kinesis import RedisCheckPointer  # noqa: PLC0415

    names = ("one", "two", "three")
    leases = {name: RedisCheckPointer(name=stream_name, id=name) for name in names}

    def consumer(name: str, shards: int) -> Any:
        return programs.consumer(stream_name, checkpointer=leases[name], max_shard_consumers=shards)

    await _put(programs, stream_name, _items("first", 300), create_stream=True, create_stream_shards=2)
    async with consumer("one", 1) as one, consumer("two", 1) as two:
        await one.wait_ready()
        await two.wait_ready()
        shares = await asyncio.gather(_take(one, 1), _take(two, 1))
    await _put(programs, stream_name, _items("second", 100))
    async with consumer("three", 2) as three:
        taken_over = await _take(three, 100)
    # Closing a consumer leaves its connection to Redis open.
    for name in names:
        await leases[name].client.aclose()

    assert all(shares)
    assert sorted([*shares[0], *shares[1]], key=_order) == _items("first", 300)
    assert sorted(taken_over, key=_order) == _items("second", 100)


async def test_a_stream_that_is_not_there_is_told(programs: Programs) -> None:
    from kinesis.exceptions import StreamDoesNotExist  # noqa: PLC0415

    with pytest.raises(StreamDoesNotExist, match="no-such-stream"):
        await _put(programs, "no-such-stream", _items("never", 1))
