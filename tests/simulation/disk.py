"""A disk in memory: what was written is lost with the power until it is synced, and readers see what was synced.

A commit is written, then synced, then seen; between these the power may go, or who writes may be killed: then the
kernel, which lives on, may still finish what it was asked for. It may also fail, or find the disk full.
A disk that lies shows that the simulation finds what a wrong one would do.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random

import lmdb

__all__ = ["TABLES", "Disk", "Image", "Lie", "Rows"]

_FINISHED_CHANCE = 0.5
TABLES = ("catalog", "shards", "blocks", "events", "puts")


class Lie(Enum):
    """What a disk does other than it says."""

    NONE = "tells the truth"
    NO_SYNC = "says that it synced, and did not always"
    EARLY_SIGHT = "shows what is written before it is synced"
    TORN = "a power cut leaves some tables of a commit, not all"


class Rows:
    """A table's rows in order of key."""

    __slots__ = ("byte_count", "keys", "value_by_key")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.value_by_key: dict[bytes, bytes] = {}
        self.byte_count = 0

    def copied(self) -> "Rows":
        """Give rows that can be changed without changing these."""
        rows = Rows()
        rows.keys, rows.value_by_key, rows.byte_count = self.keys.copy(), self.value_by_key.copy(), self.byte_count
        return rows

    def put(self, key: bytes, value: bytes) -> None:
        """Add or replace a row."""
        if key not in self.value_by_key:
            insort(self.keys, key)
        self.byte_count += len(key) + len(value) - self._size(key)
        self.value_by_key[key] = value

    def delete(self, key: bytes) -> bool:
        """Remove a row; False if there is none."""
        if key not in self.value_by_key:
            return False
        self.byte_count -= self._size(key)
        del self.keys[bisect_left(self.keys, key)]
        del self.value_by_key[key]
        return True

    def _size(self, key: bytes) -> int:
        value = self.value_by_key.get(key)
        return 0 if value is None else len(key) + len(value)


Image = Mapping[str, Rows]


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk. What it holds is replaced as a whole by each commit; chances are those of one commit."""

    random: Random
    note: Callable[[str], None]
    lie: Lie = Lie.NONE
    failure_chance: float = 0.0
    full_chance: float = 0.0
    durable: Image = field(default_factory=lambda: {name: Rows() for name in TABLES})
    visible: Image = field(init=False)
    is_broken: bool = False
    commit_count: int = 0
    writer: object = None
    on_written: Callable[[], None] = lambda: None
    _on_its_way: Image | None = None
    _is_synced: bool = False

    def __post_init__(self) -> None:
        self.visible = self.durable

    def commit(self, image: Image, pause: Callable[[], None]) -> None:
        """Write, sync, show. Raises LMDB's errors for a disk that fails or is full."""
        self._on_its_way, self._is_synced = image, False
        self.note("disk: written")
        self.on_written()
        if self.lie is Lie.EARLY_SIGHT:
            self.visible = image
        pause()
        self._sync(image)
        self._is_synced = True
        pause()
        self._show(image)

    def cut_power(self) -> None:
        """Lose what was not synced; what is there now is what the next life finds."""
        if self.lie is Lie.TORN and self._on_its_way is not None and not self._is_synced:
            found = self._on_its_way
            self.durable = {
                name: self.random.choice((rows, found[name])) for name, rows in sorted(self.durable.items())
            }
        self.visible = self.durable
        self._on_its_way = self.writer = None
        self.is_broken = False

    def kill(self) -> None:
        """End whoever writes, and lose nothing that was written.

        LMDB moves its pointer in one write that syncs at once: who is killed in it is dead only when that is done.
        """
        image = self._on_its_way
        if image is not None and not self.is_broken and (self._is_synced or self.random.random() < _FINISHED_CHANCE):
            self.durable = image
            self._show(image)
        # After a failed sync LMDB puts the old pointer back: what is seen is what was seen, whatever the disk holds.
        self._on_its_way = self.writer = None
        self.is_broken = False

    def content(self) -> bytes:
        """Give all that is on it, as one."""
        return b"".join(value for rows in self.visible.values() for value in rows.value_by_key.values())

    def _show(self, image: Image) -> None:
        self._on_its_way = None
        self.visible = image
        self.commit_count += 1
        self.note(f"disk: commit {self.commit_count}")

    def _sync(self, image: Image) -> None:
        chance = self.random.random()
        if chance < self.failure_chance:
            self.is_broken = True
            # After a failed sync nobody knows what is there.
            self.durable = self.random.choice((self.durable, image))
            self.note("disk: failed")
            raise lmdb.Error("mdb_txn_commit: Input/output error")
        if chance < self.failure_chance + self.full_chance:
            self._on_its_way = None
            self.note("disk: full")
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")
        if self.lie is not Lie.NO_SYNC or chance > 0.8:
            self.durable = image
            self.note("disk: synced")
