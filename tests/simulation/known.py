"""What clients know: what they sent, what was acknowledged, what they were shown; and what is wrong with a reading.

Every payload is sent once (or again with its token), so a record that is read tells by itself whose it is. Moments are
steps of the story, counted here, so that before and after are never in doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulation.known_group import KnownGroup

__all__ = ["HOUR_MS", "Began", "Known", "Retention", "Row", "Sent", "StreamLife"]

HOUR_MS = 3_600_000
_PUT_MEMORY_MS = 900_000


class Began(NamedTuple):
    """A moment: what the wall clock said, and how often it had been set."""

    now_ms: int
    set_count: int


class Row(NamedTuple):
    """A record as it was read."""

    shard_id: str
    sequence_number: int
    key: str
    data: bytes
    arrival_ms: int


@dataclass(slots=True, kw_only=True)
class Sent:
    """A record that was sent; ``sent_ms`` is the lowest time of the wall clock before its answer came.

    ``is_sealed`` tells that it must be stored encrypted.
    """

    stream: str
    order: tuple[int, int, int]
    key: str
    sent_at: int
    sent_ms: int
    sent_true_ms: int
    has_token: bool = False
    is_sealed: bool = False
    ended_at: int | None = None
    ended_true_ms: int | None = None
    place: tuple[str, int] | None = None


@dataclass(slots=True)
class Retention:
    """How long a stream keeps records: while a change is under way either of two times may hold."""

    hours: tuple[int, ...] = (24,)
    _gone_ms: int = 0

    def may_become(self, hours: int, *, now_ms: int) -> None:
        """Note that a change was asked for."""
        self.pass_by(now_ms)
        self.hours = (*self.hours, hours)

    def became(self, hours: int, *, now_ms: int) -> None:
        """Note what holds from now on."""
        self.pass_by(now_ms)
        self.hours = (hours,)

    def gone_ms(self, now_ms: int) -> int:
        """Give the time before which records may be gone: what is gone once does not come back."""
        self.pass_by(now_ms)
        return self._gone_ms

    def expired_ms(self, now_ms: int) -> int:
        """Give the time before which nothing may be shown any more."""
        return now_ms - max(self.hours) * HOUR_MS

    def pass_by(self, now_ms: int) -> None:
        """Note what the wall clock says: it may be set back after it."""
        self._gone_ms = max(self._gone_ms, now_ms - min(self.hours) * HOUR_MS)


@dataclass(slots=True, kw_only=True)
class StreamLife:
    """A stream from its creation to its deletion; there may be others of its name before and after it."""

    asked_at: int
    asked: Began
    made_at: int | None = None
    new_ms: tuple[int, int] = (0, 0)
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
    group: KnownGroup = field(init=False)
    is_sealing: bool = False
    sealed_count: int = 0
    highest_ms: int = 0
    set_to_ms: list[int] = field(default_factory=list)
    acknowledged_count: int = 0
    repeat_count: int = 0
    read_count: int = 0

    def __post_init__(self) -> None:
        self.group = KnownGroup(self.faults)

    def tick(self) -> int:
        """Give the next moment."""
        self.step += 1
        return self.step

    def clock_was_set(self, *, before_ms: int, after_ms: int) -> None:
        """Note that the wall clock was set."""
        self.highest_ms = max(self.highest_ms, before_ms, after_ms)
        self.set_to_ms.append(after_ms)
        for life in self.lives.values():
            life.retention.pass_by(before_ms)
        for sent in self.sent.values():
            if sent.place is None:
                sent.sent_ms = min(sent.sent_ms, after_ms)

    def sealing_may_stop(self) -> None:
        """Note that what has no answer yet, and what is put from now on, may be stored as it is."""
        self.is_sealing = False
        for sent in self.sent.values():
            if sent.place is None:
                sent.is_sealed = False

    def look_at_disk(self, stored: bytes) -> None:
        """Look whether anything can be read, in all that is stored, that must be encrypted."""
        for data, sent in self.sent.items():
            if sent.is_sealed and sent.place is not None:
                self.sealed_count += 1
                if data in stored:
                    self.faults.append(f"{data!r} lies on the disk as it is")

    def lowest_ms(self, began: Began) -> int:
        """Give the lowest time that the wall clock told since a moment."""
        return min([began.now_ms, *self.set_to_ms[began.set_count :]])

    def note_made(self, life: StreamLife, *, active_ms: int) -> None:
        """Note that a stream is there from now on, and by what time of the wall clock it must be ACTIVE."""
        life.made_at, life.doomed_at = self.tick(), None
        life.new_ms = self.lowest_ms(life.asked), active_ms

    def may_be_new(self, life: StreamLife, began: Began, *, now_ms: int) -> bool:
        """Tell whether since a moment a stream may have been CREATING, for the first time or by a clock set back."""
        highest_ms = max([began.now_ms, now_ms, *self.set_to_ms[began.set_count :]])
        return self.lowest_ms(began) < life.new_ms[1] and life.new_ms[0] <= highest_ms

    def began(self, now_ms: int) -> Began:
        """Give the present moment, with what the wall clock says."""
        return Began(now_ms, len(self.set_to_ms))

    def acknowledge(self, data: bytes, place: tuple[str, int], *, newest: dict[str, int], true_ms: int) -> None:
        """Note where a record was stored; ``newest`` are the numbers known by shard when it was sent."""
        sent = self.sent[data]
        sent.ended_at, sent.ended_true_ms, sent.place = self.tick(), true_ms, place
        self.acknowledged_count += 1
        shard_id, number = place
        if not sent.has_token and number <= newest.get(shard_id, -1):
            self.faults.append(f"{data!r} got {number} in {shard_id}, not above {newest[shard_id]}")
        life = self.lives[sent.stream]
        if life.made_at is not None and life.made_at < sent.sent_at and life.doomed_at is None:
            life.newest[shard_id] = max(number, life.newest.get(shard_id, -1))

    def look(self, stream: str, rows: Iterable[Row], *, began: Began, now_ms: int) -> None:
        """Look at records of one stream that were read; those of a shard in the order in which they came."""
        life = self.lives[stream]
        expired_ms = life.retention.expired_ms(self.lowest_ms(began))
        self.highest_ms = max(self.highest_ms, now_ms)
        last: dict[str, int] = {}
        last_arrival_ms: dict[str, int] = {}
        orders: dict[tuple[str, int], tuple[int, int]] = {}
        for row in rows:
            self.read_count += 1
            if row.sequence_number <= last.get(row.shard_id, -1):
                self.faults.append(f"{row} comes after {last[row.shard_id]}")
            last[row.shard_id] = row.sequence_number
            if not last_arrival_ms.get(row.shard_id, 0) <= row.arrival_ms <= self.highest_ms:
                self.faults.append(f"{row} arrived before {last_arrival_ms.get(row.shard_id)} or in the future")
            last_arrival_ms[row.shard_id] = row.arrival_ms
            if row.sequence_number > life.end_by_shard.get(row.shard_id, row.sequence_number):
                self.faults.append(f"{row} is in a shard that had come to its end before it")
            if row.arrival_ms < expired_ms:
                self.faults.append(f"{row} had expired at {began.now_ms}")
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
            if not self.may_be_doubled(sent) and (order[0], order[1]) <= orders.get(of_producer, (-1, -1)):
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
        return len(same) > 1 and not self.may_be_doubled(self.sent.get(data))

    def may_be_doubled(self, sent: Sent | None) -> bool:
        """Tell whether a record was repeated so late that it may have been stored again.

        A token is remembered for a quarter of an hour, whatever the wall clock says.
        """
        if sent is None or not sent.has_token:
            return False
        return sent.ended_true_ms is None or sent.ended_true_ms - sent.sent_true_ms >= _PUT_MEMORY_MS
