"""What tests of consumers share: streams with records whose texts tell key and number, and loops that read them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Batch, Consumer, Record
from streamd.sdk.leases import LeaseStore
from streamd.sdk.leases_memory import MemoryLeases

__all__ = ["Reads", "client_at", "made_stream", "put", "texts"]

_PUT_COUNT_MAX = 500


@asynccontextmanager
async def client_at(url: str) -> AsyncIterator[KinesisClient]:
    """Give an open client of a test's daemon."""
    async with KinesisClient(url, region="us-east-1") as client:
        yield client


async def made_stream(client: KinesisClient, stream: str, *, shards: int) -> None:
    """Make a stream and wait until it can be used."""
    await client.create_stream(stream, shard_count=shards)
    await client.wait_until_active(stream)


async def put(client: KinesisClient, stream: str, numbers: Iterable[int], *, keys: int = 20) -> list[str]:
    """Put a record for each number, with a text that says its key and number; gives the texts."""
    entries = [(f"k{number % keys}", f"k{number % keys}:{number}") for number in numbers]
    for at in range(0, len(entries), _PUT_COUNT_MAX):
        rows = [{"Data": text.encode(), "PartitionKey": key} for key, text in entries[at : at + _PUT_COUNT_MAX]]
        answer = await client.put_records(stream, rows)
        assert answer["FailedRecordCount"] == 0
    return [text for _, text in entries]


def texts(records: Iterable[Record]) -> list[str]:
    """Give the records' texts."""
    return [record.data.decode() for record in records]


class Reads:
    """Everything that consumers of one group gave out, in order, with ways to wait for it."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, Batch]] = []
        self.texts: list[str] = []
        self._seen: set[str] = set()
        self._came = asyncio.Event()

    def note(self, member: str, batch: Batch) -> None:
        """Write down a batch."""
        self.batches.append((member, batch))
        found = texts(batch.records)
        self.texts += found
        self._seen.update(found)
        self._came.set()

    async def all_of(self, wanted: Iterable[str]) -> None:
        """Wait until each of these texts came at least once."""
        missing = set(wanted)
        while missing := missing - self._seen:
            self._came.clear()
            await self._came.wait()

    def key_orders(self) -> dict[str, list[int]]:
        """Give each key's numbers in the order in which they came."""
        orders: dict[str, list[int]] = {}
        for text in self.texts:
            key, _, number = text.partition(":")
            orders.setdefault(key, []).append(int(number))
        return orders


class Members:
    """Consumers of one group inside one process, each in a task of its own."""

    def __init__(self, client: KinesisClient, stream: str, *, leases: LeaseStore | None = None) -> None:
        self.client = client
        self.stream = stream
        self.leases = leases or MemoryLeases()
        self.reads = Reads()

    def consumer(self, name: str = "one", **settings: Any) -> Consumer:
        """Make a member; quick to be taken for dead, so that tests need not wait long."""
        settings.setdefault("member_timeout_s", 1.5)
        return Consumer(self.stream, group="g", client=self.client, leases=self.leases, member_id=name, **settings)

    async def read(self, consumer: Consumer) -> None:
        """Read until the consumer is stopped."""
        async with consumer:
            async for batch in consumer:
                self.reads.note(consumer.member_id, batch)
