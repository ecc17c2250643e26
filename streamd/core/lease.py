"""A group of readers as values: its members, its shards' leases with their epochs, and how far each was read.

Every change of owner gives a lease a greater **epoch**, so that what a former owner still says is told from what the
present one says.
"""

from dataclasses import dataclass
from typing import Final

__all__ = [
    "AT_END",
    "TRIM_HORIZON",
    "Lease",
    "Member",
    "Place",
    "Snapshot",
    "Start",
    "is_behind",
    "place_at_time",
    "time_of_place",
]

Place = str
"""How far a shard was read: ``"TRIM_HORIZON"`` before anything was, a time as ``"AT:<milliseconds since 1970>"`` (read
from the first record that arrived then or later), ``AT_END`` after its last record, else the sequence number of the
last record that need not be read again."""

TRIM_HORIZON: Final[Place] = "TRIM_HORIZON"
"""The place before the oldest record that a shard still holds."""

AT_END: Final[Place] = "SHARD_END"
"""The place of a shard that was closed and is read to its end: only then are its children read."""

_TIME_MARK: Final = "AT:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a new group begins: ``"TRIM_HORIZON"``, or at a time (LATEST is the time at which the group was made)."""

    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A shard's lease. ``owner`` is a member's id, None while nobody reads the shard."""

    shard_id: str
    parent_ids: tuple[str, ...]
    owner: str | None
    epoch: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member. Its beat grows while it lives; ``about`` is for people (host and process)."""

    member_id: str
    beat: int
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A group at one moment."""

    start: Start
    members: tuple[Member, ...]
    leases: tuple[Lease, ...]


def place_at_time(time_ms: int) -> Place:
    """Write a time, in milliseconds since 1970, as a place."""
    return f"{_TIME_MARK}{time_ms}"


def time_of_place(place: Place) -> int | None:
    """Give the milliseconds since 1970 of a place that is a time; None for one that is none."""
    return int(place.removeprefix(_TIME_MARK)) if place.startswith(_TIME_MARK) else None


def is_behind(place: Place, other: Place) -> bool:
    """Tell whether a place lies before another of the same shard, as far as places alone tell.

    The beginning and times lie before every record and in no order among themselves; the end lies behind all.
    """
    return _order(place) < _order(other)


def _order(place: Place) -> tuple[int, int]:
    if place == AT_END:
        return 2, 0
    return (1, int(place)) if place.isdigit() else (0, 0)
