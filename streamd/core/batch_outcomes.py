"""What becomes of a batch: after an answer, a failure, or when it may not be tried at all.

An outcome is decided at once and takes effect when it is stored: until then the lane holds the batch as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamd.core.mapping_records import QueuedRecord
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Attempted, Condition, Failure
from streamd.core.shard_progress import PartMark, WindowState

__all__ = [
    "Outcome",
    "Part",
    "after_failed_call",
    "after_failure",
    "after_good",
    "given_up",
    "window_given_up",
    "without_first",
]


@dataclass(slots=True)
class Part:
    """A batch, or a piece of one. ``is_shaped`` once an outcome made it what it is, which a restart has to keep."""

    records: list[QueuedRecord]
    failure_count: int = 0
    is_shaped: bool = False

    @property
    def mark(self) -> PartMark:
        """The part as progress keeps it."""
        return PartMark(self.records[0].number, self.records[-1].number, self.failure_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What takes the place of the batch in hand, which records are finished with, and the window from then on."""

    kept: tuple[Part, ...] = ()
    finished: Sequence[QueuedRecord] = ()
    failure: Failure | None = None
    window: WindowState | None = None


def after_good(part: Part, good_count: int, *, window: WindowState | None) -> Outcome:
    """Give what follows when the first records of a batch, or all, went well: the rest is a batch of its own."""
    rest = part.records[good_count:]
    kept = (Part(rest, is_shaped=True),) if rest else ()
    return Outcome(kept=kept, finished=part.records[:good_count], window=window)


def after_failure(part: Part, *, settings: MappingSettings, last: Attempted, window: WindowState | None) -> Outcome:
    """Give what follows when a batch failed: two halves, or the same batch again, or giving it up."""
    if settings.bisects and len(part.records) > 1:
        middle = len(part.records) // 2
        pieces = part.records[:middle], part.records[middle:]
        halves = tuple(Part(piece, part.failure_count, is_shaped=True) for piece in pieces)
        return Outcome(kept=halves, window=window)
    count = part.failure_count + 1
    if 0 <= settings.attempts_max < count:
        failure = given_up(part.records, Condition.RETRIES_EXHAUSTED, invoke_count=count, last=last)
        return Outcome(finished=part.records, failure=failure, window=window)
    return Outcome(kept=(Part(part.records, count, is_shaped=True),), window=window)


def after_failed_call(window: WindowState, *, settings: MappingSettings, last: Attempted) -> Outcome:
    """Give what follows when a window's final call failed: it is tried again, or the window is given up."""
    count = window.failure_count + 1
    if 0 <= settings.attempts_max < count:
        return Outcome(failure=window_given_up(window, Condition.RETRIES_EXHAUSTED, invoke_count=count, last=last))
    return Outcome(window=replace(window, failure_count=count))


def without_first(part: Part, count: int, condition: Condition, *, window: WindowState | None) -> Outcome:
    """Give what follows when the first records of a batch may not be tried: they are given up, the rest stays."""
    rest = part.records[count:]
    kept = (Part(rest, part.failure_count, is_shaped=part.is_shaped),) if rest else ()
    gone = part.records[:count]
    failure = given_up(gone, condition, invoke_count=part.failure_count + 1, last=None)
    return Outcome(kept=kept, finished=gone, failure=failure, window=window)


def given_up(
    records: Sequence[QueuedRecord], condition: Condition, *, invoke_count: int, last: Attempted | None
) -> Failure:
    """Describe records that are given up."""
    return Failure(
        condition=condition,
        invoke_count=invoke_count,
        last=last,
        record_count=len(records),
        first_number=records[0].number,
        last_number=records[-1].number,
        first_arrival_ms=records[0].arrival_ms,
        last_arrival_ms=records[-1].arrival_ms,
        records=records,
    )


def window_given_up(window: WindowState, condition: Condition, *, invoke_count: int, last: Attempted | None) -> Failure:
    """Describe a window whose final call is given up."""
    return Failure(
        condition=condition,
        invoke_count=invoke_count,
        last=last,
        record_count=0,
        first_number=window.last_number,
        last_number=window.last_number,
        first_arrival_ms=window.last_arrival_ms,
        last_arrival_ms=window.last_arrival_ms,
    )
