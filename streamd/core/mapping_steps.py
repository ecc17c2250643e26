"""What a shard's processor asks its poller to do, and what it tells of itself: plain values."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum

from streamd.core.mapping_records import QueuedRecord

__all__ = [
    "Attempted",
    "Condition",
    "Failure",
    "Invoke",
    "LaneStatus",
    "MappingCounters",
    "Room",
    "Settle",
    "ShardStatus",
    "Steps",
]


class Condition(StrEnum):
    """Why records were given up, in the words of the failure record."""

    RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
    AGE_EXCEEDED = "RecordAgeExceeded"
    TOO_LARGE = "RecordTooLarge"
    TOO_DEEP = "RecursiveInvocation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """The last invocation of a batch: ``function_error`` is "Unhandled", or None when the answer named failed items."""

    request_id: str
    version: str
    function_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Records that were given up. ``core.failure_documents`` writes it for a destination.

    ``last`` is the invocation that decided it; None when none did (age, size). ``record_count`` is 0 for the final
    call of a tumbling window; then the numbers and times are those of the window's last record.
    """

    condition: Condition
    invoke_count: int
    last: Attempted | None
    record_count: int
    first_number: str
    last_number: str
    first_arrival_ms: int
    last_arrival_ms: int
    records: Sequence[QueuedRecord] = field(repr=False, default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """Invoke the function with a batch, then tell the processor ``succeeded``, ``failed`` or ``throttled``.

    ``attempt`` counts from 1. The payload is joined when it is asked for, so that a retry in an hour holds no copy.
    """

    lane: int
    attempt: int
    record_count: int
    first_number: str | None
    last_number: str | None
    pieces: tuple[bytes, Sequence[QueuedRecord], bytes] = field(repr=False)

    @property
    def depth(self) -> int:
        """How many functions ran one after another until the deepest of its records was put."""
        return max([record.depth for record in self.pieces[1]], default=0)

    def payload(self) -> bytes:
        """Write the event."""
        head, records, tail = self.pieces
        return b"".join((head, b",".join([record.event for record in records]), tail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """What is to be made durable: deliver ``failures``, then store ``progress_with(settle)``, then call ``settled``.

    ``lane`` is None when only the checkpoint moved (filtered runs, the end of the shard).
    """

    lane: int | None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """How much a processor can take now: records, and bytes of data. Nothing when either is 0."""

    record_count: int
    byte_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What to do now. ``wake_ms`` is when to ask again if nothing else happens before; None: not by time."""

    invokes: tuple[Invoke, ...]
    settles: tuple[Settle, ...]
    wake_ms: int | None
    room: Room


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """The head of a lane. ``blocked_since_ms`` is the first failure of the batch in hand; None while it goes well."""

    queued_count: int
    is_invoking: bool
    attempt: int
    blocked_since_ms: int | None
    next_try_ms: int | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """A shard, for a status document: the durable checkpoint, what waits, and each lane's head."""

    checkpoint: str | None
    queued_count: int
    queued_byte_count: int
    oldest_arrival_ms: int | None
    is_ended: bool
    is_done: bool
    lanes: tuple[LaneStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingCounters:
    """What happened to records, in records: the six that AWS counts, and those that retention took while they waited.

    ``invoked`` counts a record each time it is handed to the function, ``failed_invoke`` each time that went wrong.
    """

    polled: int = 0
    filtered_out: int = 0
    invoked: int = 0
    failed_invoke: int = 0
    dropped: int = 0
    on_failure_delivered: int = 0
    expired: int = 0

    def __add__(self, other: "MappingCounters") -> "MappingCounters":
        names = [each.name for each in fields(self)]
        return MappingCounters(**{name: getattr(self, name) + getattr(other, name) for name in names})
