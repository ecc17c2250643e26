"""The rules by which a mapping works through one shard: batches, windows, retries, lanes. No I/O: a poller carries out.

The poller's loop, for each shard that ``core.shard_succession`` lets start::

    processor = ShardProcessor(settings, events, progress=stored_or_ShardProgress())
    # read on after processor.checkpoint; while that is None, from where the mapping starts in this shard
    steps = processor.steps(now_ms, has_more=..., horizon_ms=...)
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

Promises: records of one key go in order, and each goes at least once, or is named in a Failure, or is counted expired.
After a crash only batches whose outcome was not stored are repeated. With unlimited retries and age nothing is given
up, except a record that is too large for any event. Refuses (by assertion) outcomes of lanes with nothing in hand.
"""

from streamd.core.mapping_events import RecordEvents
from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Failure, MappingCounters, Settle, ShardStatus, Steps
from streamd.core.shard_progress import ShardProgress

__all__ = ["ShardProcessor"]


class ShardProcessor:
    """Works through one shard for one mapping."""

    def __init__(self, settings: MappingSettings, events: RecordEvents, *, progress: ShardProgress) -> None:
        """Go on from stored progress. Raises PatternInvalid (compile the patterns when the mapping is made)."""
        self._settings = settings
        self._events = events
        self._progress = progress

    @property
    def checkpoint(self) -> str | None:
        """The durable checkpoint: after which sequence number to read when starting."""
        raise NotImplementedError

    @property
    def is_done(self) -> bool:
        """Whether the shard ended and all of it is durably finished: its children may start."""
        raise NotImplementedError

    def feed(self, records: SourceRecords, *, now_ms: int) -> None:
        """Take the shard's next records, in order, none twice."""
        raise NotImplementedError

    def end_of_shard(self) -> None:
        """Note that the shard is closed and all its records were fed."""
        raise NotImplementedError

    def steps(self, now_ms: int, *, has_more: bool = False, horizon_ms: int = 0) -> Steps:
        """Tell what to do now.

        ``has_more``: whether the source is known to hold records that were not fed yet (a tumbling window is not
        closed by the clock before they are). ``horizon_ms``: retention has ended what arrived before.
        """
        raise NotImplementedError

    def succeeded(
        self, lane: int, response: bytes, *, now_ms: int, jitter: float, request_id: str, version: str
    ) -> Settle:
        """Note that the function answered without an error; what the answer says decides."""
        raise NotImplementedError

    def failed(self, lane: int, *, error: str, now_ms: int, jitter: float, request_id: str, version: str) -> Settle:
        """Note that the invocation ended in a function error; ``error`` is for the status document."""
        raise NotImplementedError

    def throttled(self, lane: int, *, reason: str, now_ms: int, jitter: float) -> None:
        """Note that the function could not be run at all: no retry is used up, the batch is tried again later."""
        raise NotImplementedError

    def delivered(self, failure: Failure) -> None:
        """Count a failure as delivered to its destination."""
        raise NotImplementedError

    def progress_with(self, settle: Settle) -> ShardProgress:
        """Take a settle into the progress and give the value to store; once for each settle."""
        raise NotImplementedError

    def settled(self, settle: Settle) -> None:
        """Note that the progress is stored; the lane goes on."""
        raise NotImplementedError

    def take_counters(self) -> MappingCounters:
        """Give what was counted since the last call."""
        raise NotImplementedError

    def status(self) -> ShardStatus:
        """Describe the shard for people."""
        raise NotImplementedError
