"""Leases: which member of a group reads which shard, how far it came, and where that is kept.

A **group** reads one stream together. Each shard has one **lease**, which one **member** at a time owns. Every change
of owner gives the lease a greater **epoch**; what a former owner still says under an old epoch is refused, so a
process that was stopped and wakes up again can spoil nothing (fencing).

No clock is compared between machines: a member shows that it lives by raising its beat, and whoever has seen the same
beat for too long on a clock of its own may take its leases. The store decides every change alone, by compare-and-set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["AT_END", "Lease", "LeaseStore", "Member", "Place", "Snapshot", "Start"]

Place = str
"""How far a shard was read: ``"TRIM_HORIZON"`` before anything was, a time as ``"AT:<milliseconds since 1970>"`` (read
from the first record that arrived then or later), ``AT_END`` after its last record, else the sequence number of the
last record that need not be read again."""

AT_END: Final[Place] = "SHARD_END"
"""The place of a shard that was closed and is read to its end: only then are its children read."""


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


class LeaseStore(Protocol):
    """Keeps the groups of a stream's readers. ``stream`` is its name.

    Every coroutine may raise ServiceRefused and ServiceUnreachable, and all but ``open_group`` and ``groups`` raise
    GroupNotFound for a group that is not there (any more).
    """

    async def open_group(self, stream: str, group: str, *, start: Start) -> Start:
        """Make a group, or find it as it is; gives where it began, which is the first caller's ``start``."""
        ...

    async def beat(self, stream: str, group: str, *, member_id: str, about: str) -> Snapshot:
        """Raise a member's beat (a member that is not known joins) and give the group as it is then."""
        ...

    async def snapshot(self, stream: str, group: str) -> Snapshot:
        """Give the group as it is."""
        ...

    async def add_leases(self, stream: str, group: str, *, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none yet; the others stay as they are."""
        ...

    async def acquire(self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int) -> Lease:
        """Take a lease that still has this epoch, from nobody or from its owner; it gets the next epoch.

        Raises LeaseLost when it has another epoch by now.
        """
        ...

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move an owner's place, durably, and with ``release`` also give the lease up.

        Raises LeaseLost when the lease has another owner or epoch by now: then nothing was changed.
        """
        ...

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> None:
        """Move the places of leases, whoever owns them: each loses its owner and gets the next epoch."""
        ...

    async def leave(self, stream: str, group: str, *, member_id: str) -> None:
        """Forget a member, and give up every lease that it still owns."""
        ...

    async def drop_leases(self, stream: str, group: str, *, shard_ids: Sequence[str]) -> None:
        """Forget leases of shards that no longer exist. Those of others, and missing ones, are no error."""
        ...

    async def groups(self, stream: str) -> list[str]:
        """List the names of a stream's groups, sorted."""
        ...

    async def delete_group(self, stream: str, group: str) -> None:
        """Forget a group, its members and leases. What its members still ask for is refused with GroupNotFound."""
        ...
