"""What a mapping reads: shards with parents, and records of a shard in order, wherever the stream may be.

A place in a shard is kept as a sequence number, never as an iterator: so it outlives a restart on either side. What the
stream no longer has is a gap that is logged and stepped over; reading goes on at the first record that is there.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition

__all__ = ["NO_RECORDS", "Cursor", "FindsSources", "Lag", "Source", "SourceBatch", "SourceShard", "Start"]

NO_RECORDS = SourceRecords((), (), (), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceShard:
    """A shard and the shards it was made from, some of which may have expired."""

    shard_id: str
    parent_ids: tuple[str, ...] = ()
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin in a shard: after a sequence number, or else at a position (with AT_TIMESTAMP, a time)."""

    position: StartingPosition = StartingPosition.TRIM_HORIZON
    time_ms: int | None = None
    after: str | None = None

    def __str__(self) -> str:
        if self.after is not None:
            return f"AFTER:{self.after}"
        return str(self.position) if self.time_ms is None else f"{self.position}:{self.time_ms}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``str()`` wrote, as it is kept in a document."""
        name, _, value = text.partition(":")
        if name == "AFTER":
            return cls(after=value)
        return cls(StartingPosition(name), int(value) if value else None)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a place is behind the tip; the count is None where the stream does not tell it."""

    record_count: int | None
    ms: int


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """What a read found; none may mean nothing yet. ``is_end``: the shard is closed and this was the last of it."""

    records: SourceRecords
    is_end: bool = False


class Cursor(Protocol):
    """A place in a shard that moves on with each read. It holds nothing that would have to be given back."""

    async def read(self, *, record_count_max: int, byte_count_max: int, wait_s: float) -> SourceBatch:
        """Read what comes next, and wait for it at most so long. At least one record is given, however large it is.

        Raises SourceMissing when the stream is gone, OutsideUnreachable when it is elsewhere and does not answer (the
        place is kept: read again later), BlockDamaged and MasterKeyMissing.
        """
        ...


class Source(Protocol):
    """One stream, by the ARN that a mapping was made with."""

    arn: str
    region: str

    async def identity(self) -> str:
        """Give what differs between this stream and one of the same name made later. Raises as ``Cursor.read``."""
        ...

    async def shards(self) -> list[SourceShard]:
        """List all shards that may hold something, the closed ones too. Raises as ``Cursor.read``."""
        ...

    async def pin(self, shard_id: str, start: Start) -> Start:
        """Turn a start at LATEST into one that does not move, as far as the stream can. Raises as ``Cursor.read``."""
        ...

    async def open(self, shard_id: str, start: Start) -> Cursor:
        """Open a shard. Raises as ``Cursor.read``."""
        ...

    async def lag(self, shard_id: str, start: Start) -> Lag:
        """Tell how far a place is behind. Raises as ``Cursor.read``."""
        ...


class FindsSources(Protocol):
    """Knows how to reach streams."""

    def source_of(self, arn: str) -> Source:
        """Give the stream of an ARN, whether it exists or not. Raises TargetUnknown for one that cannot be reached."""
        ...
