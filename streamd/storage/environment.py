"""LMDB opened for the log, and how much of it is in use.

Five tables: ``catalog`` (key to version and document), ``shards`` (stream and shard to the shard's state), ``blocks``
(stream, shard and first position to a block), ``events`` (lane and due time to an event that waits for a function),
``puts`` (stream, shard, producer and number to what became of a put). LMDB syncs the data before it moves the pointer
that readers follow, so what a reader can see is on disk. Beside LMDB's two files lies ``made``, which tells a log that
is new from one that is gone.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType

import lmdb

from streamd.core.limits import COMMIT_BYTE_COUNT_MAX
from streamd.errors import ConfigInvalid, PagesDamaged, StoreFailed

__all__ = ["Environment", "SpaceUse"]

_READER_COUNT_MAX = 1024
_TABLE_COUNT_MAX = 8
# Read transactions kept for reuse: one for the loop and one for each reading thread.
_SPARE_COUNT_MAX = 4
_MIB = 1 << 20
_MADE = "made"
_TAIL_BYTE_COUNT_MAX = 1 * _MIB


@dataclass(frozen=True, slots=True)
class SpaceUse:
    """Bytes: in pages that hold something, in the file, and the most that puts may use."""

    used: int
    file: int
    limit: int


class Environment:
    """The log's LMDB environment. Open it after a fork, never before.

    Raises ConfigInvalid when the files are not a log, or no longer a whole one.
    """

    def __init__(self, path: Path, *, size_max: int, read_only: bool = False) -> None:
        self.size_max = size_max
        self._path = path
        self._require_present()
        try:
            self._environment = self._open(read_only=read_only)
        except lmdb.Error as error:
            raise ConfigInvalid(f"the log in {path} cannot be opened: {error}") from error
        self._turn: BufferedReader | None = None
        try:
            self._require_whole()
            self._turn = (path / "data.mdb").open("rb")
            # Who makes tables writes, also where they are there already.
            with nullcontext() if read_only else self.turn():
                self.catalog = self._environment.open_db(b"catalog", create=not read_only)
                self.shards = self._environment.open_db(b"shards", create=not read_only)
                self.blocks = self._environment.open_db(b"blocks", create=not read_only)
                self.events: lmdb._Database | None = self._open_later_table(b"events", read_only=read_only)
                self.puts: lmdb._Database | None = self._open_later_table(b"puts", read_only=read_only)
            self._page_byte_count: int = self._environment.stat()["psize"]
            # A reader that was killed would otherwise hold old pages back for ever.
            self._environment.reader_check()
            if read_only:
                # The map's size of whoever writes: with a smaller one, reads would end once the file had grown past it.
                self._environment.set_mapsize(0)
            else:
                self._note_made()
        except (lmdb.Error, OSError, ConfigInvalid) as error:
            self.close()
            raise ConfigInvalid(f"the log in {path} cannot be used: {error}") from error

    @property
    def tables(self) -> dict[str, lmdb._Database | None]:
        """The tables by name, and with them LMDB's own, which holds where the others are."""
        own = {"catalog": self.catalog, "shards": self.shards, "blocks": self.blocks}
        later = {"events": self.events, "puts": self.puts}
        return {"of tables": None, **own, **{name: table for name, table in later.items() if table is not None}}

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        self._environment.close()
        if self._turn is not None:
            self._turn.close()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other process writes, and keep them from it; `write` is called in here.

        LMDB's own lock, a mutex in shared memory, is not enough where processes die: when one is killed between being
        woken for it and taking it, and another has taken it meanwhile, nobody remembers those who sleep on, and they
        may sleep for ever. The kernel takes this one from the dead and wakes all who wait, so that at the mutex itself
        nobody ever waits.
        """
        assert self._turn is not None
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def read(self) -> "_Reading":
        """Open a read transaction, to be used with ``with``: one frozen moment of the whole store.

        Raises StoreFailed after a commit that failed, since LMDB then refuses reads too; and PagesDamaged at the end of
        the ``with`` for what LMDB, or a key of a wrong length, says in it.
        """
        try:
            return _Reading(self._environment.begin(buffers=True))
        except lmdb.PanicError as error:
            raise StoreFailed(f"the store could not read: {error}") from error

    def write(self) -> lmdb.Transaction:
        """Open the write transaction, in one's turn. The caller commits or aborts it."""
        return self._environment.begin(write=True, buffers=True)

    def copy(self, folder: Path, transaction: lmdb.Transaction) -> None:
        """Write what a read transaction sees, without free pages, as the log of another folder; not synced.

        Raises OSError.
        """
        try:
            self._environment.copy(str(folder), compact=True, txn=transaction)
        except lmdb.Error as error:
            raise OSError(str(error)) from error
        (folder / "data.mdb").chmod(0o600)
        (folder / _MADE).touch(mode=0o600)

    def reap_readers(self) -> None:
        """Free the slots of processes that died in the middle of a read."""
        self._environment.reader_check()

    def last_commit(self) -> int:
        """Give the number of the last commit of any process."""
        return int(self._environment.info()["last_txnid"])

    def used_byte_count(self, transaction: lmdb.Transaction) -> int:
        """Count the bytes of all pages that hold something, as this transaction sees them."""
        pages = 0
        for table in filter(None, (self.catalog, self.shards, self.blocks, self.events, self.puts)):
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

    def _require_present(self) -> None:
        """Refuse a folder whose log went away: LMDB would make a new, empty one. Raises ConfigInvalid."""
        file = self._path / "data.mdb"
        if (self._path / _MADE).exists() and not (file.exists() and file.stat().st_size):
            raise ConfigInvalid(f"{file} is missing or empty, but there was a log. Bring it back from a copy.")

    def _note_made(self) -> None:
        note = self._path / _MADE
        if note.exists():
            return
        # On a full disk it is noted at a later start: reads must go on.
        with suppress(OSError):
            note.touch(mode=0o600)
        # A new file is safe from a power cut only when its folder, and that folder's own name, are too.
        for folder in (self._path, self._path.parent):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _open(self, *, read_only: bool) -> lmdb.Environment:
        return lmdb.open(
            str(self._path),
            # Puts are refused at the limit; the quarter above it is where a full store copies pages to delete.
            map_size=self.size_max + self.size_max // 4 + 64 * _MIB,
            max_dbs=_TABLE_COUNT_MAX,
            max_readers=_READER_COUNT_MAX,
            max_spare_txns=_SPARE_COUNT_MAX,
            mode=0o600,
            readonly=read_only,
            create=not read_only,
        )

    def _open_later_table(self, name: bytes, *, read_only: bool) -> lmdb._Database | None:
        try:
            return self._environment.open_db(name, create=not read_only)
        except lmdb.NotFoundError:
            # A log of an older version has no such table, and whoever only reads needs none.
            return None

    def _require_whole(self) -> None:
        """Refuse a file that was cut short: whoever reads past the end of a mapped file is killed by the kernel.

        Raises ConfigInvalid.
        """
        file = self._path / "data.mdb"
        needed = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        found = file.stat().st_size
        if needed - found > _TAIL_BYTE_COUNT_MAX:
            raise ConfigInvalid(
                f"{file.name} was cut short: it should have {needed} bytes and has {found}. "
                "Bring the whole file back from a copy."
            )
        if needed > found:
            # LMDB does not write pages at the end that a transaction took and gave back, so a little may be missing
            # from a whole file. Room is only ever added here: another process may be adding some too.
            with suppress(OSError), file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), found, needed - found)


class _Reading:
    """A read transaction whose errors are told as ours. A class of its own since every put opens one."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: lmdb.Transaction) -> None:
        self._transaction = transaction

    def __enter__(self) -> lmdb.Transaction:
        return self._transaction.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transaction.__exit__(kind, error, trace)
        if isinstance(error, lmdb.Error | struct.error):
            raise PagesDamaged(str(error)) from error
