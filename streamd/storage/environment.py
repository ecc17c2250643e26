"""LMDB opened for the log, and how much of it is in use.

Three tables: ``catalog`` (key to version and document), ``shards`` (stream and shard to the shard's state), ``blocks``
(stream, shard and first position to a block). LMDB syncs the data before it moves the pointer that readers follow, so
what a reader can see is on disk.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from streamd.core.limits import COMMIT_BYTE_COUNT_MAX

__all__ = ["Environment", "SpaceUse"]

_READER_COUNT_MAX = 1024
_TABLE_COUNT_MAX = 8
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SpaceUse:
    """Bytes: in pages that hold something, in the file, and the most that puts may use."""

    used: int
    file: int
    limit: int


class Environment:
    """The log's LMDB environment. Open it after a fork, never before."""

    def __init__(self, path: Path, *, size_max: int, read_only: bool = False) -> None:
        self.size_max = size_max
        self._path = path
        self._environment = lmdb.open(
            str(path),
            # Puts are refused at the limit; the quarter above it is where a full store copies pages to delete.
            map_size=size_max + size_max // 4 + 64 * _MIB,
            max_dbs=_TABLE_COUNT_MAX,
            max_readers=_READER_COUNT_MAX,
            mode=0o600,
            readonly=read_only,
            create=not read_only,
        )
        self.catalog = self._environment.open_db(b"catalog", create=not read_only)
        self.shards = self._environment.open_db(b"shards", create=not read_only)
        self.blocks = self._environment.open_db(b"blocks", create=not read_only)
        self._page_byte_count: int = self._environment.stat()["psize"]
        # A reader that was killed would otherwise hold old pages back for ever.
        self._environment.reader_check()

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        self._environment.close()

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """Open a read transaction: one frozen moment of the whole store."""
        with self._environment.begin(buffers=True) as transaction:
            yield transaction

    def write(self) -> lmdb.Transaction:
        """Open the write transaction; waits for the one of another process. The caller commits or aborts it."""
        return self._environment.begin(write=True, buffers=True)

    def reap_readers(self) -> None:
        """Free the slots of processes that died in the middle of a read."""
        self._environment.reader_check()

    def used_byte_count(self, transaction: lmdb.Transaction) -> int:
        """Count the bytes of all pages that hold something, as this transaction sees them."""
        pages = 0
        for table in (self.catalog, self.shards, self.blocks):
            stat = transaction.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * self._page_byte_count

    def disk_is_full(self) -> bool:
        """Tell whether the disk has too little room left for one more commit."""
        disk = os.statvfs(self._path)
        return disk.f_bavail * disk.f_frsize < 2 * COMMIT_BYTE_COUNT_MAX

    def space(self) -> SpaceUse:
        """Tell how much space the store takes."""
        with self.read() as transaction:
            used = self.used_byte_count(transaction)
        file_byte_count = (self._path / "data.mdb").stat().st_blocks * 512
        return SpaceUse(used=used, file=file_byte_count, limit=self.size_max)
