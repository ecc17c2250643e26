"""Where leases are kept, as tests of stores need it: a stream for them, and an end at any moment."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from streamd.sdk.client import Credentials, KinesisClient
from streamd.sdk.leases import LeaseStore
from streamd.sdk.leases_dynamodb import DynamoDBLeases
from streamd.sdk.leases_streamd import StreamdLeases
from streamd.sdk.testing import MemoryLeases
from tests.daemons import Daemon, start_daemon

__all__ = ["Backend", "DynamoDBBackend", "MemoryBackend", "StreamdBackend"]

_SHARD_COUNT = 3
_NUMBER_COUNT = 3
_KEYS = Credentials("AKIAEXAMPLE", "secret-for-tests-only")
_MADE_UP_NUMBERS = {
    f"shardId-{index:012d}": [str(number) for number in (9, 10, 2_000)] for index in range(_SHARD_COUNT)
}


class Backend(Protocol):
    """What keeps leases."""

    async def open(self, stream: str) -> tuple[LeaseStore, Mapping[str, Sequence[str]]]:
        """Make a stream of three shards: a store of its leases, and three numbers of each shard, in order."""
        ...

    async def restart(self) -> LeaseStore:
        """End whatever runs at once, start it again, and give the store as it is then."""
        ...

    async def close(self) -> None:
        """Give back what ``open`` and ``restart`` took."""
        ...


class MemoryBackend:
    """Leases in memory, which has no life of its own."""

    def __init__(self) -> None:
        self._store = MemoryLeases()

    async def open(self, stream: str) -> tuple[LeaseStore, Mapping[str, Sequence[str]]]:
        """Make a store."""
        del stream
        self._store = MemoryLeases()
        return self._store, _MADE_UP_NUMBERS

    async def restart(self) -> LeaseStore:
        """Give the same store: it is as old as its process."""
        return self._store

    async def close(self) -> None:
        """Do nothing."""


class DynamoDBBackend:
    """A table in moto's DynamoDB, which every stream's leases share."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = AsyncExitStack()

    async def open(self, stream: str) -> tuple[LeaseStore, Mapping[str, Sequence[str]]]:
        """Make a client."""
        del stream
        return await self.restart(), _MADE_UP_NUMBERS

    async def restart(self) -> LeaseStore:
        """Make another client."""
        await self.close()
        return await self._open.enter_async_context(
            DynamoDBLeases(endpoint=self._url, credentials=_KEYS, table="leases-beside-a-model")
        )

    async def close(self) -> None:
        """Close the client."""
        await self._open.aclose()


class StreamdBackend:
    """A daemon of its own, of two workers, that is killed and started again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._daemon = self._start()
        self._open = AsyncExitStack()

    async def open(self, stream: str) -> tuple[LeaseStore, Mapping[str, Sequence[str]]]:
        """Make a stream and a client."""
        client = await self._connect()
        await client.create_stream(stream, shard_count=_SHARD_COUNT)
        numbers: dict[str, list[str]] = {}
        for shard in await client.list_shards(stream):
            hash_key = int(shard["HashKeyRange"]["StartingHashKey"])
            puts = [await client.put_record(stream, b"", "k", hash_key=hash_key) for _ in range(_NUMBER_COUNT)]
            numbers[shard["ShardId"]] = [str(put["SequenceNumber"]) for put in puts]
        return StreamdLeases(client), numbers

    async def restart(self) -> LeaseStore:
        """Kill the daemon, start it on the same data, and make a client."""
        await self.close()
        self._daemon.kill()
        assert self._daemon.process.returncode == -signal.SIGKILL
        self._daemon = self._start()
        return StreamdLeases(await self._connect())

    async def close(self) -> None:
        """Close the client."""
        await self._open.aclose()

    def stop(self) -> None:
        """Stop the daemon for good."""
        self._daemon.stop()

    def _start(self) -> Daemon:
        return start_daemon(self._data, "--workers", "2")

    async def _connect(self) -> KinesisClient:
        return await self._open.enter_async_context(KinesisClient(self._daemon.url))
