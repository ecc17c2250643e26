"""Leases: which member of a group reads which shard, how far it came, and where that is kept.

A **group** reads one stream together. Each shard has one **lease**, which one **member** at a time owns. Every change
of owner gives the lease a greater **epoch**; what a former owner still says under an old epoch is refused, so a
process that was stopped and wakes up again can spoil nothing (fencing).

No clock is compared between machines: a member shows that it lives by raising its beat, and whoever has seen the same
beat for too long on a clock of its own may take its leases. The store decides every change alone, by compare-and-set.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from streamd.core.lease import AT_END, Lease, Member, Place, Snapshot, Start

__all__ = ["AT_END", "Lease", "LeaseStore", "Member", "Place", "Snapshot", "Start"]


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

        Asked again by the member that got it so, it gives the same lease: the first answer may have been lost.
        Raises LeaseLost when it has another epoch by now.
        """
        ...

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move an owner's place, durably, and with ``release`` also give the lease up.

        A release that is asked for again, since its answer may have been lost, is no error before the next owner comes.
        Raises LeaseLost when the lease has another owner or epoch by now, and PlaceBehind when the place lies before
        the present one, which only ``seek`` goes back from: then nothing was changed.
        """
        ...

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move the places of leases, whoever owns them: each loses its owner and gets the next epoch.

        Gives the shards that were moved, sorted: those that have a lease.
        """
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
