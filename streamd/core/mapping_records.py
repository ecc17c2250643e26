"""The records that a mapping works on: as a source gives them, and as they wait in a lane."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["QueuedRecord", "SourceRecords"]


@dataclass(frozen=True, slots=True)
class SourceRecords:
    """Records of one shard, oldest first, as columns of equal length.

    Sequence numbers are decimals that grow. For Kinesis ``data`` is the blob as it was put; for DynamoDB it is the
    whole record of the stream as JSON, and ``partition_keys`` are the items' primary keys as JSON. ``depths`` are how
    deep in a chain of invocations each was put; there are none where nobody knows.
    """

    sequence_numbers: Sequence[str]
    partition_keys: Sequence[bytes | None]
    data: Sequence[bytes]
    arrivals_ms: Sequence[int]
    depths: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.sequence_numbers)

    def at(self, places: Sequence[int]) -> "SourceRecords":
        """Give the records at some places."""
        return SourceRecords(
            [self.sequence_numbers[place] for place in places],
            [self.partition_keys[place] for place in places],
            [self.data[place] for place in places],
            [self.arrivals_ms[place] for place in places],
            [self.depths[place] for place in places] if self.depths else (),
        )


class QueuedRecord(NamedTuple):
    """A record in a lane. Millions of these are made: a tuple takes a fifth of a dataclass's time."""

    place: int
    """How many records the processor was fed before it."""
    number: str
    """Its sequence number."""
    before: str | None
    """The sequence number fed just before it, to which the checkpoint may move while this record is unfinished."""
    arrival_ms: int
    event: bytes
    """The record as JSON, as the function gets it."""
    depth: int = 0
    """How many functions ran one after another until it was put."""
