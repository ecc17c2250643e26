"""Reads all shards of a stream at once and gives their records out in one order, through every reshard.

A task reads each shard, one page ahead of what was given out. When a shard ends, its children begin, each
once all its parents have ended, so the records of one key keep their order. An iterator that expired while
nobody read is taken again after the last record it gave. It asks the server to hold empty answers; one that
does not, as AWS, is asked once a second.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Final

from streamd.cli.tail_merge import ArrivalMerge, Record
from streamd.cli.tail_start import HORIZON, LATEST, Start
from streamd.core.aggregation import deaggregate
from streamd.sdk.client import JsonObject, KinesisClient, ServiceRefused

__all__ = ["StreamReader"]

# All pages together hold about this many records; a single page is kept useful even with very many shards.
BUFFERED_RECORD_COUNT_MAX: Final = 20_000
PAGE_RECORD_COUNT_MIN: Final = 20
PAGE_RECORD_COUNT_MAX: Final = 1000
# How long the server may hold an empty answer. With more shards than connections each is held for less, so
# that every shard still has its turn within a second or so.
WAIT_MS_MAX: Final = 5000
WAIT_MS_SUM_MAX: Final = 64_000
POLL_PAUSE_S: Final = 1.0
# AWS gives each shard five reads a second.
EMPTY_PAGE_PAUSE_S: Final = 0.2
# At the tip, what the shards bring within this time is sorted together.
GATHER_PAUSE_S: Final = 0.05
TAKE_COUNT_MAX: Final = 10_000


@dataclass(slots=True)
class _Shard:
    shard_id: str
    start: Start
    parent_ids: frozenset[str] = frozenset()
    last_sequence_number: str | None = None
    answered_ms: int | None = None
    drained: asyncio.Event = field(default_factory=asyncio.Event)


class StreamReader:
    """Reads one stream from a start, once."""

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        *,
        start: Start,
        shard_id: str | None,
        follow: bool,
        deaggregates: bool = False,
    ) -> None:
        """Read every shard, or only the one given; past the present tip only with ``follow``.

        With ``deaggregates`` an aggregated record is given out as those it holds.
        """
        self._client = client
        self._stream = stream
        self._start = start
        self._only_shard_id = shard_id
        self._follow = follow
        self._deaggregates = deaggregates
        self._merge = ArrivalMerge()
        self._changed = asyncio.Event()
        self._known_ids: set[str] = set()
        self._waiting: dict[str, _Shard] = {}
        self._reading: dict[str, _Shard] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, give: Callable[[list[Record]], None], *, count_max: int | None) -> None:
        """Give out records until the stream's end, the present tip or the count is reached.

        Raises what the client raises.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._expect(await self._first_shards())
                self._begin_ready(group)
                await self._give_out(give, count_max=count_max)
                for task in self._tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            raise _first_of(failures) from None

    async def _give_out(self, give: Callable[[list[Record]], None], *, count_max: int | None) -> None:
        count_left = count_max
        while not self._merge.is_over:
            await self._changed.wait()
            if self._follow and not self._merge.is_held:
                await asyncio.sleep(GATHER_PAUSE_S)
            self._changed.clear()
            ready = self._ready_records()
            while records := list(islice(ready, min(TAKE_COUNT_MAX, count_left or TAKE_COUNT_MAX))):
                give(records)
                if count_left is not None:
                    count_left -= len(records)
                if count_left == 0:
                    return
            self._wake_drained()

    def _ready_records(self) -> Iterator[Record]:
        """Give what can be given out now. An aggregate is unpacked only as it is reached: it may hold a million."""
        while records := self._merge.take(TAKE_COUNT_MAX):
            yield from chain.from_iterable(map(_parts_of, records)) if self._deaggregates else records

    def _wake_drained(self) -> None:
        """Let shards whose page is used up fetch the next one."""
        for shard in self._reading.values():
            if self._merge.is_drained(shard.shard_id):
                shard.drained.set()

    async def _first_shards(self) -> list[_Shard]:
        if self._only_shard_id is not None:
            return [_Shard(self._only_shard_id, self._start)]
        if self._start.iterator_type == "LATEST":
            listed = await self._client.list_shards(self._stream)
            return [
                _Shard(shard["ShardId"], self._start)
                for shard in listed
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
            ]
        shard_filter: JsonObject | None = None
        if self._start.timestamp_ms is not None:
            shard_filter = {"Type": "FROM_TIMESTAMP", "Timestamp": self._start.timestamp_ms / 1000}
        listed = await self._client.list_shards(self._stream, shard_filter=shard_filter)
        return [_Shard(shard["ShardId"], self._start, _parents_of(shard)) for shard in listed]

    def _expect(self, shards: Iterable[_Shard]) -> None:
        """Note shards to read once their parents have ended."""
        for shard in shards:
            if shard.shard_id not in self._known_ids:
                self._known_ids.add(shard.shard_id)
                self._waiting[shard.shard_id] = shard

    def _begin_ready(self, group: asyncio.TaskGroup) -> None:
        """Begin the shards none of whose parents is still to be read."""
        unread = self._waiting.keys() | self._reading.keys()
        ready = [shard for shard in self._waiting.values() if not shard.parent_ids & unread]
        for shard in ready:
            del self._waiting[shard.shard_id]
            self._reading[shard.shard_id] = shard
            self._merge.open(shard.shard_id)
            task = group.create_task(self._read(shard, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, shard: _Shard, group: asyncio.TaskGroup) -> None:
        """Read one shard to its end, then begin its children."""
        answer = await self._read_pages(shard)
        if answer.get("NextShardIterator") is None and self._only_shard_id is None:
            # Known before the shard is closed here, so that nothing newer is given out before the children's
            # first.
            self._expect(await self._children_of(shard, answer))
        self._merge.close(shard.shard_id)
        del self._reading[shard.shard_id]
        self._begin_ready(group)
        self._changed.set()

    async def _read_pages(self, shard: _Shard) -> JsonObject:
        """Read until the shard's end, or its present tip when nobody follows, and give the last answer."""
        iterator = await self._iterator_of(shard)
        is_behind = True
        while True:
            wait_ms = 0 if is_behind or not self._follow else self._wait_ms()
            asked_s = time.monotonic()
            limit = self._page_record_count()
            try:
                answer = await self._client.get_records(iterator, limit=limit, wait_ms=wait_ms)
            except ServiceRefused as refused:
                iterator = await self._recover(shard, iterator, refused)
                continue
            is_behind = answer.get("MillisBehindLatest", 0) > 0
            await self._hand_over(shard, answer, is_behind=is_behind)
            if answer.get("NextShardIterator") is None or not (is_behind or self._follow):
                return answer
            iterator = answer["NextShardIterator"]
            if not answer["Records"]:
                await _pace(wait_ms, took_s=time.monotonic() - asked_s, is_behind=is_behind)

    async def _hand_over(self, shard: _Shard, answer: JsonObject, *, is_behind: bool) -> None:
        """Give a page to the merge, and wait until it is used up."""
        records = [_record_of(shard.shard_id, record) for record in answer["Records"]]
        is_over = answer.get("NextShardIterator") is None
        shard.answered_ms = time.time_ns() // 1_000_000
        if records:
            shard.last_sequence_number = records[-1].sequence_number
        shard.drained.clear()
        # A shard that ended holds the others back until its children are known.
        self._merge.add(shard.shard_id, records, is_behind=is_behind or is_over)
        self._changed.set()
        if records and not is_over:
            await shard.drained.wait()

    async def _recover(self, shard: _Shard, iterator: str, refused: ServiceRefused) -> str:
        """Give the iterator to go on with after a refusal that is no end. Raises the others."""
        match refused.code:
            case "ExpiredIteratorException":
                return await self._iterator_of(shard)
            case "ProvisionedThroughputExceededException":
                await asyncio.sleep(POLL_PAUSE_S)
                return iterator
            case _:
                raise refused

    async def _iterator_of(self, shard: _Shard) -> str:
        """Take an iterator where a shard's reading stands."""
        start = shard.start
        if shard.last_sequence_number is not None:
            start = Start("AFTER_SEQUENCE_NUMBER", sequence_number=shard.last_sequence_number)
        elif shard.answered_ms is not None and start == LATEST:
            # LATEST once more would leave out what came since.
            start = Start("AT_TIMESTAMP", timestamp_ms=shard.answered_ms)
        return await self._client.get_shard_iterator(
            self._stream,
            shard.shard_id,
            start.iterator_type,
            sequence_number=start.sequence_number,
            timestamp_ms=start.timestamp_ms,
        )

    async def _children_of(self, shard: _Shard, answer: JsonObject) -> list[_Shard]:
        """Name the shards that a shard became, from its last answer or, where that lacks them, from the list."""
        children: list[JsonObject] | None = answer.get("ChildShards")
        if children is not None:
            return [_Shard(child["ShardId"], HORIZON, frozenset(child.get("ParentShards", ()))) for child in children]
        listed = await self._client.list_shards(self._stream)
        parents_by_child = {candidate["ShardId"]: _parents_of(candidate) for candidate in listed}
        return [
            _Shard(child_id, HORIZON, parent_ids)
            for child_id, parent_ids in parents_by_child.items()
            if shard.shard_id in parent_ids
        ]

    def _wait_ms(self) -> int:
        return min(WAIT_MS_MAX, WAIT_MS_SUM_MAX // len(self._reading))

    def _page_record_count(self) -> int:
        share = BUFFERED_RECORD_COUNT_MAX // len(self._reading)
        return max(PAGE_RECORD_COUNT_MIN, min(PAGE_RECORD_COUNT_MAX, share))


async def _pace(wait_ms: int, *, took_s: float, is_behind: bool) -> None:
    """Wait after an empty answer for as long as the server did not."""
    if is_behind:
        await asyncio.sleep(EMPTY_PAGE_PAUSE_S)
    elif wait_ms > 0 and took_s < wait_ms / 2000:
        await asyncio.sleep(max(0.0, POLL_PAUSE_S - took_s))


def _parents_of(shard: JsonObject) -> frozenset[str]:
    parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    return frozenset(parent for parent in parents if parent)


def _record_of(shard_id: str, record: JsonObject) -> Record:
    return Record(
        arrival_ms=round(record["ApproximateArrivalTimestamp"] * 1000),
        shard_id=shard_id,
        sequence_number=record["SequenceNumber"],
        key=record.get("PartitionKey"),
        data=record["Data"],
    )


def _parts_of(record: Record) -> Iterator[Record]:
    """Give the records that are aggregated in one, or the one itself."""
    parts = deaggregate(record.data)
    if parts is None:
        yield record
        return
    for place, part in enumerate(parts):
        yield replace(record, key=part.key, data=part.data, sub_sequence_number=place, hash_key=part.hash_key)


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the first reason out of nested groups: one line is told, and the others follow from it."""
    failure = failures.exceptions[0]
    return _first_of(failure) if isinstance(failure, BaseExceptionGroup) else failure
