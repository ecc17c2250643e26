"""The examples in the SDK's docstrings, run as they stand there against a daemon."""

import ast
import asyncio
import importlib
import re
import textwrap
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.lambda_client import LambdaClient
from streamd.sdk.mirror import Mirror
from streamd.sdk.producer import Producer, Stored
from streamd.sdk.testing import MemoryKinesis
from tests.conftest import DaemonFactory

_MODULES = ("client", "consumer", "lambda_client", "mirror", "producer", "testing")
_URL = "http://127.0.0.1:4567"
_PATIENCE_S = 60


class Stage:
    """Runs the example of a module; what it prints is kept."""

    def __init__(self, url: str, client: KinesisClient) -> None:
        self.url = url
        self.client = client
        self.printed: list[tuple[object, ...]] = []
        self.names: dict[str, Any] = {}

    def begin(self, module: str, **given: object) -> "asyncio.Task[None]":
        """Run an example as a program that knows the names that it is about; gives its task."""
        code = compile(
            example_of(module), f"{module}'s docstring", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        self.names = {
            "print": lambda *values: self.printed.append(values),
            # A client that is told nothing finds a daemon in its environment; this one is told the test's.
            "KinesisClient": lambda endpoint=None: KinesisClient(self._own(endpoint)),
            "LambdaClient": lambda endpoint: LambdaClient(self._own(endpoint)),
            "Consumer": Consumer,
            "MemoryKinesis": MemoryKinesis,
            "Mirror": Mirror,
            "Producer": lambda stream, **settings: Producer(stream, **{"client": self.client, **settings}),
            **given,
        }
        return asyncio.get_running_loop().create_task(eval(code, self.names))  # noqa: S307 - our own docstrings

    def _own(self, endpoint: str | None) -> str:
        assert endpoint in (None, _URL), "an example names the default address"
        return self.url


def example_of(module: str) -> str:
    """Cut the example out of a module's docstring: the indented part that begins with ``async with``."""
    text = importlib.import_module(f"streamd.sdk.{module}").__doc__ or ""
    found = re.search(r"^    async with.*?(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[0])


@pytest.fixture
async def stage(daemon_factory: DaemonFactory) -> AsyncIterator[Stage]:
    """Give a stage on a daemon of its own: examples name their streams."""
    url = daemon_factory().url
    async with KinesisClient(url) as client:
        yield Stage(url, client)


async def make_orders(client: KinesisClient) -> None:
    await client.create_stream("orders", shard_count=2)
    await client.wait_until_active("orders")


async def end(task: "asyncio.Task[None]") -> None:
    """End an example that would go on for ever."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def records_of(client: KinesisClient, *, count: int) -> list[bytes]:
    """Read so many records of the stream of the examples."""
    found: list[bytes] = []
    async with asyncio.timeout(_PATIENCE_S), Consumer("orders", group="test", client=client) as consumer:
        async for batch in consumer:
            found += [record.data for record in batch.records]
            if len(found) >= count:
                return found
    raise AssertionError("the consumer ended")


def test_no_example_is_left_out() -> None:
    package = importlib.import_module("streamd.sdk")
    with_examples = set()
    for name in importlib.import_module("pkgutil").iter_modules(package.__path__):
        text = importlib.import_module(f"streamd.sdk.{name.name}").__doc__ or ""
        if re.search(r"^    async with", text, re.MULTILINE):
            with_examples.add(name.name)

    assert with_examples == set(_MODULES)


async def test_the_clients_example_puts_what_it_says(stage: Stage) -> None:
    await stage.begin("client")

    assert await records_of(stage.client, count=1) == [b"one"]


async def test_the_producers_example_is_told_its_place(stage: Stage) -> None:
    await make_orders(stage.client)

    await stage.begin("producer")

    assert isinstance(stage.names["place"], Stored)
    assert await records_of(stage.client, count=1) == [b"one"]


async def test_the_consumers_example_prints_what_comes(stage: Stage) -> None:
    await make_orders(stage.client)
    task = stage.begin("consumer")
    await stage.client.put_record("orders", b"one", "customer-7")

    async with asyncio.timeout(_PATIENCE_S):
        while not stage.printed:
            assert not task.done(), task
            await stage.client.describe_limits()
    await end(task)

    assert stage.printed == [("customer-7", b"one")]


async def test_the_mirrors_example_copies(stage: Stage, daemon_factory: DaemonFactory) -> None:
    await make_orders(stage.client)
    await stage.client.put_record("orders", b"one", "customer-7")
    async with KinesisClient(daemon_factory().url) as there:
        await make_orders(there)
        task = stage.begin("mirror", here=stage.client, there=there)

        copied = await records_of(there, count=1)
        await end(task)

    assert copied == [b"one"]


async def test_the_other_examples_run(stage: Stage) -> None:
    await stage.begin("testing")
    await stage.begin("lambda_client")

    assert stage.names["answer"].document()["Functions"] == []
