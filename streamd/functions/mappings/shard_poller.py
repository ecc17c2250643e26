"""Carries out one shard's part of a mapping: reads, invokes, delivers what was given up, and stores how far it is.

What to do is decided by ``core.shard_processor``; here it is done, in the order that its contract asks for: an outcome
is stored before its lane goes on. An idle shard is one task that waits for the next record.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.core.mapping_events import RecordEvents
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Condition, Failure, Invoke, MappingCounters, Settle, ShardStatus
from streamd.core.shard_processor import ShardProcessor
from streamd.core.shard_progress import ShardProgress
from streamd.engine.clock import Clock
from streamd.errors import FunctionMissing, OutsideUnreachable, SourceMissing, StoreFull, StreamdError
from streamd.functions.mappings.sources import Cursor, SourceBatch
from streamd.functions.running import Finished, Invocation, Invokes, Throttled, Trigger

__all__ = ["FUNCTION_FAILED", "LOOP_STOPPED", "OK", "ShardPoller", "ShardWork"]

_LOG = logging.getLogger(__name__)
OK = "OK"
FUNCTION_FAILED = "PROBLEM: Function call failed"
LOOP_STOPPED = "PROBLEM: Function was not called for records that it caused itself in a recursive loop"
_IDLE_WAIT_S = 60.0
_TROUBLE_PAUSE_S = 5.0
_FULL_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What a poller is given: the mapping's part that it needs, and what it calls."""

    mapping: str
    shard_id: str
    function_arn: str
    settings: MappingSettings
    events: RecordEvents
    progress: ShardProgress
    open: Callable[[], Awaitable[Cursor]]
    invoker: Invokes
    clock: Clock
    save: Callable[[ShardProgress], Awaitable[None]]
    deliver: Callable[[Failure], Awaitable[bool]]
    horizon_ms: Callable[[], int]
    stops_loops: Callable[[], bool]
    note: Callable[[str], None]
    count: Callable[[MappingCounters], None]
    note_age: Callable[[int], None]


class ShardPoller:
    """Works through one shard until it is done, or is told to stop."""

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._processor = ShardProcessor(work.settings, work.events, progress=work.progress)
        self._news = asyncio.Event()
        self._settles: list[Settle] = []
        self._busy_count = 0
        self._is_stopping = False
        # Until a first look has shown that there is nothing: a restored window must not be closed before its records.
        self._has_more = True
        self._is_ended = False
        self._reading: asyncio.Task[SourceBatch] | None = None

    @property
    def is_done(self) -> bool:
        """Whether the shard ended and all of it is durably finished."""
        return self._processor.is_done

    def status(self) -> ShardStatus:
        """Describe the shard."""
        return self._processor.status()

    def stop(self) -> None:
        """Have it end once the invocations in hand have answered and are stored."""
        self._is_stopping = True
        self._news.set()

    async def run(self) -> None:
        """Work until the shard is done or ``stop`` was called. Raises SourceMissing."""
        if self.is_done:
            return
        cursor = await self._work.open()
        async with asyncio.TaskGroup() as group:
            while not self.is_done and not (self._is_stopping and not self._busy_count and not self._settles):
                await self._step(cursor, group)
            if self._reading is not None:
                self._reading.cancel()

    async def _step(self, cursor: Cursor, group: asyncio.TaskGroup) -> None:
        self._news.clear()
        if self._settles:
            settles, self._settles = self._settles, []
            await self._settle(settles)
            return
        if self._is_stopping:
            await self._news.wait()
            return
        await self._fill(cursor)
        now_ms = self._work.clock.now_ms()
        steps = self._processor.steps(
            now_ms,
            ticks_ms=self._work.clock.ticks_ms(),
            has_more=self._has_more,
            horizon_ms=self._work.horizon_ms(),
            stops_loops=self._work.stops_loops(),
        )
        for invoke in steps.invokes:
            self._busy_count += 1
            group.create_task(self._carry_out(invoke))
        for settle in steps.settles:
            self._settle_later(settle, group)
        if self._settles:
            return
        # By the moment that the steps went by: the clock may be set in between.
        wait_s = None if steps.wake_ms is None else max(0.0, (steps.wake_ms - now_ms) / 1000)
        await self._rest(cursor, wait_s, group)

    async def _fill(self, cursor: Cursor) -> None:
        """Take what was read meanwhile, and read on without waiting while there is more and room for it."""
        if self._reading is not None:
            if not self._reading.done():
                return
            reading, self._reading = self._reading, None
            self._take(await reading)
        while self._has_more and not self._is_ended:
            room = self._processor.room()
            if not room.record_count:
                return
            self._take(await self._read(cursor, record_count=room.record_count, byte_count=room.byte_count, wait_s=0))

    async def _rest(self, cursor: Cursor, wait_s: float | None, group: asyncio.TaskGroup) -> None:
        """Wait for whatever comes first: an answer, a record, or the end of this time."""
        room = self._processor.room()
        can_read = bool(room.record_count) and not self._is_ended and self._reading is None and not self._has_more
        if can_read:
            self._reading = group.create_task(
                self._read(cursor, record_count=room.record_count, byte_count=room.byte_count, wait_s=_IDLE_WAIT_S)
            )
            self._reading.add_done_callback(lambda _: self._news.set())
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._news.wait()

    async def _read(self, cursor: Cursor, *, record_count: int, byte_count: int, wait_s: float) -> SourceBatch:
        while True:
            try:
                return await cursor.read(record_count_max=record_count, byte_count_max=byte_count, wait_s=wait_s)
            except SourceMissing:
                raise
            except OutsideUnreachable as unreachable:
                self._work.note(f"PROBLEM: {unreachable}")
            except StreamdError as error:
                self._work.note(f"PROBLEM: the shard cannot be read: {error}")
                _LOG.error("mapping %s cannot read %s: %s", self._work.mapping, self._work.shard_id, error)
            await asyncio.sleep(_TROUBLE_PAUSE_S)

    def _take(self, batch: SourceBatch) -> None:
        self._has_more = len(batch.records) > 0 and not batch.is_end
        if len(batch.records):
            clock = self._work.clock
            self._processor.feed(batch.records, now_ms=clock.now_ms(), ticks_ms=clock.ticks_ms())
        if batch.is_end:
            self._is_ended = True
            self._processor.end_of_shard()

    async def _carry_out(self, invoke: Invoke) -> None:
        """Invoke a batch and tell the processor how it went."""
        request_id = str(uuid.uuid4())
        invocation = Invocation(
            request_id=request_id,
            arn=self._work.function_arn,
            payload=invoke.payload(),
            trigger=Trigger.MAPPING,
            depth=invoke.depth,
        )
        try:
            finished = await self._work.invoker.invoke(invocation, may_wait=True)
        except (Throttled, StreamdError) as error:
            self._put_off(invoke, error)
        else:
            await self._deliver(self._tell(invoke, finished))
        finally:
            self._busy_count -= 1
            self._news.set()

    def _put_off(self, invoke: Invoke, error: Exception) -> None:
        """Have a batch tried later that could not be run at all: no retry is used up."""
        reason = f"Function not found: {error.arn}" if isinstance(error, FunctionMissing) else str(error)
        self._work.note(f"PROBLEM: {reason}")
        now_ms, ticks_ms = self._work.clock.now_ms(), self._work.clock.ticks_ms()
        self._processor.throttled(invoke.lane, reason=reason, now_ms=now_ms, ticks_ms=ticks_ms, jitter=_jitter())

    def _tell(self, invoke: Invoke, finished: Finished) -> Settle:
        now_ms, ticks_ms = self._work.clock.now_ms(), self._work.clock.ticks_ms()
        if finished.error is None:
            settle = self._processor.succeeded(
                invoke.lane,
                finished.payload,
                now_ms=now_ms,
                ticks_ms=ticks_ms,
                jitter=_jitter(),
                request_id=finished.request_id,
                version=finished.version,
            )
            self._work.note(OK)
        else:
            settle = self._processor.failed(
                invoke.lane,
                error=_message_of(finished.payload),
                now_ms=now_ms,
                ticks_ms=ticks_ms,
                jitter=_jitter(),
                request_id=finished.request_id,
                version=finished.version,
            )
            self._work.note(FUNCTION_FAILED)
        if records := invoke.pieces[1]:
            self._work.note_age(now_ms - records[-1].arrival_ms)
        return settle

    def _settle_later(self, settle: Settle, group: asyncio.TaskGroup) -> None:
        """Have a settle stored once its failures are delivered, which holds up its own lane and no other."""
        if settle.failures:
            self._busy_count += 1
            group.create_task(self._deliver_alone(settle))
        else:
            self._settles.append(settle)

    async def _deliver_alone(self, settle: Settle) -> None:
        try:
            await self._deliver(settle)
        finally:
            self._busy_count -= 1
            self._news.set()

    async def _deliver(self, settle: Settle) -> None:
        for failure in settle.failures:
            if failure.condition is Condition.TOO_DEEP:
                self._work.note(LOOP_STOPPED)
            if await self._work.deliver(failure):
                self._processor.delivered(failure)
        self._settles.append(settle)

    async def _settle(self, settles: list[Settle]) -> None:
        """Store how far it is, and let the lanes go on."""
        progress = [self._processor.progress_with(settle) for settle in settles][-1]
        await self._save(progress)
        for settle in settles:
            self._processor.settled(settle)
        self._work.count(self._processor.take_counters())

    async def _save(self, progress: ShardProgress) -> None:
        """Store progress; while the disk is full nothing goes on, and nothing is lost."""
        while True:
            try:
                await self._work.save(progress)
            except StoreFull as full:
                self._work.note(f"PROBLEM: {full}")
                await asyncio.sleep(_FULL_PAUSE_S)
            else:
                return


def _jitter() -> float:
    # Spreads retries; nothing secret.
    return random.random()  # noqa: S311


def _message_of(payload: bytes) -> str:
    """Give what a function's error says, in one line."""
    try:
        document: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload[:200].decode(errors="replace")
    if not isinstance(document, dict):
        return str(document)[:200]
    return f"{document.get('errorType', 'Error')}: {document.get('errorMessage', '')}"[:500]
