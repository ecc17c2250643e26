"""What a free lane does next: forms its batch, waits, gives up what may not be tried, invokes, closes a window.

These are the rules without the outcomes: nothing here changes what is finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from streamd.core.batch_outcomes import Outcome, window_given_up, without_first
from streamd.core.lane import Lane
from streamd.core.lineage import is_too_deep
from streamd.core.mapping_events import EVENT_BYTE_COUNT_MAX, Envelope, RecordEvents, plain_envelope, window_envelope
from streamd.core.mapping_records import QueuedRecord
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Condition, Invoke
from streamd.core.shard_progress import WindowState

__all__ = ["WINDOW_GRACE_MS", "LaneSteps", "Moment"]

# A record is stamped a little before readers see it: a window stays open so long past its end.
WINDOW_GRACE_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a step depends on beside the lane. ``fed`` is the last sequence number fed, ``has_room`` for more.

    ``stops_loops`` is whether records that are too deep in a chain of invocations are given up.
    """

    now_ms: int
    has_more: bool
    is_ended: bool
    has_room: bool
    fed: str | None
    stops_loops: bool = False


@dataclass(slots=True)
class _Closing:
    """When the window that began at ``start_ms`` closes by time alone, though the clock be set back meanwhile."""

    start_ms: int
    at_ms: int


class LaneSteps:
    """Decides what lanes do. ``window`` is the shard's open tumbling window, None without one."""

    def __init__(self, settings: MappingSettings, events: RecordEvents, window: WindowState | None) -> None:
        self._settings = settings
        self._events = events
        self._plain = plain_envelope()
        self._closing: _Closing | None = None
        self.window = window

    def next(self, index: int, lane: Lane, moment: Moment) -> Invoke | Outcome | int | None:
        """Tell a free lane's next step: a batch to invoke, an outcome without one, or when to look again."""
        closing_ms = self._closing_ms(lane, moment)
        if closing_ms is not None and closing_ms <= moment.now_ms:
            return self._final_call(index, lane, moment.now_ms)
        if lane.head is None:
            return closing_ms
        if not lane.parts:
            due_ms = self._due_ms(lane, moment)
            if due_ms is None or due_ms > moment.now_ms:
                return due_ms
            self._begin(lane)
        return self._try(index, lane, moment)

    def shift(self, duration_ms: int) -> None:
        """Move the time at which the window closes by as much as the clock was set, forward or back."""
        if self._closing is not None:
            self._closing.at_ms += duration_ms

    def window_of(self, record: QueuedRecord) -> int:
        """Tell the start of the window that a record counts in. A late record counts in the window that is open."""
        width_ms = self._settings.tumbling_ms
        start_ms = record.arrival_ms // width_ms * width_ms
        return start_ms if self.window is None else max(start_ms, self.window.start_ms)

    def _closing_ms(self, lane: Lane, moment: Moment) -> int | None:
        """Tell when the open window is to be closed: 0 for now, None when time alone does not tell."""
        if self.window is None:
            self._closing = None
            return None
        if self._closing is None or self._closing.start_ms != self.window.start_ms:
            left_ms = min(self.window.end_ms - moment.now_ms, self._settings.tumbling_ms) + WINDOW_GRACE_MS
            self._closing = _Closing(self.window.start_ms, moment.now_ms + max(0, left_ms))
        if self.window.is_early:
            return 0
        head = lane.head
        if head is not None:
            return 0 if self.window_of(head) > self.window.start_ms else None
        if moment.is_ended:
            return 0
        return None if moment.has_more else self._closing.at_ms

    def _final_call(self, index: int, lane: Lane, now_ms: int) -> Invoke | Outcome | int:
        window = self.window
        assert window is not None
        wait_ms = lane.next_try_ms
        if window.failure_count and self._settings.age_ms_max >= 0:
            old_ms = window.end_ms + self._settings.age_ms_max + 1
            if now_ms >= old_ms:
                lane.is_final_call = True
                count = window.failure_count + 1
                return Outcome(failure=window_given_up(window, Condition.AGE_EXCEEDED, invoke_count=count, last=None))
            wait_ms = min(wait_ms, old_ms)
        if lane.next_try_ms > now_ms:
            return wait_ms
        lane.is_final_call = True
        head, tail = self._envelope(window, start_ms=window.start_ms, is_final=True)
        return Invoke(
            lane=index,
            attempt=window.failure_count + 1,
            record_count=0,
            first_number=None,
            last_number=None,
            pieces=(head, (), tail),
        )

    def _due_ms(self, lane: Lane, moment: Moment) -> int | None:
        """Tell when a batch may be taken from the queue: 0 for now, None when records have to come first."""
        if lane.restored and self._skip_stale(lane):
            is_whole = moment.fed is not None and int(moment.fed) >= int(lane.restored[0].last)
            return 0 if is_whole or moment.is_ended or not moment.has_room else None
        queue = lane.queue
        byte_count = lane.held_byte_count + len(queue)
        is_full = len(queue) >= self._settings.batch_size or byte_count >= EVENT_BYTE_COUNT_MAX
        if is_full or moment.is_ended or (self._settings.tumbling_ms and self._spans_windows(queue[0], queue[-1])):
            return 0
        due_ms = lane.window_start_ms + self._settings.window_ms
        return due_ms if self._settings.age_ms_max < 0 else min(due_ms, self._old_ms(queue[0]))

    def _skip_stale(self, lane: Lane) -> bool:
        """Drop marks of batches that are no more; tell whether the queue begins with one that is."""
        first = int(lane.queue[0].number)
        while lane.restored and int(lane.restored[0].last) < first:
            lane.restored.popleft()
        if lane.restored and int(lane.restored[0].first) > first:
            # Only another filter lets records appear before a batch that was begun: its pieces tell nothing then.
            lane.restored.clear()
        return bool(lane.restored)

    def _begin(self, lane: Lane) -> None:
        queue = lane.queue
        if lane.restored:
            mark = lane.restored.popleft()
            last = int(mark.last)
            lane.begin(sum(1 for _ in takewhile(lambda record: int(record.number) <= last, queue)))
            lane.parts[0].failure_count = mark.failure_count
            lane.parts[0].is_shaped = True
            return
        count = min(self._settings.batch_size, len(queue))
        lane.begin(count)
        if self._settings.tumbling_ms:
            records = lane.parts[0].records
            self._cut(lane, sum(1 for _ in takewhile(lambda each: not self._spans_windows(records[0], each), records)))

    def _spans_windows(self, first: QueuedRecord, second: QueuedRecord) -> bool:
        return self.window_of(second) > self.window_of(first)

    def _try(self, index: int, lane: Lane, moment: Moment) -> Invoke | Outcome | int:
        part, now_ms = lane.parts[0], moment.now_ms
        if moment.stops_loops:
            deep_count = sum(1 for _ in takewhile(_is_in_loop, part.records))
            if deep_count:
                return without_first(part, deep_count, Condition.TOO_DEEP, window=self.window)
            self._cut(lane, sum(1 for _ in takewhile(lambda record: not _is_in_loop(record), part.records)))
        if self._settings.age_ms_max >= 0:
            old_ms = self._old_ms(part.records[0])
            if old_ms <= now_ms:
                count = sum(1 for _ in takewhile(lambda record: self._old_ms(record) <= now_ms, part.records))
                return without_first(part, count, Condition.AGE_EXCEEDED, window=self.window)
            if lane.next_try_ms > now_ms:
                return min(lane.next_try_ms, old_ms)
        if lane.next_try_ms > now_ms:
            return lane.next_try_ms
        head, tail = self._surroundings(part.records[0])
        fitting = _fitting_count(part.records, EVENT_BYTE_COUNT_MAX - len(head) - len(tail))
        if fitting == 0:
            return self._make_room(index, lane, now_ms)
        self._cut(lane, min(fitting, self._settings.batch_size))
        return Invoke(
            lane=index,
            attempt=part.failure_count + 1,
            record_count=len(part.records),
            first_number=part.records[0].number,
            last_number=part.records[-1].number,
            pieces=(head, part.records, tail),
        )

    def _make_room(self, index: int, lane: Lane, now_ms: int) -> Invoke | Outcome | int:
        """Give up a record that no event can hold; one that only the window's state leaves no room ends the window."""
        part = lane.parts[0]
        if self.window is not None:
            head, tail = self._envelope(None, start_ms=self.window.start_ms)
            if len(head) + len(part.records[0].event) + len(tail) <= EVENT_BYTE_COUNT_MAX:
                self.window = replace(self.window, is_early=True)
                return self._final_call(index, lane, now_ms)
        return without_first(part, 1, Condition.TOO_LARGE, window=self.window)

    def _cut(self, lane: Lane, count: int) -> None:
        if count < len(lane.parts[0].records):
            lane.cut(count)

    def _old_ms(self, record: QueuedRecord) -> int:
        return record.arrival_ms + self._settings.age_ms_max + 1

    def _surroundings(self, record: QueuedRecord) -> Envelope:
        if not self._settings.tumbling_ms:
            return self._plain
        return self._envelope(self.window, start_ms=self.window_of(record))

    def _envelope(self, window: WindowState | None, *, start_ms: int, is_final: bool = False) -> Envelope:
        return window_envelope(
            start_ms=start_ms,
            end_ms=start_ms + self._settings.tumbling_ms if window is None else window.end_ms,
            state=b"{}" if window is None else window.state,
            shard_id=self._events.shard_id,
            source_arn=self._events.source_arn,
            is_final=is_final,
            is_early=is_final and window is not None and window.is_early,
        )


def _is_in_loop(record: QueuedRecord) -> bool:
    return record.depth > 0 and is_too_deep(record.depth)


def _fitting_count(records: Sequence[QueuedRecord], room: int) -> int:
    """Tell how many records fit, with the commas between them."""
    lengths = [len(record.event) + 1 for record in records]
    if sum(lengths) <= room + 1:
        return len(records)
    used, count = -1, 0
    for length in lengths:
        used += length
        if used > room:
            break
        count += 1
    return count
