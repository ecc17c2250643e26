"""What a shard's reader hands in, sorted into lanes: what is filtered out or was finished before a restart is left out.

A record that is left out is only a place in the order: the checkpoint moves past it when all before it is finished.
"""

from collections.abc import Sequence
from hashlib import md5

from streamd.core.event_patterns import EventFilter
from streamd.core.mapping_events import RecordEvents
from streamd.core.mapping_records import QueuedRecord, SourceRecords
from streamd.core.shard_progress import LaneMarks, ShardProgress

__all__ = ["FinishedBefore", "ShardFeed", "lane_of"]

# Each change of the parallelization may leave marks until the checkpoint has passed them. Past this bound the oldest
# are forgotten, and what they told is repeated.
_OLDER_COUNT_MAX = 4


def lane_of(key: bytes | None, lane_count: int) -> int:
    """Tell which lane a partition key's records go through."""
    return int.from_bytes(md5(key or b"", usedforsecurity=False).digest()) % lane_count


class FinishedBefore:
    """What lanes had finished beyond the checkpoint before a restart."""

    def __init__(self, progress: ShardProgress, *, lane_count: int) -> None:
        now = LaneMarks(tuple(lane.finished for lane in progress.lanes))
        is_other = len(progress.lanes) != lane_count
        self.older: tuple[LaneMarks, ...] = ((now, *progress.older) if is_other else progress.older)[:_OLDER_COUNT_MAX]
        self._marks = [[int(text or 0) for text in marks.finished] for marks in (now, *self.older) if marks.finished]
        self._highest = max((number for marks in self._marks for number in marks), default=0)

    @property
    def is_past(self) -> bool:
        """Whether nothing that comes can be among it."""
        return not self._highest

    def unfinished(self, records: SourceRecords) -> Sequence[int]:
        """Give the places of records that are not among it."""
        if int(records.sequence_numbers[0]) > self._highest:
            self._highest = 0
            return range(len(records))
        pairs = zip(map(int, records.sequence_numbers), records.partition_keys, strict=True)
        return [place for place, (number, key) in enumerate(pairs) if not self._holds(number, key)]

    def older_beyond(self, checkpoint: int) -> tuple[LaneMarks, ...]:
        """Give the marks of other parallelizations that still tell something."""
        return tuple(marks for marks in self.older if any(int(text) > checkpoint for text in marks.finished if text))

    def _holds(self, number: int, key: bytes | None) -> bool:
        return any(number <= marks[lane_of(key, len(marks))] for marks in self._marks)


class ShardFeed:
    """Sorts records into lanes."""

    def __init__(
        self, events: RecordEvents, event_filter: EventFilter | None, before: FinishedBefore, *, lane_count: int
    ) -> None:
        self._events = events
        self._filter = event_filter
        self._before = before
        self._lane_count = lane_count
        self._fed_count = 0
        self.last: str | None = None
        self.filtered_count = 0

    def sort(self, records: SourceRecords) -> list[list[QueuedRecord]]:
        """Take the next records and give those that are to be handed to the function, by lane."""
        count = len(records)
        befores: Sequence[str | None] = [self.last, *records.sequence_numbers[:-1]]
        places: Sequence[int] = range(self._fed_count, self._fed_count + count)
        self.last = records.sequence_numbers[-1]
        self._fed_count += count
        wanted = self._wanted(records)
        if len(wanted) < count:
            records = records.at(wanted)
            befores = [befores[place] for place in wanted]
            places = [places[place] for place in wanted]
        depths = records.depths or [0] * len(records)
        columns = places, records.sequence_numbers, befores, records.arrivals_ms, self._events.write(records), depths
        queued = list(map(QueuedRecord._make, zip(*columns, strict=True)))
        if self._lane_count == 1:
            return [queued]
        lanes: list[list[QueuedRecord]] = [[] for _ in range(self._lane_count)]
        for key, record in zip(records.partition_keys, queued, strict=True):
            lanes[lane_of(key, self._lane_count)].append(record)
        return lanes

    def _wanted(self, records: SourceRecords) -> Sequence[int]:
        count = len(records)
        wanted = range(count) if self._before.is_past else self._before.unfinished(records)
        if self._filter is None:
            return wanted
        chosen = records if len(wanted) == count else records.at(wanted)
        documents = self._events.documents(chosen, load=self._filter.load)
        matches = self._filter.matches
        passed = [place for place, document in zip(wanted, documents, strict=True) if matches(document)]
        self.filtered_count += len(wanted) - len(passed)
        return passed
