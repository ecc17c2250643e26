"""Reads a stream as an orderly consumer does: a shard only when all of its parents were read to their end."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.workers.wire import Wire

__all__ = ["HASH_KEY_COUNT", "ReadRecord", "ShardWalk", "uncovered"]

HASH_KEY_COUNT = 1 << 128
_PARENTS = ("ParentShardId", "AdjacentParentShardId")


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A record as it was read."""

    shard_id: str
    sequence_number: str
    key: str
    data: bytes


@dataclass(slots=True)
class ShardWalk:
    """What was read so far, in reading order, and where to go on."""

    wire: Wire
    stream: str
    random: Random = field(default_factory=lambda: Random(0))
    records: list[ReadRecord] = field(default_factory=list)
    _place_by_shard: dict[str, str] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _parents_by_shard: dict[str, list[str]] = field(default_factory=dict)

    def follow(self, is_over: Callable[[], bool]) -> None:
        """Read until nothing more comes and it is over."""
        is_last_round = False
        while True:
            if self.read_round():
                is_last_round = False
            elif is_last_round:
                return
            else:
                # What was put before it was over is there for one more round.
                is_last_round = is_over()

    def read_round(self) -> bool:
        """Read once from each shard that may be read, in random order; whether there was anything."""
        if not self._parents_by_shard:
            for shard in self.wire.ask("ListShards", StreamName=self.stream)["Shards"]:
                self._note(shard["ShardId"], [shard[name] for name in _PARENTS if name in shard])
        ready = [shard for shard in self._parents_by_shard if self._is_ready(shard)]
        self.random.shuffle(ready)
        found = [self._read_once(shard) for shard in ready]
        return any(found)

    def _is_ready(self, shard: str) -> bool:
        parents = self._parents_by_shard[shard]
        return shard not in self._ended and all(parent in self._ended for parent in parents)

    def _note(self, shard: str, parents: list[str]) -> None:
        self._parents_by_shard.setdefault(shard, parents)

    def _read_once(self, shard: str) -> bool:
        place = self._place_by_shard.get(shard)
        if place is None:
            place = self.wire.iterator(self.stream, shard, "TRIM_HORIZON")
        answer: dict[str, Any] = self.wire.ask("GetRecords", ShardIterator=place, Limit=1000)
        self.records += [
            ReadRecord(shard, row["SequenceNumber"], row["PartitionKey"], b64decode(row["Data"]))
            for row in answer["Records"]
        ]
        following = answer.get("NextShardIterator")
        if following is None:
            self._ended.add(shard)
            for child in answer["ChildShards"]:
                self._note(child["ShardId"], child["ParentShards"])
            return True
        self._place_by_shard[shard] = following
        return bool(answer["Records"]) or answer["MillisBehindLatest"] > 0


def uncovered(shards: list[dict[str, Any]]) -> str | None:
    """Tell the first hash key that lies in no shard or in two of these; None when there is none."""
    ranges = sorted(
        (int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards
    )
    expected = 0
    for start, end in ranges:
        if start != expected:
            return f"{min(start, expected)}"
        expected = end + 1
    return None if expected == HASH_KEY_COUNT else f"{expected}"
