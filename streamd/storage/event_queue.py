"""Events that wait for a function: a table beside the log, in order of lane and due time, committed in groups.

A lane is whatever the caller makes of it (a function); its events lie together, so the next due one of each is found
without passing over anybody else's. An event is on disk when `put` returns. Any process may put, and whoever takes
hears of it by the wake-up of `EVENTS`. Bounded: past the bounds nothing more is taken, before anything is written.
What is due later than anything is ever put off was put before the clock was set back: whoever takes says how late that
is, and gets it at once.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import lmdb

from streamd.core.checksums import stamped, unstamped
from streamd.core.limits import EVENT_COUNT_MAX, EVENT_TABLE_BYTE_COUNT_MAX
from streamd.errors import CatalogDamaged, QueueFull
from streamd.storage.committer import Committer
from streamd.storage.environment import Environment
from streamd.storage.shard_log import ShardKey

__all__ = ["EVENTS", "EventQueueSize", "StoredEvent", "StoredEvents"]

EVENTS = ShardKey(0, 1)
"""Stands for the queue among the shards that somebody waits for: streams are numbered from 1."""

_KEY = struct.Struct(">QQ8s")
_LANE = struct.Struct(">Q")
_UNIQUE_BYTE_COUNT = 8
_LAST_LANE = 2**64 - 1
_NEVER_MS = 2**64 - 1
_LAST_UNIQUE = b"\xff" * _UNIQUE_BYTE_COUNT


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it lies in the queue: ``key`` names this very entry, and changes when it is moved."""

    key: bytes
    content: bytes

    @property
    def lane(self) -> int:
        """The lane it waits in."""
        return int(_KEY.unpack(self.key)[0])

    @property
    def due_ms(self) -> int:
        """When it is due."""
        return int(_KEY.unpack(self.key)[1])


@dataclass(frozen=True, slots=True)
class EventQueueSize:
    """How many events wait, and the bytes of the pages that hold them."""

    event_count: int
    byte_count: int


class StoredEvents:
    """The queue's table of an environment."""

    def __init__(self, environment: Environment, committer: Committer) -> None:
        self._environment = environment
        self._committer = committer
        self.event_count_max = EVENT_COUNT_MAX

    async def put(self, lane: int, content: bytes, *, due_ms: int) -> None:
        """Keep an event. Raises QueueFull, StoreFull and StoreFailed: then nothing was kept."""
        key = _KEY.pack(lane, due_ms, os.urandom(_UNIQUE_BYTE_COUNT))

        def run(transaction: lmdb.Transaction) -> None:
            size = self._size(transaction)
            if size.event_count >= self.event_count_max or size.byte_count >= EVENT_TABLE_BYTE_COUNT_MAX:
                raise QueueFull("Too many events wait already.")
            transaction.put(key, stamped(key, content), db=self._environment.events)

        await self._committer.change(run, shards=[EVENTS])

    async def move(self, event: StoredEvent, content: bytes, *, due_ms: int) -> None:
        """Give an event another time, and other content."""
        key = _KEY.pack(event.lane, due_ms, os.urandom(_UNIQUE_BYTE_COUNT))

        def run(transaction: lmdb.Transaction) -> None:
            if transaction.delete(event.key, db=self._environment.events):
                transaction.put(key, stamped(key, content), db=self._environment.events)

        await self._committer.change(run)

    async def remove(self, event: StoredEvent) -> None:
        """Take an event out for good."""

        def run(transaction: lmdb.Transaction) -> None:
            transaction.delete(event.key, db=self._environment.events)

        await self._committer.change(run)

    def heads(self, *, beyond_ms: int = _NEVER_MS) -> dict[int, int]:
        """Tell of each lane that holds something when its first event is due (ms); 0 if one is past ``beyond_ms``."""
        found: dict[int, int] = {}
        with self._environment.read() as transaction:
            cursor = transaction.cursor(db=self._environment.events)
            is_there = cursor.first()
            while is_there:
                lane, due_ms, _ = _KEY.unpack(cursor.key())
                is_beyond = cursor.set_range(_KEY.pack(lane, beyond_ms, _LAST_UNIQUE)) and _lane_at(cursor) == lane
                found[lane] = 0 if is_beyond else due_ms
                is_there = lane != _LAST_LANE and cursor.set_range(_LANE.pack(lane + 1))
        return found

    def take(
        self,
        lane: int,
        *,
        now_ms: int,
        beyond_ms: int = _NEVER_MS,
        count_max: int,
        byte_count_max: int,
        is_wanted: Callable[[bytes], bool],
    ) -> list[StoredEvent]:
        """Read due events of a lane, oldest first, but for those whose key is not wanted; at least one if any is.

        What is due past ``beyond_ms`` is due, and comes first. They stay where they are. Raises CatalogDamaged.
        """
        found: list[StoredEvent] = []
        byte_count = 0
        with self._environment.read() as transaction:
            for key, value in chain(
                self._between(transaction, _KEY.pack(lane, beyond_ms, _LAST_UNIQUE), until_ms=_NEVER_MS),
                self._between(transaction, _LANE.pack(lane), until_ms=now_ms),
            ):
                if not is_wanted(key):
                    continue
                byte_count += len(value)
                if found and byte_count > byte_count_max:
                    break
                found.append(StoredEvent(key, _content(key, value)))
                if len(found) == count_max:
                    break
        return found

    def _between(
        self, transaction: lmdb.Transaction, start: bytes, *, until_ms: int
    ) -> Iterator[tuple[bytes, bytes | memoryview]]:
        """Walk the events of one lane from a key on to a due time."""
        cursor = transaction.cursor(db=self._environment.events)
        is_there = cursor.set_range(start)
        while is_there:
            key = bytes(cursor.key())
            _, due_ms, _ = _KEY.unpack(key)
            if not key.startswith(start[: _LANE.size]) or due_ms > until_ms:
                return
            yield key, cursor.value()
            is_there = cursor.next()

    def size(self) -> EventQueueSize:
        """Tell how much waits."""
        with self._environment.read() as transaction:
            return self._size(transaction)

    def _size(self, transaction: lmdb.Transaction) -> EventQueueSize:
        stat = transaction.stat(self._environment.events)
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return EventQueueSize(stat["entries"], pages * stat["psize"])


def _lane_at(cursor: lmdb.Cursor) -> int:
    return int(_KEY.unpack(cursor.key())[0])


def _content(key: bytes, value: bytes | memoryview) -> bytes:
    content = unstamped(key, value)
    if content is None:
        raise CatalogDamaged(f"event {key.hex()}")
    return content
