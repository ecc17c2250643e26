"""The shards of a stream: which are open, who came from whom, and what a split or a merge makes of them.

At every moment each hash key lies in exactly one open shard. A tree is a value: a reshard gives a new tree.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from streamd.core.hash_keys import HashKeyRange, digest_of_hash_key, even_ranges
from streamd.core.sequence_numbers import GAP_S, SequenceNumber

__all__ = [
    "Closing",
    "ReshardStep",
    "Shard",
    "ShardTree",
    "first_shards",
    "merge_step",
    "row_of_shard",
    "shard_from_row",
    "shard_id",
    "shard_index",
    "split_step",
]

_PREFIX = "shardId-"


def shard_id(index: int) -> str:
    """Write a shard's id."""
    return f"{_PREFIX}{index:012d}"


def shard_index(identity: str) -> int | None:
    """Read a shard's index from its id, or from the bare digits of it; None when it is neither."""
    digits = identity.removeprefix(_PREFIX)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        return None
    index = int(digits)
    return index if index <= 0xFFFF_FFFF else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How a shard ended: the last position it can ever hold, and when."""

    position: int
    closed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard. ``created_s`` leads its sequence numbers and grows from parent to child whatever the clock does."""

    index: int
    hash_range: HashKeyRange
    created_ms: int
    created_s: int
    parent_index: int | None = None
    adjacent_parent_index: int | None = None
    closing: Closing | None = None

    @property
    def id(self) -> str:
        """The shard's id."""
        return shard_id(self.index)

    @property
    def is_open(self) -> bool:
        """Whether the shard still takes records."""
        return self.closing is None

    @property
    def parent_indexes(self) -> tuple[int, ...]:
        """The shards it was made from: none, one (split) or two (merge)."""
        return tuple(i for i in (self.parent_index, self.adjacent_parent_index) if i is not None)

    def sequence_number(self, position: int, *, arrival_s: int) -> SequenceNumber:
        """Give the sequence number of a position of this shard."""
        return SequenceNumber(
            shard_created_s=self.created_s, shard_index=self.index, position=position, arrival_s=arrival_s
        )

    def number_after(self, position: int) -> SequenceNumber:
        """Give the number of the place after a position's record, which is before every later record."""
        return self.sequence_number(position, arrival_s=GAP_S)

    @property
    def starting_sequence_number(self) -> str:
        """The number below every record's."""
        return str(self.sequence_number(0, arrival_s=self.created_s))

    @property
    def ending_sequence_number(self) -> str | None:
        """The number at or above every record's, once the shard is closed."""
        if self.closing is None:
            return None
        return str(self.sequence_number(self.closing.position, arrival_s=self.closing.closed_ms // 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardStep:
    """One split (one parent, two children) or one merge (two parents, one child)."""

    parent_indexes: tuple[int, ...]
    children: tuple[Shard, ...]


class ShardTree:
    """The shards of a stream, by index; immutable."""

    __slots__ = ("_open", "_open_starts", "shard_by_index", "shards")

    def __init__(self, shards: Iterable[Shard]) -> None:
        self.shards: tuple[Shard, ...] = tuple(sorted(shards, key=lambda shard: shard.index))
        self.shard_by_index: Mapping[int, Shard] = MappingProxyType({s.index: s for s in self.shards})
        by_start = sorted((s for s in self.shards if s.is_open), key=lambda shard: shard.hash_range.start)
        self._open = tuple(by_start)
        self._open_starts = [digest_of_hash_key(shard.hash_range.start) for shard in by_start]

    def __iter__(self) -> Iterator[Shard]:
        return iter(self.shards)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShardTree) and self.shards == other.shards

    def __hash__(self) -> int:
        return hash(self.shards)

    @property
    def open_shards(self) -> tuple[Shard, ...]:
        """The open shards, by hash key."""
        return self._open

    @property
    def next_index(self) -> int:
        """The index that the next new shard gets: above every one ever given."""
        return self.shards[-1].index + 1

    def route(self, digests: Iterable[bytes]) -> list[Shard]:
        """Give the open shard that owns each 16-byte hash key digest."""
        starts, shards = self._open_starts, self._open
        return [shards[bisect_right(starts, digest) - 1] for digest in digests]

    def children_of(self, index: int) -> list[Shard]:
        """List the shards made from this one."""
        return [shard for shard in self.shards if index in shard.parent_indexes]

    def split(self, index: int, *, at: int, now_ms: int) -> ReshardStep:
        """Cut an open shard in two: the second child starts at hash key ``at``, which lies inside the parent."""
        return split_step(self.shard_by_index[index], at=at, first_index=self.next_index, now_ms=now_ms)

    def merge(self, index: int, *, adjacent_index: int, now_ms: int) -> ReshardStep:
        """Join two open shards whose ranges touch."""
        parents = self.shard_by_index[index], self.shard_by_index[adjacent_index]
        return merge_step(*parents, first_index=self.next_index, now_ms=now_ms)

    def after(self, steps: Iterable[ReshardStep], *, closings: Mapping[int, Closing]) -> "ShardTree":
        """Give the tree in which the steps have happened; ``closings`` says where each parent ended."""
        children = [child for step in steps for child in step.children]
        shards = [*self.shards, *children]
        return ShardTree(replace(s, closing=closings[s.index]) if s.index in closings else s for s in shards)

    def without(self, indexes: Iterable[int]) -> "ShardTree":
        """Give the tree without these closed shards, whose records have all expired."""
        gone = set(indexes)
        assert not any(shard.is_open for shard in self.shards if shard.index in gone)
        return ShardTree(shard for shard in self.shards if shard.index not in gone)

    def to_document(self) -> list[list[Any]]:
        """Write the tree as JSON values."""
        return [row_of_shard(shard) for shard in self.shards]

    @classmethod
    def from_document(cls, rows: Sequence[Sequence[Any]]) -> "ShardTree":
        """Read what ``to_document`` wrote."""
        return cls(shard_from_row(row) for row in rows)


def split_step(parent: Shard, *, at: int, first_index: int, now_ms: int) -> ReshardStep:
    """Cut an open shard in two at a hash key inside it; the children are numbered from ``first_index``."""
    low, high = parent.hash_range.start, parent.hash_range.end
    assert parent.is_open
    assert low < at <= high
    ranges = [HashKeyRange(low, at - 1), HashKeyRange(at, high)]
    return _step([parent], ranges, first_index=first_index, now_ms=now_ms)


def merge_step(parent: Shard, adjacent: Shard, *, first_index: int, now_ms: int) -> ReshardStep:
    """Join two open shards whose ranges touch."""
    low, high = sorted((parent.hash_range, adjacent.hash_range), key=lambda hash_range: hash_range.start)
    assert parent.is_open
    assert adjacent.is_open
    assert low.end + 1 == high.start
    joined = HashKeyRange(low.start, high.end)
    return _step([parent, adjacent], [joined], first_index=first_index, now_ms=now_ms)


def _step(parents: Sequence[Shard], ranges: Sequence[HashKeyRange], *, first_index: int, now_ms: int) -> ReshardStep:
    # A second later than every parent, so that children's numbers start after their parents' whatever the clock.
    created_s = max(now_ms // 1000, 1 + max(parent.created_s for parent in parents))
    children = tuple(
        Shard(
            index=first_index + offset,
            hash_range=hash_range,
            created_ms=now_ms,
            created_s=created_s,
            parent_index=parents[0].index,
            adjacent_parent_index=parents[1].index if len(parents) > 1 else None,
        )
        for offset, hash_range in enumerate(ranges)
    )
    return ReshardStep(parent_indexes=tuple(parent.index for parent in parents), children=children)


def first_shards(count: int, *, now_ms: int) -> ShardTree:
    """Make the shards of a new stream: equal ranges, numbered from 0."""
    return ShardTree(
        Shard(index=index, hash_range=hash_range, created_ms=now_ms, created_s=now_ms // 1000)
        for index, hash_range in enumerate(even_ranges(count))
    )


def row_of_shard(shard: Shard) -> list[Any]:
    """Write one shard as JSON values."""
    closing = shard.closing
    return [
        shard.index,
        f"{shard.hash_range.start:x}",
        f"{shard.hash_range.end:x}",
        shard.created_ms,
        shard.created_s,
        shard.parent_index,
        shard.adjacent_parent_index,
        None if closing is None else [closing.position, closing.closed_ms],
    ]


def shard_from_row(row: Sequence[Any]) -> Shard:
    """Read what ``row_of_shard`` wrote."""
    index, start, end, created_ms, created_s, parent, adjacent, closing = row
    return Shard(
        index=index,
        hash_range=HashKeyRange(int(start, 16), int(end, 16)),
        created_ms=created_ms,
        created_s=created_s,
        parent_index=parent,
        adjacent_parent_index=adjacent,
        closing=None if closing is None else Closing(position=closing[0], closed_ms=closing[1]),
    )
