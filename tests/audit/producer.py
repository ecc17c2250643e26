"""One producer of an audit, in a process of its own: ``python -m tests.audit.producer PORT FOLDER NUMBER SEED``.

It puts single records and batches to the streams that the file ``streams`` in the folder names, until that file is
gone. Each attempt is in its journal, synced, before it is sent, and each answer before the next attempt. What failed
is sometimes tried once more, as another attempt, and sometimes given up, as programs do.
"""

import sys
import threading
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from tests.audit.journals import Journal
from tests.audit.records import NOTHING, AuditRecord, Chain
from tests.workers.wire import Answered, Wire

__all__ = ["journal_path", "main", "streams_path"]

_KEY_COUNT = 5
_BATCHES = (1, 1, 1, 6, 25)
_SIZES = (0, 1, 90, 2_000, 20_000)
_TRIES = (1, 1, 2, 3)
_PAUSE_S = 0.02
# The first of the streams is the one that is audited most.
_FIRST_SHARE = 0.85
_CALLS_PER_CONNECTION = 50


@dataclass(frozen=True, slots=True)
class _Port:
    port: int


@dataclass(slots=True)
class _Producer:
    folder: Path
    number: int
    random: Random
    journal: Journal
    call_count: int = 0
    last_number: dict[Chain, int] = field(default_factory=dict)
    last_digest: dict[Chain, str] = field(default_factory=dict)

    def run(self, wire: Wire) -> None:
        """Put until the audit is over."""
        pause = threading.Event()
        while streams := self._streams():
            stream = streams[0] if self.random.random() < _FIRST_SHARE else self.random.choice(streams)
            records = self._new(stream, self.random.choice(_BATCHES))
            last_try = self.call_count + self.random.choice(_TRIES)
            while not self._put(wire, records) and self.call_count < last_try:
                wire.close()
                # The server is away for a moment; asking without a pause would only heat the machine.
                pause.wait(_PAUSE_S)
            if self.call_count % _CALLS_PER_CONNECTION == 0:
                wire.close()

    def _streams(self) -> list[str]:
        try:
            return streams_path(self.folder).read_text().split()
        except FileNotFoundError:
            return []

    def _new(self, stream: str, count: int) -> list[AuditRecord]:
        records = []
        for _ in range(count):
            chain = Chain(stream, f"{self.number}-{self.random.randrange(_KEY_COUNT)}")
            self.last_number[chain] = self.last_number.get(chain, 0) + 1
            records.append(
                AuditRecord(
                    chain=chain,
                    number=self.last_number[chain],
                    attempt=0,
                    previous=self.last_digest.get(chain, NOTHING),
                    filler_byte_count=self.random.choice(_SIZES),
                )
            )
        return records

    def _put(self, wire: Wire, made: Sequence[AuditRecord]) -> bool:
        self.call_count += 1
        records = [replace(record, attempt=self.call_count) for record in made]
        self.journal.attempted(records)
        try:
            places = _places(wire, records)
        except (OSError, HTTPException, Answered) as error:
            self.journal.failed(error.code if isinstance(error, Answered) else type(error).__name__)
            return False
        self.journal.answered(places)
        for record, place in zip(records, places, strict=True):
            if place is not None:
                self.last_digest[record.chain] = record.digest
        return None not in places


def streams_path(folder: Path) -> Path:
    """Give the file that names the streams; without it producers end."""
    return folder / "streams"


def journal_path(folder: Path, number: int) -> Path:
    """Give a producer's journal."""
    return folder / f"producer-{number}.journal"


def main(argv: Sequence[str]) -> int:
    """Produce."""
    port, folder, number, seed = argv
    path = journal_path(Path(folder), int(number))
    with Journal(path) as journal, Wire(_Port(int(port))) as wire:
        _Producer(Path(folder), int(number), Random(f"{seed}/{number}"), journal).run(wire)
    return 0


def _places(wire: Wire, records: Sequence[AuditRecord]) -> list[tuple[str, str] | None]:
    """Put, and give where each went; None for what was refused."""
    stream = records[0].chain.stream
    rows: list[dict[str, Any]] = [
        {"PartitionKey": record.chain.key, "Data": b64encode(record.text).decode()} for record in records
    ]
    if len(rows) == 1:
        answer = wire.ask("PutRecord", StreamName=stream, **rows[0])
        return [(answer["ShardId"], answer["SequenceNumber"])]
    answer = wire.ask("PutRecords", StreamName=stream, Records=rows)
    return [None if "ErrorCode" in row else (row["ShardId"], row["SequenceNumber"]) for row in answer["Records"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
