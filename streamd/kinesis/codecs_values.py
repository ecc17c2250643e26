"""Records in columns: beside `bytes` and `Timestamp` what answers hold and plain JSON does not know.

An answer is a plain dictionary, and each codec writes these in AWS's own form. Records come as columns, because ten
thousand of them are written in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RecordColumns"]


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
