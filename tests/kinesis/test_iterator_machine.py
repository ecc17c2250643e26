"""Iterators across puts, reshards, retention and restarts, beside a model that is a few plain lists.

The model keeps, for each shard, what was put to it and when, and for each iterator how much of its shard lies behind
it. Whatever happens in between, a read gives exactly the model's next records that have not expired: nothing is
skipped, repeated, out of order, or of another shard; and only at the end of a closed shard the iterator ends.
"""

import asyncio
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.clocks import ManualClock
from tests.engine.rooms import HOUR_MS, Refusal, Rooms, open_rooms

__all__: list[str] = []

_RETENTION_MS = 24 * HOUR_MS
_ITERATOR_AGE_MS_MAX = 300_000
_RING = 1 << 128
_SHARD_COUNT_MAX = 16
# Few enough that shards fill, and some of them at edges.
_HASH_KEYS = [0, 1, _RING // 8, _RING // 4 - 1, _RING // 4, _RING // 2 - 1, _RING // 2, 5 * _RING // 8, _RING - 1]

_REMEMBERED_COUNT = 10
_KINDS = ["TRIM_HORIZON", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]
_LIMITS = st.lists(st.integers(1, 5), min_size=1, max_size=4)
_AGES_MS = [0, 1, 1000, 60_000, 12 * HOUR_MS, _RETENTION_MS, 9 * _RETENTION_MS]
# Bounds exactly, and one past: the age of an iterator, and (by two steps) the retention.
_DURATIONS_MS = [1, 1000, 1000, 60_000, 60_000, _ITERATOR_AGE_MS_MAX, _ITERATOR_AGE_MS_MAX + 1, 12 * HOUR_MS]


@dataclass(slots=True)
class _Put:
    payload: bytes
    number: str
    arrival_ms: int


@dataclass(slots=True)
class _Shard:
    """A shard as a list; its range of hash keys is ``start`` to ``end``, that one not included."""

    start: int
    end: int
    parents: list[int] = field(default_factory=list)
    puts: list[_Put] = field(default_factory=list)
    closed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Iterator:
    """A token, and how many of its shard's records it has behind it."""

    token: str
    shard_index: int
    behind_count: int
    created_ms: int


class IteratorMachine(RuleBasedStateMachine):
    """One stream, its shards and everybody's iterators."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="iterators-")
        self._runner = asyncio.Runner()
        self._clock = ManualClock()
        self._rooms: Rooms | None = None
        self._opening: Any = None
        self._shards = [_Shard(0, _RING // 2), _Shard(_RING // 2, _RING)]
        self._iterators: list[_Iterator] = []
        self._count = 0
        self._open()
        self._ask("CreateStream", StreamName="posts", ShardCount=2)

    def teardown(self) -> None:
        """Close the rooms and remove their folder."""
        self._close()
        self._runner.close()
        self._folder.cleanup()

    @rule(hash_keys=st.lists(st.sampled_from(_HASH_KEYS), min_size=3, max_size=12))
    def put(self, hash_keys: list[int]) -> None:
        """Put records here and there."""
        payloads = [b"%d" % (self._count + place) for place in range(len(hash_keys))]
        self._count += len(hash_keys)

        rows = self._ask(
            "PutRecords",
            StreamName="posts",
            Records=[
                {"Data": b64encode(data).decode(), "PartitionKey": "k", "ExplicitHashKey": str(hash_key)}
                for data, hash_key in zip(payloads, hash_keys, strict=True)
            ],
        )["Records"]

        for payload, hash_key, row in zip(payloads, hash_keys, rows, strict=True):
            (owner,) = [i for i, s in enumerate(self._shards) if s.closed_ms is None and s.start <= hash_key < s.end]
            assert row["ShardId"] == _id(owner)
            self._shards[owner].puts.append(_Put(payload, row["SequenceNumber"], self._clock.now_ms()))

    @rule(data=st.data(), kind=st.sampled_from(_KINDS), limits=_LIMITS)
    def start(self, data: st.DataObject, kind: str, limits: list[int]) -> None:
        """Take an iterator of any kind, and read some pages from there."""
        index = data.draw(st.sampled_from([i for i, s in enumerate(self._shards) if self._is_visible(s)]))
        puts = self._shards[index].puts
        members: dict[str, Any] = {}
        behind_count = len(puts) if kind == "LATEST" else 0
        if kind == "AT_TIMESTAMP":
            time_ms = self._clock.now_ms() - data.draw(st.sampled_from(_AGES_MS))
            members = {"Timestamp": time_ms / 1000}
            behind_count = sum(put.arrival_ms < time_ms for put in puts)
        elif kind.endswith("NUMBER"):
            if not puts:
                return
            place = data.draw(st.integers(0, len(puts) - 1))
            members = {"StartingSequenceNumber": puts[place].number}
            behind_count = place + (kind == "AFTER_SEQUENCE_NUMBER")

        token = self._ask(
            "GetShardIterator", StreamName="posts", ShardId=_id(index), ShardIteratorType=kind, **members
        )["ShardIterator"]

        self._read(_Iterator(token, index, behind_count, self._clock.now_ms()), limits)

    @rule(data=st.data(), limits=_LIMITS)
    def read(self, data: st.DataObject, limits: list[int]) -> None:
        """Go on from an iterator that was given at any time, perhaps once more."""
        if self._iterators:
            self._read(data.draw(st.sampled_from(self._iterators[-_REMEMBERED_COUNT:])), limits)

    @rule(data=st.data(), is_split=st.booleans())
    def reshard(self, data: st.DataObject, *, is_split: bool) -> None:
        """Cut an open shard in two, or join two open shards that touch."""
        if len(self._shards) > _SHARD_COUNT_MAX:
            return
        indexes = [i for _, i in sorted((s.start, i) for i, s in enumerate(self._shards) if s.closed_ms is None)]
        if is_split or len(indexes) == 1:
            self._split(data.draw(st.sampled_from(indexes)))
        else:
            self._merge(*data.draw(st.sampled_from(list(pairwise(indexes)))))
        shards = self._ask("ListShards", StreamName="posts", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        ranges = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards]
        edges = [(start, end + 1) for start, end in sorted(ranges)]
        assert edges == sorted((s.start, s.end) for s in self._shards if s.closed_ms is None)

    @rule(duration_ms=st.sampled_from(_DURATIONS_MS))
    def let_time_pass(self, duration_ms: int) -> None:
        """Let time pass; what expires by it is still on disk."""
        self._clock.advance(duration_ms)

    @rule(is_restart=st.booleans())
    def sweep_or_restart(self, *, is_restart: bool) -> None:
        """Let retention remove what has expired, or open the same directory again."""
        assert self._rooms is not None
        if is_restart:
            self._close()
            self._open()
        else:
            self._runner.run(self._rooms.janitor.sweep())

    def _split(self, index: int) -> None:
        shard = self._shards[index]
        middle = (shard.start + shard.end) // 2
        self._ask("SplitShard", StreamName="posts", ShardToSplit=_id(index), NewStartingHashKey=str(middle))
        shard.closed_ms = self._clock.now_ms()
        self._shards += [_Shard(shard.start, middle, [index]), _Shard(middle, shard.end, [index])]

    def _merge(self, low: int, high: int) -> None:
        self._ask("MergeShards", StreamName="posts", ShardToMerge=_id(low), AdjacentShardToMerge=_id(high))
        for index in (low, high):
            self._shards[index].closed_ms = self._clock.now_ms()
        self._shards.append(_Shard(self._shards[low].start, self._shards[high].end, [low, high]))

    def _read(self, iterator: _Iterator, limits: list[int]) -> None:
        """Read some pages, and remember the place before and after them."""
        self._iterators.append(iterator)
        for limit in limits:
            following = self._page(iterator, limit=limit)
            if following is None:
                return
            self._iterators.append(following)
            if following.behind_count == iterator.behind_count:
                return
            iterator = following

    def _page(self, iterator: _Iterator, *, limit: int) -> _Iterator | None:
        """Read one page and hold it against the model; the next iterator, None at an end."""
        shard = self._shards[iterator.shard_index]
        now_ms = self._clock.now_ms()
        if now_ms - iterator.created_ms > _ITERATOR_AGE_MS_MAX:
            self._assert_refused("ExpiredIteratorException", iterator)
            return None
        if not self._is_visible(shard):
            self._assert_refused("ResourceNotFoundException", iterator)
            return None
        answer = self._ask("GetRecords", ShardIterator=iterator.token, Limit=limit)
        live = [(n, put) for n, put in enumerate(shard.puts) if self._is_live(put) and n >= iterator.behind_count]
        expected, rest = live[:limit], live[limit:]
        found = [(b64decode(record["Data"]), record["SequenceNumber"]) for record in answer["Records"]]
        assert found == [(put.payload, put.number) for _, put in expected]
        assert answer["MillisBehindLatest"] == (now_ms - expected[-1][1].arrival_ms if rest else 0)
        if shard.closed_ms is not None and not rest:
            assert answer.get("NextShardIterator") is None
            children = [_id(i) for i, s in enumerate(self._shards) if iterator.shard_index in s.parents]
            assert [child["ShardId"] for child in answer["ChildShards"]] == children
            return None
        assert "ChildShards" not in answer
        behind_count = expected[-1][0] + 1 if rest else len(shard.puts)
        return _Iterator(answer["NextShardIterator"], iterator.shard_index, behind_count, now_ms)

    def _is_visible(self, shard: _Shard) -> bool:
        return shard.closed_ms is None or shard.closed_ms >= self._clock.now_ms() - _RETENTION_MS

    def _is_live(self, put: _Put) -> bool:
        return put.arrival_ms >= self._clock.now_ms() - _RETENTION_MS

    def _assert_refused(self, code: str, iterator: _Iterator) -> None:
        with pytest.raises(Refusal) as caught:
            self._ask("GetRecords", ShardIterator=iterator.token)
        assert caught.value.code == code

    def _ask(self, operation: str, **members: Any) -> Any:
        assert self._rooms is not None
        return self._runner.run(self._rooms.ask(operation, **members))

    def _open(self) -> None:
        self._opening = open_rooms(Path(self._folder.name) / "data", self._clock)
        self._rooms = self._runner.run(self._opening.__aenter__())

    def _close(self) -> None:
        self._runner.run(self._opening.__aexit__(None, None, None))
        self._rooms = None


def _id(index: int) -> str:
    return f"shardId-{index:012d}"


TestIteratorsBesideAModel = IteratorMachine.TestCase
TestIteratorsBesideAModel.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
