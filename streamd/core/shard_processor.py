"""The rules by which a mapping works through one shard: batches, windows, retries, lanes. No I/O: a poller carries out.

The poller's loop, for each shard that ``core.shard_succession`` lets start::

    processor = ShardProcessor(settings, events, progress=stored_or_ShardProgress())
    # read on after processor.checkpoint; while that is None, from where the mapping starts in this shard
    steps = processor.steps(now_ms, ticks_ms=..., has_more=..., horizon_ms=...)
    for invoke in steps.invokes:    # at most one at a time for each lane
        ...                         # invoke with invoke.payload(), then exactly one of:
        settle = processor.succeeded(invoke.lane, response, now_ms=..., jitter=..., request_id=..., version=...)
        settle = processor.failed(invoke.lane, error=..., now_ms=..., jitter=..., request_id=..., version=...)
        processor.throttled(invoke.lane, reason=..., now_ms=..., jitter=...)     # nothing to settle
    for settle in [*steps.settles, *those of the outcomes]:
        ...                         # deliver each of settle.failures; processor.delivered(failure) if that worked
        progress = processor.progress_with(settle)
        ...                         # store it; the stores of one shard happen in the order of these calls
        processor.settled(settle)   # only now does the lane go on
    # if steps.room has room: read at most so much and processor.feed(records, now_ms=...); at its end end_of_shard()
    # ask for steps again after each of these, and at steps.wake_ms

Several settles may share a store: call ``progress_with`` for each, store the last value, then ``settled`` for each.
``steps`` never gives the same thing twice: what it gave is in hand until its outcome is told. To stop (update, disable,
shutdown): stop asking for steps, let the invocations in hand answer and settle, and drop the processor; the stored
progress is enough to go on. ``jitter`` is a number from 0 to 1 by chance, which spreads a wait by 20 % either way.
Every ``now_ms`` comes with the ``ticks_ms`` of the same moment: waits go by these, so the clock may be set or stand
still; it is the age of records that goes by the clock.

Promises: records of one key go in order, and each goes at least once, or is named in a Failure, or is counted expired.
After a crash only batches whose outcome was not stored are repeated. With unlimited retries and age nothing is given
up, except a record that is too large for any event. Refuses (by assertion) outcomes of lanes with nothing in hand.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from streamd.core.batch_outcomes import Outcome, after_failed_call, after_failure, after_good
from streamd.core.event_patterns import compile_filter
from streamd.core.lane import Lane, LaneState, retry_wait_ms
from streamd.core.lane_steps import LaneSteps, Moment
from streamd.core.mapping_events import KinesisEvents, RecordEvents
from streamd.core.mapping_records import QueuedRecord, SourceRecords
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import (
    Attempted,
    Failure,
    Invoke,
    MappingCounters,
    Room,
    Settle,
    ShardStatus,
    Steps,
)
from streamd.core.partial_responses import STATE_BYTE_COUNT_MAX, read_answer
from streamd.core.shard_feed import FinishedBefore, ShardFeed
from streamd.core.shard_progress import ShardProgress, WindowState

__all__ = ["ShardProcessor"]


_SAVE_MS: Final = 1000
_READ_AHEAD_BYTE_COUNT: Final = 12 * 1024 * 1024
_READ_AHEAD_BATCH_COUNT: Final = 2
_NO_STATE: Final = "the function's answer holds no state"
_NO_PROGRESS: Final = "the function's answer names the batch's first record, or none of the batch, as failed"
# What an event adds to a record's data: so many small records fill the bytes that may be read ahead.
_EVENT_OVERHEAD: Final = 520


class ShardProcessor:
    """Works through one shard for one mapping."""

    def __init__(self, settings: MappingSettings, events: RecordEvents, *, progress: ShardProgress) -> None:
        """Go on from stored progress. Raises PatternInvalid (compile the patterns when the mapping is made)."""
        count = settings.lane_count
        event_filter = compile_filter(settings.patterns, data_is_parsed=isinstance(events, KinesisEvents))
        self._settings = settings
        self._lanes = [Lane() for _ in range(count)]
        if len(progress.lanes) == count:
            self._lanes = [Lane(finished=each.finished, restored=deque(each.parts)) for each in progress.lanes]
        self._before = FinishedBefore(progress, lane_count=count)
        self._feed = ShardFeed(events, event_filter, self._before, lane_count=count)
        self._feed.last = progress.checkpoint
        self._rules = LaneSteps(settings, events, progress.window if settings.tumbling_ms else None)
        self._stored = progress
        self._given = progress
        self._settle_of_shard: Settle | None = None
        self._moved_ms: int | None = None
        # How far the wall clock was ahead of the ticks at the last look.
        self._lead_ms: int | None = None
        self._is_ended = False
        self._counts: Counter[str] = Counter()

    @property
    def checkpoint(self) -> str | None:
        """The durable checkpoint: after which sequence number to read when starting."""
        return self._stored.checkpoint

    @property
    def is_done(self) -> bool:
        """Whether the shard ended and all of it is durably finished: its children may start."""
        return self._stored.is_done

    def feed(self, records: SourceRecords, *, now_ms: int, ticks_ms: int) -> None:
        """Take the shard's next records, in order, none twice."""
        assert not self._is_ended
        self._see(now_ms, ticks_ms)
        if not len(records):
            return
        for lane, queued in zip(self._lanes, self._feed.sort(records), strict=True):
            if queued:
                lane.extend(queued, now_ms=now_ms, window_ms=self._settings.window_ms)
        self._count(polled=len(records))

    def end_of_shard(self) -> None:
        """Note that the shard is closed and all its records were fed."""
        self._is_ended = True

    def steps(
        self, now_ms: int, *, ticks_ms: int, has_more: bool = False, horizon_ms: int = 0, stops_loops: bool = False
    ) -> Steps:
        """Tell what to do now.

        ``has_more``: whether the source may hold records that were not fed yet, as it may until a read found nothing;
        the clock does not close a tumbling window before. ``horizon_ms``: retention has ended what arrived before.
        ``stops_loops``: what was put too deep in a chain of invocations is given up without a try.
        """
        self._see(now_ms, ticks_ms)
        invokes: list[Invoke] = []
        settles: list[Settle] = []
        wakes_ms: list[int] = []
        free = [index for index, lane in enumerate(self._lanes) if lane.state is LaneState.FREE]
        if horizon_ms:
            self._count(expired=sum([self._lanes[index].drop_before(horizon_ms) for index in free]))
        moment = Moment(
            now_ms=now_ms,
            has_more=has_more,
            is_ended=self._is_ended,
            has_room=self.room().record_count > 0,
            fed=self._feed.last,
            stops_loops=stops_loops,
        )
        for index in free:
            match self._rules.next(index, self._lanes[index], moment):
                case Invoke() as invoke:
                    self._lanes[index].state = LaneState.INVOKING
                    self._count(invoked=invoke.record_count)
                    invokes.append(invoke)
                case Outcome() as outcome:
                    settles.append(self._settle(index, outcome))
                case int() as wake_ms:
                    wakes_ms.append(wake_ms)
                case None:
                    pass
        self._look_at_shard(now_ms, settles, wakes_ms)
        wake = min(wakes_ms, default=None)
        return Steps(invokes=tuple(invokes), settles=tuple(settles), wake_ms=wake, room=self.room())

    def room(self) -> Room:
        """Tell how much can be taken now."""
        record_count = _READ_AHEAD_BATCH_COUNT * len(self._lanes) * self._settings.batch_size
        record_count -= sum([lane.held_count for lane in self._lanes])
        byte_count = _READ_AHEAD_BYTE_COUNT - sum([lane.held_byte_count for lane in self._lanes])
        if record_count <= 0 or byte_count <= 0 or self._is_ended:
            return Room(0, 0)
        # In base64 data is a third longer.
        return Room(min(record_count, 1 + byte_count // _EVENT_OVERHEAD), 1 + byte_count * 3 // 4)

    def succeeded(
        self, lane: int, response: bytes, *, now_ms: int, ticks_ms: int, jitter: float, request_id: str, version: str
    ) -> Settle:
        """Note that the function answered without an error; what the answer says decides."""
        self._see(now_ms, ticks_ms)
        held = self._in_hand(lane)
        if held.is_final_call:
            return self._settle(lane, Outcome())
        part = held.parts[0]
        wants_state = self._settings.tumbling_ms > 0
        numbers = [record.number for record in part.records]
        answer = read_answer(response, numbers, reports_items=self._settings.reports_items, wants_state=wants_state)
        if answer is None:
            last = Attempted(request_id=request_id, version=version, function_error="Unhandled")
            return self._fail(lane, _NO_STATE, last, now_ms=now_ms, jitter=jitter)
        if answer.good_count == 0:
            last = Attempted(request_id=request_id, version=version, function_error=None)
            return self._fail(lane, _NO_PROGRESS, last, now_ms=now_ms, jitter=jitter)
        window = None if answer.state is None else self._window_after(part.records[: answer.good_count], answer.state)
        self._count(failed_invoke=len(part.records) - answer.good_count)
        held.go_on()
        held.window_start_ms = now_ms
        return self._settle(lane, after_good(part, answer.good_count, window=window))

    def failed(
        self, lane: int, *, error: str, now_ms: int, ticks_ms: int, jitter: float, request_id: str, version: str
    ) -> Settle:
        """Note that the invocation ended in a function error; ``error`` is for the status document."""
        last = Attempted(request_id=request_id, version=version, function_error="Unhandled")
        self._see(now_ms, ticks_ms)
        self._in_hand(lane)
        return self._fail(lane, error, last, now_ms=now_ms, jitter=jitter)

    def throttled(self, lane: int, *, reason: str, now_ms: int, ticks_ms: int, jitter: float) -> None:
        """Note that the function could not be run at all: no retry is used up, the batch is tried again later."""
        self._see(now_ms, ticks_ms)
        held = self._in_hand(lane)
        held.state = LaneState.FREE
        held.is_final_call = False
        held.throttle_count += 1
        held.next_try_ms = now_ms + retry_wait_ms(held.throttle_count, jitter)
        held.error = reason
        if held.blocked_since_ms is None:
            held.blocked_since_ms = now_ms

    def delivered(self, failure: Failure) -> None:
        """Count a failure as delivered to its destination."""
        self._count(on_failure_delivered=failure.record_count)

    def progress_with(self, settle: Settle) -> ShardProgress:
        """Take a settle into the progress and give the value to store; once for each settle."""
        if settle.lane is not None:
            self._apply(self._lanes[settle.lane])
        checkpoint = self._reached()
        number = -1 if checkpoint is None else int(checkpoint)
        is_empty = not any(lane.held_count for lane in self._lanes)
        self._given = ShardProgress(
            checkpoint=checkpoint,
            lanes=tuple(lane.progress(number) for lane in self._lanes),
            older=self._before.older_beyond(number),
            window=self._rules.window,
            is_done=self._is_ended and is_empty and self._rules.window is None,
        )
        self._moved_ms = None
        return self._given

    def settled(self, settle: Settle) -> None:
        """Note that the progress is stored; the lane goes on."""
        if settle.lane is None:
            assert self._settle_of_shard is settle
            self._settle_of_shard = None
        else:
            lane = self._lanes[settle.lane]
            assert lane.state is LaneState.SETTLING
            assert lane.outcome is None
            lane.state = LaneState.FREE
        self._stored = self._given

    def take_counters(self) -> MappingCounters:
        """Give what was counted since the last call."""
        self._count(filtered_out=self._feed.filtered_count)
        self._feed.filtered_count = 0
        counters = MappingCounters(**self._counts)
        self._counts.clear()
        return counters

    def status(self) -> ShardStatus:
        """Describe the shard for people."""
        heads = [head for lane in self._lanes if (head := lane.head) is not None]
        return ShardStatus(
            checkpoint=self._stored.checkpoint,
            queued_count=sum([lane.held_count for lane in self._lanes]),
            queued_byte_count=sum([lane.held_byte_count for lane in self._lanes]),
            oldest_arrival_ms=min((head.arrival_ms for head in heads), default=None),
            is_ended=self._is_ended,
            is_done=self.is_done,
            lanes=tuple(lane.status() for lane in self._lanes),
        )

    def _see(self, now_ms: int, ticks_ms: int) -> None:
        """Note the time; whatever the clock was set to, what waits goes on waiting for as long as was left by ticks."""
        lead_ms = now_ms - ticks_ms
        set_ms = 0 if self._lead_ms is None else lead_ms - self._lead_ms
        self._lead_ms = lead_ms
        if not set_ms:
            return
        for lane in self._lanes:
            lane.shift(set_ms)
        self._rules.shift(set_ms)
        if self._moved_ms is not None:
            self._moved_ms += set_ms

    def _in_hand(self, index: int) -> Lane:
        lane = self._lanes[index]
        assert lane.state is LaneState.INVOKING
        return lane

    def _fail(self, index: int, error: str, last: Attempted, *, now_ms: int, jitter: float) -> Settle:
        lane, window = self._lanes[index], self._rules.window
        if lane.is_final_call:
            assert window is not None
            outcome = after_failed_call(window, settings=self._settings, last=last)
            count = window.failure_count + 1
        else:
            part = lane.parts[0]
            outcome = after_failure(part, settings=self._settings, last=last, window=window)
            count = outcome.kept[0].failure_count if outcome.kept else 0
            self._count(failed_invoke=len(part.records))
        is_over = outcome.failure is not None
        is_halved = len(outcome.kept) > 1
        lane.throttle_count = 0
        lane.next_try_ms = 0 if is_halved or is_over else now_ms + retry_wait_ms(count, jitter)
        lane.error = error
        if lane.blocked_since_ms is None:
            lane.blocked_since_ms = now_ms
        if is_over:
            lane.window_start_ms = now_ms
        return self._settle(index, outcome)

    def _settle(self, index: int, outcome: Outcome) -> Settle:
        lane = self._lanes[index]
        lane.state = LaneState.SETTLING
        lane.outcome = outcome
        failures = () if outcome.failure is None else (outcome.failure,)
        self._count(dropped=sum([failure.record_count for failure in failures]))
        return Settle(lane=index, failures=failures)

    def _apply(self, lane: Lane) -> None:
        outcome = lane.outcome
        assert lane.state is LaneState.SETTLING
        assert outcome is not None
        if not lane.is_final_call:
            lane.parts.popleft()
            lane.parts.extendleft(reversed(outcome.kept))
        if not outcome.kept and (outcome.window is None or not lane.is_final_call):
            lane.go_on()
        lane.finish(outcome.finished)
        lane.outcome = None
        lane.is_final_call = False
        self._rules.window = outcome.window

    def _window_after(self, records: Sequence[QueuedRecord], state: bytes) -> WindowState:
        start_ms = self._rules.window_of(records[0])
        return WindowState(
            start_ms=start_ms,
            end_ms=start_ms + self._settings.tumbling_ms,
            state=state,
            last_number=records[-1].number,
            last_arrival_ms=records[-1].arrival_ms,
            is_early=len(state) > STATE_BYTE_COUNT_MAX,
        )

    def _reached(self) -> str | None:
        """Give the checkpoint: everything at or below it is finished in every lane."""
        heads = [head for lane in self._lanes if (head := lane.head) is not None]
        return min(heads).before if heads else self._feed.last

    def _look_at_shard(self, now_ms: int, settles: list[Settle], wakes_ms: list[int]) -> None:
        """Settle what no lane settles: the end of the shard, and a checkpoint that moved past filtered records."""
        if self._settle_of_shard is not None or settles or any(x.state is LaneState.SETTLING for x in self._lanes):
            return
        is_over = self._is_ended and not any(lane.held_count for lane in self._lanes) and self._rules.window is None
        if is_over and not self._given.is_done:
            due_ms = now_ms
        elif self._reached() != self._given.checkpoint:
            self._moved_ms = now_ms if self._moved_ms is None else self._moved_ms
            due_ms = self._moved_ms + _SAVE_MS
        else:
            return
        if due_ms > now_ms:
            wakes_ms.append(due_ms)
            return
        self._settle_of_shard = Settle(lane=None)
        settles.append(self._settle_of_shard)

    def _count(self, **counts: int) -> None:
        self._counts.update(counts)
