"""What clients know: what they sent, what was acknowledged, what they were shown; and what is wrong with a reading.

Every payload is sent once (or again with its token), so a record that is read tells by itself whose it is. Moments are
steps of the story, counted here, so that before and after are never in doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["HOUR_MS", "Known", "Retention", "Row", "Sent", "StreamLife"]

HOUR_MS = 3_600_000
_PUT_MEMORY_MS = 900_000


class Row(NamedTuple):
    """A record as it was read."""

    shard_id: str
    sequence_number: int
    key: str
    data: bytes
    arrival_ms: int


@dataclass(slots=True, kw_only=True)
class Sent:
    """A record that was sent."""

    stream: str
    order: tuple[int, int, int]
    key: str
    sent_at: int
    sent_ms: int
    has_token: bool = False
    ended_at: int | None = None
    ended_ms: int | None = None
    place: tuple[str, int] | None = None


@dataclass(slots=True)
class Retention:
    """How long a stream keeps records: while a change is under way either of two times may hold."""

    hours: tuple[int, ...] = (24,)
    _gone_ms: int = 0

    def may_become(self, hours: int, *, now_ms: int) -> None:
        """Note that a change was asked for."""
        self._pass(now_ms)
        self.hours = (*self.hours, hours)

    def became(self, hours: int, *, now_ms: int) -> None:
        """Note what holds from now on."""
        self._pass(now_ms)
        self.hours = (hours,)

    def gone_ms(self, now_ms: int) -> int:
        """Give the time before which records may be gone: what is gone once does not come back."""
        self._pass(now_ms)
        return self._gone_ms

    def expired_ms(self, now_ms: int) -> int:
        """Give the time before which nothing may be shown any more."""
        return now_ms - max(self.hours) * HOUR_MS

    def _pass(self, now_ms: int) -> None:
        self._gone_ms = max(self._gone_ms, now_ms - min(self.hours) * HOUR_MS)


@dataclass(slots=True, kw_only=True)
class StreamLife:
    """A stream from its creation to its deletion; there may be others of its name before and after it."""

    asked_at: int
    made_at: int | None = None
    doomed_at: int | None = None
    retention: Retention = field(default_factory=Retention)
    seen: dict[tuple[str, int], tuple[Row, int]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    end_by_shard: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Known:
    """All of it, and the faults that were found."""

    step: int = 0
    sent: dict[bytes, Sent] = field(default_factory=dict)
    lives: dict[str, StreamLife] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    acknowledged_count: int = 0
    repeat_count: int = 0
    read_count: int = 0

    def tick(self) -> int:
        """Give the next moment."""
        self.step += 1
        return self.step

    def acknowledge(self, data: bytes, place: tuple[str, int], *, newest: dict[str, int], now_ms: int) -> None:
        """Note where a record was stored; ``newest`` are the numbers known by shard when it was sent."""
        sent = self.sent[data]
        sent.ended_at, sent.ended_ms, sent.place = self.tick(), now_ms, place
        self.acknowledged_count += 1
        shard_id, number = place
        if not sent.has_token and number <= newest.get(shard_id, -1):
            self.faults.append(f"{data!r} got {number} in {shard_id}, not above {newest[shard_id]}")
        life = self.lives[sent.stream]
        if life.made_at is not None and life.made_at < sent.sent_at and life.doomed_at is None:
            life.newest[shard_id] = max(number, life.newest.get(shard_id, -1))

    def look(self, stream: str, rows: Iterable[Row], *, began_ms: int) -> None:
        """Look at records of one stream that were read; those of a shard in the order in which they came."""
        life = self.lives[stream]
        expired_ms = life.retention.expired_ms(began_ms)
        last: dict[str, int] = {}
        orders: dict[tuple[str, int], tuple[int, int]] = {}
        for row in rows:
            self.read_count += 1
            if row.sequence_number <= last.get(row.shard_id, -1):
                self.faults.append(f"{row} comes after {last[row.shard_id]}")
            last[row.shard_id] = row.sequence_number
            if row.sequence_number > life.end_by_shard.get(row.shard_id, row.sequence_number):
                self.faults.append(f"{row} is in a shard that had come to its end before it")
            if row.arrival_ms < expired_ms:
                self.faults.append(f"{row} had expired at {began_ms}")
            sent = self.sent.get(row.data)
            if sent is None or sent.key != row.key or sent.stream != stream:
                self.faults.append(f"{row} was never sent")
                continue
            if not sent.sent_ms <= row.arrival_ms:
                self.faults.append(f"{row} arrived before it was sent")
            if life.made_at is not None and sent.ended_at is not None and sent.ended_at < life.asked_at:
                self.faults.append(f"{row} is from a stream that was deleted")
            producer, *order = sent.order
            of_producer = row.shard_id, producer
            is_late_twin = sent.has_token and row.arrival_ms - sent.sent_ms >= _PUT_MEMORY_MS
            if not is_late_twin and (order[0], order[1]) <= orders.get(of_producer, (-1, -1)):
                self.faults.append(f"{row} comes after {orders[of_producer]} of its producer")
            orders[of_producer] = order[0], order[1]
            if life.doomed_at is None:
                life.seen.setdefault((row.shard_id, row.sequence_number), (row, self.tick()))

    def note_end(self, stream: str, shard_id: str, rows: Sequence[Row]) -> None:
        """Note that a closed shard was read to its end: nothing may come into it any more."""
        self.lives[stream].end_by_shard.setdefault(shard_id, rows[-1].sequence_number if rows else -1)

    def require(self, stream: str, rows: Iterable[Row], *, before: int, ended_ms: int) -> None:
        """Look whether a whole reading has what was acknowledged or shown before a moment, each once."""
        life = self.lives[stream]
        found: dict[bytes, list[Row]] = {}
        for row in rows:
            found.setdefault(row.data, []).append(row)
        doubled = [same for data, same in found.items() if self._is_doubled(data, same)]
        self.faults += [f"stored {len(same)} times: {same}" for same in doubled]
        if life.made_at is None or life.doomed_at is not None:
            return
        gone_ms = life.retention.gone_ms(ended_ms)
        for data, sent in self.sent.items():
            if sent.stream != stream or sent.place is None or sent.sent_at < life.made_at:
                continue
            if sent.ended_at is None or sent.ended_at >= before or sent.sent_ms < gone_ms:
                continue
            if sent.place not in [(row.shard_id, row.sequence_number) for row in found.get(data, ())]:
                self.faults.append(f"{data!r} was acknowledged at {sent.place} and is {found.get(data, 'lost')}")
        for place, (row, seen_at) in life.seen.items():
            if seen_at < before and row.arrival_ms >= gone_ms and row not in found.get(row.data, ()):
                self.faults.append(f"{row} was shown at {place} and is gone")

    def _is_doubled(self, data: bytes, same: list[Row]) -> bool:
        if len(same) == 1:
            return False
        sent = self.sent.get(data)
        # A token is remembered for a quarter of an hour: whoever repeats it after that has it stored again.
        return sent is None or not sent.has_token or same[-1].arrival_ms - same[0].arrival_ms < _PUT_MEMORY_MS
