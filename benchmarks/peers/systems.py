"""What a system under measurement is: started, given a stream, loaded, read back, stopped.

Systems differ in protocol and in what their acknowledgement promises; ``durability`` says the latter, because a rate
means nothing without it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.kinesis_calls import PutShape
from benchmarks.load import Load
from benchmarks.programs import Program

__all__ = ["LoadSettings", "Poller", "Stored", "System"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a stream holds, counted by the system itself or by reading."""

    record_count: int
    byte_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How hard and how long; ``pipeline`` is for the protocols that have pipelines instead of batches."""

    connection_count: int
    duration_s: float
    pipeline: int = 1


class Poller(Protocol):
    """A producer and a consumer of one stream."""

    def put(self, data: bytes) -> None:
        """Put a record and wait until it is acknowledged."""
        ...

    def poll(self) -> list[bytes]:
        """Read what came since the last poll, or nothing."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class System(Protocol):
    """A system under measurement."""

    name: str
    durability: str
    speaks_kinesis: bool
    is_ours: bool
    program: Program | None

    def absence(self) -> str | None:
        """Give the command that installs what is missing; None when it is all there."""
        ...

    def version(self) -> str:
        """Tell the version."""
        ...

    def start(self, folder: Path) -> float:
        """Start it on this folder, whatever is in it; the seconds until its first answer."""
        ...

    def stop(self) -> None:
        """Stop it, if it runs."""
        ...

    def create(self, stream: str, *, shard_count: int) -> None:
        """Make a stream; shards only where there are any."""
        ...

    def drop(self, stream: str) -> None:
        """Remove a stream with its data."""
        ...

    def put_load(self, stream: str, shape: PutShape, settings: LoadSettings) -> Load:
        """Give the load of puts."""
        ...

    def stored(self, stream: str) -> Stored:
        """Count what a stream holds."""
        ...

    def read_load(self, stream: str, settings: LoadSettings, *, limit: int, codec: str) -> Load | None:
        """Give the load of reads of a stream that nobody puts to meanwhile; None when it has no such call."""
        ...

    def mixed_load(self, stream: str, shape: PutShape, settings: LoadSettings, *, limit: int) -> Load | None:
        """Give the load of four puts to one read from the oldest record on; None when it has no such call."""
        ...

    def poller(self, stream: str) -> Poller | None:
        """Give a producer and consumer; None when it is not read by polling."""
        ...
