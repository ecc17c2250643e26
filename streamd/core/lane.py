"""One lane of a shard: the records that wait in it, in order, and the batches that it has begun.

A lane has at most one batch in hand. A batch that failed stays at the head of its lane, whole or in pieces (``parts``),
until it is finished or given up; only then is the next one taken from the queue.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from streamd.core.batch_outcomes import Outcome, Part
from streamd.core.mapping_records import QueuedRecord
from streamd.core.mapping_steps import LaneStatus
from streamd.core.shard_progress import LaneProgress, PartMark

__all__ = ["RETRY_MS_FIRST", "RETRY_MS_MAX", "Lane", "LaneState", "retry_wait_ms"]

RETRY_MS_FIRST: Final = 500
# A batch that fails for hours is tried once a minute: AWS does not publish its own bound.
RETRY_MS_MAX: Final = 60_000
_SPREAD: Final = 0.2


class LaneState(Enum):
    """What a lane waits for: a step, an outcome, or its progress to be stored."""

    FREE = "free"
    INVOKING = "invoking"
    SETTLING = "settling"


@dataclass(slots=True)
class Lane:
    """A lane's state. ``finished`` is the number of the last record that it finished, None before the first."""

    finished: str | None = None
    restored: deque[PartMark] = field(default_factory=deque)
    queue: deque[QueuedRecord] = field(default_factory=deque)
    parts: deque[Part] = field(default_factory=deque)
    held_count: int = 0
    held_byte_count: int = 0
    state: LaneState = LaneState.FREE
    is_final_call: bool = False
    window_start_ms: int = 0
    next_try_ms: int = 0
    throttle_count: int = 0
    blocked_since_ms: int | None = None
    error: str = ""
    outcome: Outcome | None = None

    @property
    def head(self) -> QueuedRecord | None:
        """The first record that is not finished."""
        if self.parts:
            return self.parts[0].records[0]
        return self.queue[0] if self.queue else None

    def extend(self, records: Sequence[QueuedRecord], *, now_ms: int, window_ms: int) -> None:
        """Queue records. A batching window that has passed with nothing in it begins again."""
        if not self.queue and now_ms >= self.window_start_ms + window_ms:
            self.window_start_ms = now_ms
        self.queue.extend(records)
        self.held_count += len(records)
        self.held_byte_count += sum([len(record.event) for record in records])

    def shift(self, duration_ms: int) -> None:
        """Move all times that are kept by as much as the clock was set, forward or back."""
        self.window_start_ms += duration_ms
        if self.next_try_ms:
            self.next_try_ms += duration_ms
        if self.blocked_since_ms is not None:
            self.blocked_since_ms += duration_ms

    def begin(self, count: int) -> None:
        """Make a batch of the first records of the queue."""
        pop = self.queue.popleft
        self.parts.append(Part([pop() for _ in range(count)]))

    def cut(self, count: int) -> None:
        """Leave the batch in hand only its first records; the rest comes after it."""
        part = self.parts[0]
        rest = part.records[count:]
        part.records = part.records[:count]
        if part.is_shaped:
            self.parts.insert(1, Part(rest, part.failure_count, is_shaped=True))
        else:
            self.queue.extendleft(reversed(rest))

    def finish(self, records: Sequence[QueuedRecord]) -> None:
        """Note that records at the head are finished with, well or not."""
        if records:
            self.finished = records[-1].number
            self.held_count -= len(records)
            self.held_byte_count -= sum([len(record.event) for record in records])

    def go_on(self) -> None:
        """Forget the troubles of the batch before."""
        self.next_try_ms = 0
        self.throttle_count = 0
        self.blocked_since_ms = None
        self.error = ""

    def drop_before(self, horizon_ms: int) -> int:
        """Drop what arrived before a moment from the lane's head; how many records that were."""
        dropped: list[QueuedRecord] = []
        while (head := self.head) is not None and head.arrival_ms < horizon_ms:
            dropped.append(head)
            if not self.parts:
                self.queue.popleft()
                continue
            del self.parts[0].records[0]
            if not self.parts[0].records:
                self.parts.popleft()
                self.go_on()
        self.finish(dropped)
        return len(dropped)

    def progress(self, checkpoint: int) -> LaneProgress:
        """Give what is to be stored of the lane beside the shard's checkpoint."""
        finished = self.finished if self.finished is not None and int(self.finished) > checkpoint else None
        marks = [part.mark for part in self.parts if part.is_shaped]
        return LaneProgress(finished, (*marks, *self.restored))

    def status(self) -> LaneStatus:
        """Describe the lane for people."""
        return LaneStatus(
            queued_count=self.held_count,
            is_invoking=self.state is LaneState.INVOKING,
            attempt=self.parts[0].failure_count + 1 if self.parts else 0,
            blocked_since_ms=self.blocked_since_ms,
            next_try_ms=self.next_try_ms or None,
            error=self.error,
        )


def retry_wait_ms(count: int, jitter: float) -> int:
    """Tell how long to wait after the ``count``-th failure in a row; ``jitter`` is from 0 to 1."""
    # Past the bound the power would only grow into numbers of thousands of digits.
    wait_ms = min(RETRY_MS_FIRST << min(count - 1, 10), RETRY_MS_MAX)
    return round(wait_ms * (1 - _SPREAD + 2 * _SPREAD * jitter))
