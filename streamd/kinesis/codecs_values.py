"""The values that answers hold and plain JSON does not know: moments, and records in columns.

An answer is a plain dictionary in which blobs are `bytes` and moments are `Timestamp`; each codec writes
both in AWS's own form. Records come as columns, because ten thousand of them are written in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RecordColumns", "Timestamp"]


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A moment, in milliseconds since 1970."""

    ms: int


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """Records as GetRecords answers them, one sequence per member, all of one length.

    A partition key is UTF-8. A record has none if it was put without one, into a stream that spreads by itself.
    """

    data: Sequence[bytes]
    partition_keys: Sequence[bytes | None]
    sequence_numbers: Sequence[str]
    arrivals_ms: Sequence[int]
    encrypted: Sequence[bool]
