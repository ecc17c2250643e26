"""async-kinesis, producer and consumer as its users write them: what was put comes out, across restarts and reshards.

It is built on aiobotocore, so it runs in that one's environment (see pyproject.toml).
"""

import asyncio
import importlib.metadata
from typing import Any

import pytest

from tests.clients.conftest import SeenBy
from tests.daemons import Daemon

kinesis = pytest.importorskip("kinesis")
checkpointers = pytest.importorskip("kinesis.checkpointers")
processors = pytest.importorskip("kinesis.processors")

__all__: list[str] = []

_COUNT = 500


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes them from where every program of AWS does.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


async def _produce(daemon: Daemon, stream: str, items: list[Any], *, processor: Any = None) -> None:
    settings = {"endpoint_url": daemon.url, "region_name": "us-east-1", "buffer_time": 0.05, "processor": processor}
    async with kinesis.Producer(stream_name=stream, create_stream=True, create_stream_shards=3, **settings) as producer:
        for item in items:
            await producer.put(item)


async def _consume(
    daemon: Daemon, stream: str, *, count: int, processor: Any = None, checkpointer: Any = None
) -> list[Any]:
    found: list[Any] = []
    async with kinesis.Consumer(
        stream_name=stream,
        endpoint_url=daemon.url,
        region_name="us-east-1",
        sleep_time_no_records=0.05,
        shard_fetch_rate=5,
        processor=processor,
        checkpointer=checkpointer,
    ) as consumer:
        async with asyncio.timeout(60):
            while len(found) < count:
                async for item in consumer:
                    found += item if isinstance(item, list) else [item]
    return found


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        ("simple", processors.StringProcessor()),
        ("lines", processors.JsonLineProcessor()),
        ("lists", processors.JsonListProcessor()),
    ],
)
async def test_what_is_put_comes_out(
    daemon: Daemon, stream_name: str, seen_by: SeenBy, name: str, processor: Any
) -> None:
    row = seen_by("async-kinesis", version=importlib.metadata.version("async-kinesis"), transport="HTTP/1.1, JSON")
    items: list[Any] = [f"{name}-{n}" if name == "simple" else {"n": n} for n in range(_COUNT)]

    await _produce(daemon, stream_name, items, processor=processor)
    found = await _consume(daemon, stream_name, count=_COUNT, processor=processor)

    assert sorted(map(str, found)) == sorted(map(str, items))
    row.ran("CreateStream", "DescribeStream", "PutRecords", "GetShardIterator", "GetRecords")


async def test_a_consumer_goes_on_where_its_checkpoints_stand(
    daemon: Daemon, stream_name: str, seen_by: SeenBy
) -> None:
    seen_by("async-kinesis", version=importlib.metadata.version("async-kinesis"), transport="HTTP/1.1, JSON")
    checkpointer = checkpointers.MemoryCheckPointer(name="app")

    await _produce(daemon, stream_name, [{"n": n} for n in range(100)])
    first = await _consume(daemon, stream_name, count=100, checkpointer=checkpointer)
    await _produce(daemon, stream_name, [{"n": n} for n in range(100, 200)])
    second = await _consume(daemon, stream_name, count=100, checkpointer=checkpointer)

    assert sorted(item["n"] for item in first) == list(range(100))
    assert sorted(item["n"] for item in second) == list(range(100, 200))
