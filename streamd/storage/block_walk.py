"""A shard's blocks looked at with suspicion: finds where a time begins, and which blocks have expired.

Both go by the arrival times in the blocks' headers, and a damaged block may claim any time and any count. So a claim
counts only when the block's checksum matches, or when intact blocks around it bear it out. What is promised: a reader
is never sent past a record it asked for, and an intact block is never removed before its time. A damaged block that
lies in front of an expired one is expired too, since arrival times never run backwards, and goes with it.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import lmdb

from streamd.core.blocks import BlockHeader, counted_byte_count, header_of, is_intact
from streamd.errors import FormatUnknown

__all__ = ["BlockWalk", "Expired"]

_POSITION = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Expired:
    """Blocks to remove, by first position: what they hold, where the rest begins, whether there may be more."""

    starts: list[int]
    first_position: int
    byte_count: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """A block as it claims to be; ``header`` is None when it cannot be read."""

    start: int
    header: BlockHeader | None
    stored_byte_count: int

    @property
    def end(self) -> int:
        """The position after its last, by its own claim."""
        return self.start + (self.header.record_count if self.header else 0)


class BlockWalk:
    """The blocks of one shard under a cursor: from position ``first`` on, and before ``following``."""

    def __init__(self, cursor: lmdb.Cursor, *, prefix: bytes, first: int, following: int) -> None:
        self._cursor = cursor
        self._prefix = prefix
        self._first = first
        self._following = following

    def first_at(self, *, time_ms: int) -> int:
        """Give the first position that arrived at a time or later, ``following`` when none did.

        Where damage hides it, the position is that of the damage, so that the reader is told.
        """
        low, high = self._first, self._following
        while low < high:
            middle = (low + high) // 2
            seen = self._intact_around(middle)
            before = after = seen
            if seen is None:
                before, after = self._intact_before(middle), self._intact_after(middle)
            if after is not None and _arrival_ms(after) < time_ms:
                low = after.end
            elif before is not None and _arrival_ms(before) >= time_ms:
                high = before.start
            else:
                return self._first_in_damage(before, after, time_ms=time_ms)
        return low

    def expired(self, *, before_ms: int, block_count_max: int, byte_count_max: int) -> Expired:
        """Find the blocks that arrived before a time, oldest first, within bounds."""
        blocks: list[_Seen] = []
        stored_byte_count = 0
        has_more = False
        for seen in self._from(self._first):
            if _claims_since(seen, before_ms) and self._is_intact(seen.start):
                break
            if len(blocks) >= block_count_max or stored_byte_count >= byte_count_max:
                has_more = True
                break
            blocks.append(seen)
            stored_byte_count += seen.stored_byte_count
        # Damage at the end stays until an intact block behind it has expired, for its own time is not known.
        while blocks and (_claims_since(blocks[-1], before_ms) or not self._is_intact(blocks[-1].start)):
            blocks.pop()
        if not blocks:
            return Expired([], self._first, 0, has_more=False)
        ends = [*(seen.start for seen in blocks[1:]), blocks[-1].end]
        byte_count = sum(_counted(seen, end=end) for seen, end in zip(blocks, ends, strict=True))
        return Expired([seen.start for seen in blocks], ends[-1], byte_count, has_more)

    def _first_in_damage(self, before: _Seen | None, after: _Seen | None, *, time_ms: int) -> int:
        """Give the first position of a damaged stretch that may have arrived at a time or later.

        A damaged block is passed only if its own time fits in between those of the intact blocks around it.
        """
        start = before.end if before else self._first
        if before is None or after is None:
            return start
        for seen in self._from(start):
            if seen.start != start or seen.header is None or seen.start >= after.start:
                break
            if not _arrival_ms(before) <= _arrival_ms(seen) < time_ms:
                break
            start = min(seen.end, after.start)
        return start

    def _intact_around(self, position: int) -> _Seen | None:
        seen = self._at(position)
        return seen if seen and position < seen.end and self._is_intact(seen.start) else None

    def _intact_before(self, position: int) -> _Seen | None:
        seen = self._at(position - 1) if position > self._first else None
        while seen is not None and not (seen.end <= position and self._is_intact(seen.start)):
            seen = self._at(seen.start - 1) if seen.start > self._first else None
        return seen

    def _intact_after(self, position: int) -> _Seen | None:
        for seen in self._from(position):
            if self._is_intact(seen.start):
                return seen
        return None

    def _from(self, position: int) -> Iterator[_Seen]:
        """Walk the blocks that begin at a position or later; the cursor may be moved meanwhile."""
        is_there = self._cursor.set_range(self._key(position))
        while is_there and (seen := self._here()) is not None:
            yield seen
            is_there = self._cursor.set_range(self._key(seen.start + 1))

    def _at(self, position: int) -> _Seen | None:
        """Give the last block that begins at a position or before."""
        is_after = self._cursor.set_range(self._key(position + 1))
        is_there = self._cursor.prev() if is_after else self._cursor.last()
        seen = self._here() if is_there else None
        # Where the keys of pages are damaged, the search may end up behind what it looks for.
        return seen if seen is not None and seen.start <= position else None

    def _here(self) -> _Seen | None:
        """Look at the block under the cursor; None when it is another shard's, or before the first."""
        key = bytes(self._cursor.key())
        if not key.startswith(self._prefix):
            return None
        (start,) = _POSITION.unpack_from(key, len(self._prefix))
        if not self._first <= start < self._following:
            return None
        value = self._cursor.value()
        header: BlockHeader | None = None
        with suppress(struct.error, FormatUnknown):
            header = header_of(value)
        return _Seen(start, header, len(value))

    def _is_intact(self, start: int) -> bool:
        key = self._key(start)
        return self._cursor.set_key(key) and is_intact(bytes(self._cursor.value()), key=key)

    def _key(self, position: int) -> bytes:
        return self._prefix + _POSITION.pack(position)


def _arrival_ms(seen: _Seen) -> int:
    return seen.header.arrival_ms if seen.header else 0


def _claims_since(seen: _Seen, time_ms: int) -> bool:
    """Tell whether a block claims to have arrived at a time or later; one that cannot be read does not."""
    return seen.header is not None and seen.header.arrival_ms >= time_ms


def _counted(seen: _Seen, *, end: int) -> int:
    """Count a block's bytes of keys and data; of a damaged block, as well as can be told from outside."""
    header = seen.header
    key_generation = header.key_generation if header else 0
    record_count = min(header.record_count, end - seen.start) if header else end - seen.start
    believed = BlockHeader(record_count=record_count, arrival_ms=0, key_generation=key_generation)
    return max(0, counted_byte_count(believed, stored_byte_count=seen.stored_byte_count))
