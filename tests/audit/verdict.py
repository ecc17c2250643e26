"""Holds what was read of a stream against what its producers know: the faults, as sentences.

Looked at is a whole stream, read between two looks at the journals. What was acknowledged before the first must be
there, and what is there must have been attempted before the second.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.audit.journals import Attempt
from tests.audit.records import NOTHING, AuditRecord, Chain, parse

__all__ = ["Life", "ReadBack", "disorder_in", "faults_in"]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A record as it was read; the arrival is in Unix seconds."""

    shard_id: str
    sequence_number: str
    key: str
    text: bytes
    arrival_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A stream's life: when the one before it of that name began to be deleted, and when it was there, in nanoseconds.

    ``looked_ns`` is when the journals were looked at before the stream was read.
    """

    stream: str
    deleted_ns: int = 0
    created_ns: int = 0
    looked_ns: int


def faults_in(
    records_by_shard: Mapping[str, Sequence[ReadBack]], attempts: Mapping[str, Attempt], life: Life
) -> list[str]:
    """Give everything that is not as promised; nothing, if all is well."""
    faults: list[str] = []
    found: dict[str, ReadBack] = {}
    by_chain: dict[Chain, list[tuple[int, AuditRecord]]] = {}
    for shard_id, records in records_by_shard.items():
        faults += disorder_in(shard_id, records)
        for record in records:
            parsed = parse(record.text)
            if parsed is None:
                faults.append(f"{_place(record)} was altered")
            elif parsed.digest in found:
                faults.append(f"{_place(record)} is there twice, also at {_place(found[parsed.digest])}")
            else:
                found[parsed.digest] = record
                by_chain.setdefault(parsed.chain, []).append((int(record.sequence_number), parsed))
                faults += _faults_of_record(record, parsed, attempts.get(parsed.digest), life)
    faults += _losses(found, attempts, life)
    for chain, links in by_chain.items():
        faults += _faults_of_chain(
            chain, [parsed for _, parsed in sorted(links, key=lambda link: link[0])], attempts, life
        )
    return faults


def disorder_in(shard_id: str, records: Sequence[ReadBack]) -> Iterator[str]:
    """Give what is out of order in one shard: sequence numbers only grow, and arrivals never go back."""
    for before, record in pairwise(records):
        if int(before.sequence_number) >= int(record.sequence_number):
            yield f"{shard_id}: {record.sequence_number} follows {before.sequence_number}"
        if before.arrival_s > record.arrival_s:
            yield f"{shard_id}: {record.sequence_number} arrived before {before.sequence_number}"


def _faults_of_record(record: ReadBack, parsed: AuditRecord, attempt: Attempt | None, life: Life) -> Iterator[str]:
    if attempt is None:
        yield f"{_place(record)} was never attempted"
        return
    if (life.stream, record.key) != parsed.chain:
        yield f"{_place(record)} belongs to {parsed.chain}, and was read of {life.stream} under {record.key}"
    if attempt.place is not None and attempt.place != (record.shard_id, record.sequence_number):
        yield f"{_place(record)} was acknowledged as {attempt.place}"
    if attempt.acknowledged_ns is not None and attempt.acknowledged_ns < life.deleted_ns:
        yield f"{_place(record)} is back, although its stream was deleted"


def _losses(found: Mapping[str, ReadBack], attempts: Mapping[str, Attempt], life: Life) -> Iterator[str]:
    for digest, attempt in attempts.items():
        acknowledged_ns = attempt.acknowledged_ns
        if acknowledged_ns is None or acknowledged_ns > life.looked_ns or attempt.sent_ns < life.created_ns:
            continue
        if digest not in found:
            record = attempt.record
            yield f"{record.chain} number {record.number} was acknowledged as {attempt.place} and is lost"


def _faults_of_chain(
    chain: Chain, links: Sequence[AuditRecord], attempts: Mapping[str, Attempt], life: Life
) -> Iterator[str]:
    seen: set[str] = set()
    before: AuditRecord | None = None
    for link in links:
        if before is not None and before.place >= link.place:
            yield f"{chain}: what was sent as {link.place} follows {before.place}"
        attempt = attempts.get(link.digest)
        is_late = attempt is None or attempt.sent_ns > life.looked_ns
        # What came before it may have been deleted with an earlier stream, or be read only the next time.
        if not is_late and link.previous not in seen and not _is_of_an_earlier_life(link.previous, attempts, life):
            yield f"{chain}: what was acknowledged before {link.place} is missing in front of it"
        seen.add(link.digest)
        before = link


def _is_of_an_earlier_life(digest: str, attempts: Mapping[str, Attempt], life: Life) -> bool:
    if digest == NOTHING:
        return True
    attempt = attempts.get(digest)
    return attempt is not None and attempt.sent_ns < life.created_ns


def _place(record: ReadBack) -> str:
    return f"{record.shard_id} {record.sequence_number}"
