"""Real stores on a temporary directory, with a clock that the test moves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from streamd.core.blocks import RecordColumns
from streamd.core.sealing import KEY_BYTE_COUNT, DataKey
from streamd.errors import StoreFailed
from streamd.metrics import Metrics
from streamd.storage.directory import DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.shard_log import ShardBatch, ShardKey
from streamd.storage.store import Store
from tests.clocks import ManualClock

__all__ = ["SIZE_MAX", "Bench", "ManualClock", "batch", "data_key", "open_bench"]

SIZE_MAX = 1 << 30


class Bench:
    """A store, and all that a test looks at beside it."""

    def __init__(self, path: Path, clock: ManualClock, *, size_max: int = SIZE_MAX) -> None:
        self.path = path
        self.clock = clock
        self.failures: list[StoreFailed] = []
        self.metrics = Metrics()
        self.directory = DataDirectory(path).open()
        self.store = Store(
            Environment(self.directory.log_path, size_max=size_max),
            now_ms=clock.now_ms,
            metrics=self.metrics,
            on_failure=self.failures.append,
        )

    @property
    def commit_count(self) -> int:
        """How many commits of records there were (changes to the catalog count too)."""
        registry: CollectorRegistry = self.metrics._registry
        return int(registry.get_sample_value("streamd_commit_bytes_count") or 0)

    async def close(self) -> None:
        """Close the store and give the directory's lock back."""
        await self.store.close()
        self.directory.close()


@asynccontextmanager
async def open_bench(path: Path, clock: ManualClock | None = None, *, size_max: int = SIZE_MAX) -> AsyncIterator[Bench]:
    """Open a store on a directory, and close it in the end."""
    bench = Bench(path, clock or ManualClock(), size_max=size_max)
    try:
        yield bench
    finally:
        await bench.close()


def batch(shard: ShardKey, data: Sequence[bytes], *, keys: Sequence[bytes | None] | None = None) -> ShardBatch:
    """Make a batch of records in the clear."""
    columns = RecordColumns(keys or [b"key"] * len(data), list(data))
    return ShardBatch(shard, columns, columns.byte_count)


def data_key(stream_number: int, generation: int) -> DataKey:
    """Make the data key of a stream's generation, always the same one."""
    secret = bytes([stream_number % 256, generation]) * (KEY_BYTE_COUNT // 2)
    return DataKey(secret, stream_number=stream_number, generation=generation)
