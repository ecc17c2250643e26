"""The store's environment on the disk in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import lmdb

from streamd.errors import StoreFailed
from streamd.storage.environment import Environment, SpaceUse
from tests.simulation.disk import Disk
from tests.simulation.transactions import MemoryTransaction

__all__ = ["MemoryEnvironment"]


class MemoryEnvironment(Environment):
    """What the store knows of LMDB, without it; ``pause`` is where a writer lets the loop go on."""

    def __init__(self, disk: Disk, *, size_max: int, pause: Callable[[], None]) -> None:
        self.size_max = size_max
        self._disk = disk
        self._writing: MemoryTransaction | None = None
        self._pause = pause
        tables = {name: cast("lmdb._Database", name) for name in disk.visible}
        self.catalog, self.shards, self.blocks = tables["catalog"], tables["shards"], tables["blocks"]
        self.events, self.puts = tables["events"], tables["puts"]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def read(self) -> Any:
        """Open a read transaction. Raises StoreFailed after a commit that failed."""
        if self._disk.is_broken:
            raise StoreFailed("the store could not read: a sync failed")
        return MemoryTransaction(self._disk, is_writer=False)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other worker writes; the write transaction, opened at once, keeps them from it."""
        self._pause()
        while self._disk.writer is not None:
            self._pause()
        yield

    def write(self) -> Any:
        """Open the write transaction, in one's turn."""
        if self._disk.is_broken:
            raise lmdb.PanicError("mdb_txn_begin: MDB_PANIC")
        transaction = MemoryTransaction(
            self._disk, is_writer=True, byte_count_max=self.size_max + self.size_max // 4, pause=self._pause
        )
        self._disk.writer = self._writing = transaction
        return transaction

    @property
    def is_writing(self) -> bool:
        """Whether the write transaction is this worker's."""
        return self._writing is not None and self._disk.writer is self._writing

    def writer_was_killed(self) -> None:
        """Let the kernel finish what the worker asked for before it was killed, or not."""
        self._disk.kill()

    def last_commit(self) -> int:
        """Give the number of the last commit of any worker."""
        return self._disk.commit_count

    def used_byte_count(self, transaction: Any) -> int:
        """Count the bytes of all rows, as a transaction sees them."""
        return cast("MemoryTransaction", transaction).byte_count

    def disk_is_full(self) -> bool:
        """Tell that there is room: a full disk says so itself."""
        return False

    def space(self) -> SpaceUse:
        """Tell how much space the store takes."""
        used = sum(rows.byte_count for rows in self._disk.visible.values())
        return SpaceUse(used=used, file=used, limit=self.size_max)

    def reap_readers(self) -> None:
        """Do nothing: no reader outlives its worker here."""
