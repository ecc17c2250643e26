"""LMDB's transactions and cursors on the disk in memory: the part that the store uses, with the same answers."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import lmdb

from tests.simulation.disk import Disk, Rows

__all__ = ["MemoryCursor", "MemoryTransaction"]


class MemoryTransaction:
    """A frozen moment of the disk, or the one that writes; ``db`` is a table's name."""

    def __init__(
        self, disk: Disk, *, is_writer: bool, byte_count_max: int = 0, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._disk = disk
        self._image = dict(disk.visible)
        self._is_writer = is_writer
        self._changed: set[str] = set()
        self._byte_count_max = byte_count_max
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def byte_count(self) -> int:
        """Count the bytes of all rows."""
        return sum(rows.byte_count for rows in self._image.values())

    def get(self, key: bytes, default: bytes | None = None, *, db: str) -> memoryview | bytes | None:
        """Read a value."""
        value = self._image[db].value_by_key.get(key)
        return default if value is None else memoryview(value)

    def put(self, key: bytes, value: bytes, *, db: str, overwrite: bool = True) -> bool:
        """Write a value; False where there is one that is not to be overwritten. Raises MapFullError."""
        rows = self.rows_to_change(db)
        if not overwrite and key in rows.value_by_key:
            return False
        if self.byte_count + len(key) + len(value) > self._byte_count_max:
            raise lmdb.MapFullError("mdb_put: MDB_MAP_FULL")
        rows.put(bytes(key), bytes(value))
        return True

    def delete(self, key: bytes, *, db: str) -> bool:
        """Remove a row; False if there is none."""
        return self.rows_to_change(db).delete(key)

    def cursor(self, *, db: str) -> "MemoryCursor":
        """Make a cursor, which stands nowhere."""
        return MemoryCursor(self, db)

    def commit(self) -> None:
        """Put the changes on disk. Raises LMDB's errors."""
        self._disk.commit(self._image, self._pause)
        self._end()

    def abort(self) -> None:
        """Forget the changes."""
        self._end()

    def rows(self, db: str) -> Rows:
        """Give a table's rows as they are in this transaction."""
        return self._image[db]

    def rows_to_change(self, db: str) -> Rows:
        """Give a table's rows, for this transaction alone."""
        assert self._is_writer
        if db not in self._changed:
            self._image[db] = self._image[db].copied()
            self._changed.add(db)
        return self._image[db]

    def _end(self) -> None:
        if self._is_writer and self._disk.writer is self:
            self._disk.writer = None


class MemoryCursor:
    """A place in a table; the key is empty while it stands nowhere."""

    def __init__(self, transaction: MemoryTransaction, db: str) -> None:
        self._transaction = transaction
        self._db = db
        self._key: bytes | None = None

    def __iter__(self) -> Iterator[tuple[memoryview, memoryview]]:
        is_there = self.first() if self._key is None else True
        while is_there:
            yield self.key(), self.value()
            is_there = self.next()

    def key(self) -> memoryview:
        """Give the key it stands at."""
        return memoryview(self._key or b"")

    def value(self) -> memoryview:
        """Give the value it stands at."""
        return memoryview(b"" if self._key is None else self._rows.value_by_key.get(self._key, b""))

    def first(self) -> bool:
        """Go to the first row."""
        return self._go(0)

    def last(self) -> bool:
        """Go to the last row."""
        return self._go(len(self._rows.keys) - 1)

    def next(self) -> bool:
        """Go to the next row; from nowhere, to the first."""
        return self.first() if self._key is None else self._go(bisect_right(self._rows.keys, self._key))

    def prev(self) -> bool:
        """Go to the row before; from nowhere, to the last."""
        return self.last() if self._key is None else self._go(bisect_left(self._rows.keys, self._key) - 1)

    def set_range(self, key: bytes) -> bool:
        """Go to the first row at a key or after it."""
        return self._go(bisect_left(self._rows.keys, bytes(key)))

    def set_key(self, key: bytes) -> bool:
        """Go to a key."""
        self._key = bytes(key) if bytes(key) in self._rows.value_by_key else None
        return self._key is not None

    def delete(self) -> bool:
        """Remove the row it stands at, and go to the next."""
        if self._key is None:
            return False
        rows = self._transaction.rows_to_change(self._db)
        place = bisect_left(rows.keys, self._key)
        is_deleted = rows.delete(self._key)
        self._go(place)
        return is_deleted

    @property
    def _rows(self) -> Rows:
        return self._transaction.rows(self._db)

    def _go(self, place: int) -> bool:
        keys = self._rows.keys
        self._key = keys[place] if 0 <= place < len(keys) else None
        return self._key is not None
