"""What producers noted: every attempt before it was sent, every answer before the next one; each line synced.

A line is a JSON array: what it is of, the time (nanoseconds of the machine's monotonic clock, which all processes
share), and the rest. A producer writes one file; the audit reads along.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from tests.audit.records import AuditRecord, Chain

__all__ = ["Attempt", "Journal", "JournalReader", "Known"]


class Journal:
    """A producer's own file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def attempted(self, records: Sequence[AuditRecord]) -> None:
        """Note what is sent next."""
        rows = [[*r.chain, r.number, r.attempt, r.previous, r.filler_byte_count] for r in records]
        self._write("attempted", rows)

    def answered(self, places: Sequence[tuple[str, str] | None]) -> None:
        """Note, for each record of the attempt, shard and sequence number; None when it was refused."""
        self._write("answered", places)

    def failed(self, reason: str) -> None:
        """Note that no answer came, or one that says no."""
        self._write("failed", reason)

    def _write(self, kind: str, rest: Any) -> None:
        self._file.write(orjson.dumps([kind, time.monotonic_ns(), rest]) + b"\n")
        os.fdatasync(self._file.fileno())


@dataclass(slots=True)
class Attempt:
    """An attempt and what became of it: ``place`` is shard and sequence number once it was acknowledged."""

    record: AuditRecord
    sent_ns: int
    place: tuple[str, str] | None = None
    acknowledged_ns: int | None = None


@dataclass(slots=True)
class Known:
    """All that producers know, by the record's digest."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    acknowledged_count: int = 0
    failure_count: int = 0

    def of_stream(self, stream: str) -> dict[str, Attempt]:
        """Give the attempts to put to a stream."""
        return {digest: each for digest, each in self.attempts.items() if each.record.chain.stream == stream}

    def forget_stream(self, stream: str) -> None:
        """Forget a stream that is gone, so that a long audit does not grow."""
        for digest in self.of_stream(stream):
            del self.attempts[digest]


class JournalReader:
    """Reads along with producers."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self._offset_by_path = dict.fromkeys(self._paths, 0)
        self._last_by_path: dict[Path, list[Attempt]] = {}
        self.known = Known()

    def read(self) -> Known:
        """Take in what was noted since the last time."""
        for path in self._paths:
            for kind, time_ns, rest in self._lines(path):
                self._take(path, kind, time_ns, rest)
        return self.known

    def _lines(self, path: Path) -> Iterator[tuple[str, int, Any]]:
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._offset_by_path[path])
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset_by_path[path] += len(whole)
        for line in whole.splitlines():
            kind, time_ns, rest = orjson.loads(line)
            yield kind, time_ns, rest

    def _take(self, path: Path, kind: str, time_ns: int, rest: Any) -> None:
        match kind:
            case "attempted":
                self._last_by_path[path] = [Attempt(_record(row), time_ns) for row in rest]
                for attempt in self._last_by_path[path]:
                    self.known.attempts[attempt.record.digest] = attempt
            case "answered":
                for attempt, place in zip(self._last_by_path[path], rest, strict=True):
                    if place is not None:
                        attempt.place = (place[0], place[1])
                        attempt.acknowledged_ns = time_ns
                        self.known.acknowledged_count += 1
            case _:
                self.known.failure_count += 1


def _record(row: Sequence[Any]) -> AuditRecord:
    stream, key, number, attempt, previous, filler = row
    return AuditRecord(
        chain=Chain(stream, key), number=number, attempt=attempt, previous=previous, filler_byte_count=filler
    )
