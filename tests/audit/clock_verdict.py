"""What one producer put under a clock that jumps, held against what was read: the faults, as sentences.

There is one producer, so what was acknowledged has one order. The highest time that the clock told after each record
was put is kept with it: a record may be gone only once that is a retention period past its arrival.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.audit.verdict import ReadBack, disorder_in

__all__ = ["RETENTION_MS", "Ledger", "arrival_ms_of"]

RETENTION_MS = 24 * 3_600_000


@dataclass(slots=True)
class _Put:
    """A record that was acknowledged; it arrived at ``arrived_ms`` or later, and was told times up to ``high_ms``."""

    number: int
    arrived_ms: int
    high_ms: int


@dataclass(slots=True)
class Ledger:
    """All that the producer knows of a stream."""

    attempted: set[bytes] = field(default_factory=set)
    puts_by_shard: dict[str, dict[bytes, _Put]] = field(default_factory=dict)
    last_arrival_ms: dict[str, int] = field(default_factory=dict)
    high_ms: int = 0

    def saw(self, now_ms: int) -> None:
        """Note what the clock says, before and after each change of it."""
        self.high_ms = max(self.high_ms, now_ms)
        for puts in self.puts_by_shard.values():
            for put in puts.values():
                put.high_ms = max(put.high_ms, now_ms)

    def acknowledged(self, text: bytes, shard_id: str, number: str, *, since_ms: int) -> list[str]:
        """Note an answer to a put that was sent at ``since_ms``; a fault if it is out of order."""
        puts = self.puts_by_shard.setdefault(shard_id, {})
        last = next(reversed(puts.values())).number if puts else 0
        arrived_ms = max(since_ms, self.last_arrival_ms.get(shard_id, 0))
        puts[text] = _Put(int(number), arrived_ms, since_ms)
        return [] if last < int(number) else [f"{shard_id}: {number} was acknowledged after {last}"]

    def acknowledged_since(self, shard_id: str, number: int) -> list[int]:
        """List the sequence numbers of a shard that were acknowledged after this one."""
        return [put.number for put in self.puts_by_shard.get(shard_id, {}).values() if put.number > number]

    def may_vanish(self, record: ReadBack) -> bool:
        """Tell whether the clock ever said that a record had expired: what removes it may be under way."""
        return arrival_ms_of(record) < self.high_ms - RETENTION_MS

    def faults_in(
        self, records_by_shard: Mapping[str, Sequence[ReadBack]], *, since_ms: int, until_ms: int
    ) -> list[str]:
        """Judge a whole stream, read between these two times."""
        self.saw(until_ms)
        faults: list[str] = []
        seen: set[bytes] = set()
        for shard_id, records in records_by_shard.items():
            faults += disorder_in(shard_id, records)
            for record in records:
                place = f"{shard_id} {record.sequence_number}"
                put = self.puts_by_shard.get(shard_id, {}).get(record.text)
                if record.text in seen:
                    faults.append(f"{place} is there twice")
                if record.text not in self.attempted or (put and put.number != int(record.sequence_number)):
                    faults.append(f"{place} is not what was put")
                if arrival_ms_of(record) < since_ms - RETENTION_MS:
                    faults.append(f"{place} is there although it has expired")
                if put and arrival_ms_of(record) < put.arrived_ms:
                    faults.append(f"{place} arrived before it was put")
                seen.add(record.text)
            if records:
                self.last_arrival_ms[shard_id] = arrival_ms_of(records[-1])
        for shard_id in self.puts_by_shard:
            faults += self._losses(shard_id, {record.text for record in records_by_shard.get(shard_id, ())})
        return faults

    def _losses(self, shard_id: str, found: set[bytes]) -> Iterator[str]:
        is_present = False
        for text, put in self.puts_by_shard[shard_id].items():
            is_present = is_present or text in found
            if text in found:
                continue
            if is_present:
                yield f"{shard_id} {put.number} is missing behind a record that is there"
            elif put.high_ms - RETENTION_MS <= put.arrived_ms:
                age_s = (put.high_ms - put.arrived_ms) / 1000
                yield f"{shard_id} {put.number} is gone although by no clock it was older than {age_s:,.0f} s"


def arrival_ms_of(record: ReadBack) -> int:
    """Give a record's arrival in whole milliseconds."""
    return round(record.arrival_s * 1000)
