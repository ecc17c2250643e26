"""Merges the records of many shards into one order, that of their arrival, without waiting for quiet shards.

A shard is *behind* until an answer said that it holds nothing newer. While a shard that is behind has no
record here, nothing is given out, because its next record could be the oldest of all; a shard that has caught
up holds nobody back. So a reader of old records gets them in exact order, and a reader at the tip gets each
round's records in order.

Memory is bounded by the caller, who adds a page of a shard only once the page before it is used up
(``is_drained``).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

__all__ = ["ArrivalMerge", "Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it came out of a shard, or one of those that were aggregated in it, by its place there."""

    arrival_ms: int
    shard_id: str
    sequence_number: str
    key: str | None
    data: bytes
    # Only a record out of an aggregate has these.
    sub_sequence_number: int | None = None
    hash_key: str | None = None


@dataclass(slots=True)
class _Lane:
    records: deque[Record] = field(default_factory=deque)
    is_behind: bool = True
    is_closed: bool = False


class ArrivalMerge:
    """The pages of open shards, given out by arrival."""

    def __init__(self) -> None:
        self._lane_by_shard: dict[str, _Lane] = {}
        # Shards that are behind and have no record here: while there is one, nothing can be given out.
        self._awaited: set[str] = set()
        # The first record of each shard that has any. The shard's id settles equal times.
        self._heads: list[tuple[int, str]] = []

    @property
    def is_over(self) -> bool:
        """Tell whether every shard was closed and everything was given out."""
        return not self._lane_by_shard

    @property
    def is_held(self) -> bool:
        """Tell whether a shard that is behind must bring a page before anything is given out."""
        return bool(self._awaited)

    def open(self, shard_id: str) -> None:
        """Add a shard, behind until it says otherwise."""
        self._lane_by_shard[shard_id] = _Lane()
        self._awaited.add(shard_id)

    def add(self, shard_id: str, records: Sequence[Record], *, is_behind: bool) -> None:
        """Take a shard's next page, and whether it holds still newer records."""
        lane = self._lane_by_shard[shard_id]
        lane.is_behind = is_behind
        if records and not lane.records:
            heappush(self._heads, (records[0].arrival_ms, shard_id))
        lane.records.extend(records)
        self._judge(shard_id, lane)

    def close(self, shard_id: str) -> None:
        """End a shard: no page follows, and what it brought is still given out."""
        lane = self._lane_by_shard[shard_id]
        lane.is_behind = False
        lane.is_closed = True
        self._judge(shard_id, lane)

    def is_drained(self, shard_id: str) -> bool:
        """Tell whether everything that a shard brought was given out."""
        lane = self._lane_by_shard.get(shard_id)
        return lane is None or not lane.records

    def take(self, count_max: int) -> list[Record]:
        """Give out what no later page can precede, oldest first."""
        taken: list[Record] = []
        while self._heads and not self._awaited and len(taken) < count_max:
            taken.append(self._pop())
        return taken

    def _pop(self) -> Record:
        _, shard_id = heappop(self._heads)
        lane = self._lane_by_shard[shard_id]
        record = lane.records.popleft()
        if lane.records:
            heappush(self._heads, (lane.records[0].arrival_ms, shard_id))
        self._judge(shard_id, lane)
        return record

    def _judge(self, shard_id: str, lane: _Lane) -> None:
        if lane.is_behind and not lane.records:
            self._awaited.add(shard_id)
        else:
            self._awaited.discard(shard_id)
        if lane.is_closed and not lane.records:
            del self._lane_by_shard[shard_id]
