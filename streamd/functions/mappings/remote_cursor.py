"""A place in a shard of a stream elsewhere, kept as a sequence number: iterators come and go.

An iterator that has expired is asked for again, after the last record that was read. When the stream no longer knows
that record (it was trimmed, or the server lost its past) reading goes on at the first record there is, and the gap is
logged. Reads keep to a pace, slower while nothing comes, and back off when the service asks for it: the pace holds
whatever the caller does.
"""

import asyncio
import logging
from dataclasses import dataclass
from random import uniform
from typing import Final, Protocol

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition
from streamd.errors import OutsideRefused, OutsideUnreachable, SourceMissing
from streamd.functions.mappings.sources import NO_RECORDS, SourceBatch, Start

__all__ = ["Pace", "RemoteCursor", "RemotePage", "RemoteStream"]

_LOG = logging.getLogger(__name__)
_BACK_OFF_S_FIRST: Final = 0.5
_BACK_OFF_S_MAX: Final = 10.0
_EXPIRED: Final = frozenset({"ExpiredIteratorException"})
_TRIMMED: Final = frozenset({"TrimmedDataAccessException"})
_GONE: Final = frozenset({"ResourceNotFoundException"})
# What servers say of a sequence number that is not, or no longer, theirs; or of an iterator of a shard that rolled.
_UNKNOWN_PLACE: Final = frozenset({"InvalidArgumentException", "ValidationException"})
_THROTTLES: Final = ("Throttl", "ThroughputExceeded", "LimitExceeded")


@dataclass(frozen=True, slots=True)
class Pace:
    """The shortest times between two reads of a shard: while records come, and while none do."""

    busy_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class RemotePage:
    """What one read gave; ``next_iterator`` is None at the end of the shard."""

    records: SourceRecords
    next_iterator: str | None


class RemoteStream(Protocol):
    """A stream elsewhere, as its own API has it. Everything raises OutsideRefused and OutsideUnreachable."""

    arn: str

    async def identity(self) -> str:
        """Give what tells the stream from another of its name. Raises SourceMissing."""
        ...

    async def iterator(self, shard_id: str, start: Start) -> str:
        """Ask for an iterator."""
        ...

    async def page(self, shard_id: str, iterator: str, *, record_count_max: int) -> RemotePage:
        """Read from an iterator on."""
        ...


class RemoteCursor:
    """A place in a shard, and what was read and not yet given."""

    def __init__(self, stream: RemoteStream, *, shard_id: str, start: Start, pace: Pace) -> None:
        self._stream = stream
        self._shard_id = shard_id
        self._start = start
        self._pace = pace
        self._iterator: str | None = None
        self._rest = NO_RECORDS
        self._is_end = False
        self._is_reopened = False
        self._back_off_s = 0.0
        self._due_s = 0.0

    async def read(self, *, record_count_max: int, byte_count_max: int, wait_s: float) -> SourceBatch:
        """Read what comes next, and wait for it at most so long. Raises SourceMissing and OutsideUnreachable."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while not (self._rest or self._is_end):
            pause_s = self._due_s - loop.time()
            if pause_s > 0:
                await asyncio.sleep(min(pause_s, max(0.0, deadline_s - loop.time())))
            if self._due_s > loop.time():
                return SourceBatch(NO_RECORDS)
            await self._read_page(record_count_max)
            if loop.time() >= deadline_s:
                break
        return self._given(record_count_max, byte_count_max)

    def _given(self, record_count_max: int, byte_count_max: int) -> SourceBatch:
        """Give of what was read as much as was asked for."""
        rest = self._rest
        count = 0
        for size in map(len, rest.data[:record_count_max]):
            byte_count_max -= size
            if byte_count_max < 0 and count:
                break
            count += 1
        if count == len(rest):
            self._rest = NO_RECORDS
            return SourceBatch(rest, is_end=self._is_end)
        self._rest = rest.at(range(count, len(rest)))
        return SourceBatch(rest.at(range(count)))

    async def _read_page(self, record_count_max: int) -> None:
        """Read once, if only to learn that it must be done otherwise."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        # Whatever becomes of it, cancelled too: the next one keeps its distance.
        self._due_s = began_s + self._pace.busy_s
        try:
            if self._iterator is None:
                self._iterator = await self._stream.iterator(self._shard_id, self._start)
            page = await self._stream.page(self._shard_id, self._iterator, record_count_max=record_count_max)
        except OutsideRefused as refused:
            await self._refused(refused, is_of_place=self._iterator is None)
            return
        except OutsideUnreachable:
            self._back_off()
            raise
        self._back_off_s = 0.0
        self._is_reopened = False
        self._iterator = page.next_iterator
        self._is_end = page.next_iterator is None
        self._rest = page.records
        if page.records:
            self._start = Start(after=page.records.sequence_numbers[-1])
        else:
            self._due_s = began_s + self._pace.idle_s

    async def _refused(self, refused: OutsideRefused, *, is_of_place: bool) -> None:
        """Go on as the refusal allows. Raises SourceMissing, and OutsideUnreachable when there is no way on.

        ``is_of_place``: no iterator was given for the place; else one that was given is refused.
        """
        code = refused.code
        is_unknown = code in _UNKNOWN_PLACE and self._start.after is not None
        if code in _TRIMMED or (is_unknown and is_of_place):
            self._skip_gap(refused)
        elif code in _GONE:
            await self._gone()
        elif code in _EXPIRED or (code in _UNKNOWN_PLACE and not is_of_place and not self._is_reopened):
            # Some servers say so of an iterator whose shard rolled: once more, from the place itself.
            self._is_reopened = code not in _EXPIRED
        else:
            self._back_off()
            if not any(part in code for part in _THROTTLES):
                raise OutsideUnreachable(f"{self._stream.arn} cannot be read: {refused}")
            return
        self._iterator = None

    def _skip_gap(self, refused: OutsideRefused) -> None:
        _LOG.warning(
            "%s, %s: the place %s is no longer known there (%s); it is read from its first record",
            self._stream.arn,
            self._shard_id,
            self._start,
            refused,
        )
        self._start = Start(StartingPosition.TRIM_HORIZON)

    async def _gone(self) -> None:
        """Tell a shard that has expired, which is at its end, from a stream that is gone. Raises SourceMissing."""
        try:
            await self._stream.identity()
        except OutsideRefused as refused:
            raise OutsideUnreachable(f"{self._stream.arn} cannot be read: {refused}") from refused
        except SourceMissing:
            self._back_off()
            raise
        _LOG.warning("%s, %s has expired; what was left of it is lost", self._stream.arn, self._shard_id)
        self._is_end = True

    def _back_off(self) -> None:
        self._back_off_s = min(_BACK_OFF_S_MAX, self._back_off_s * 2 or _BACK_OFF_S_FIRST)
        # A guess is as good as any: this spreads shards that were refused together.
        pause_s = self._back_off_s * uniform(0.8, 1.2)  # noqa: S311
        self._due_s = asyncio.get_running_loop().time() + pause_s
