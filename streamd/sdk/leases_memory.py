"""Leases in the memory of one process: for tests, and for a program that is the only reader of its stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamd.core.lease import Lease, Member, Place, Snapshot, Start, is_behind
from streamd.errors import GroupNotFound, LeaseLost, PlaceBehind

__all__ = ["MemoryLeases"]


@dataclass(slots=True)
class _Group:
    start: Start
    members: dict[str, Member] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)


class MemoryLeases:
    """A LeaseStore that forgets everything with the process. No coroutine of it ever waits."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    async def open_group(self, stream: str, group: str, *, start: Start) -> Start:
        """Make a group, or find it as it is; gives where it began."""
        return self._groups.setdefault((stream, group), _Group(start)).start

    async def beat(self, stream: str, group: str, *, member_id: str, about: str) -> Snapshot:
        """Raise a member's beat and give the group as it is then. Raises GroupNotFound."""
        found = self._find(stream, group)
        before = found.members.get(member_id)
        beat = 1 if before is None else before.beat + 1
        found.members[member_id] = Member(member_id=member_id, beat=beat, about=about)
        return _snapshot(found)

    async def snapshot(self, stream: str, group: str) -> Snapshot:
        """Give the group as it is. Raises GroupNotFound."""
        return _snapshot(self._find(stream, group))

    async def add_leases(self, stream: str, group: str, *, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none yet. Raises GroupNotFound."""
        found = self._find(stream, group)
        for lease in leases:
            found.leases.setdefault(lease.shard_id, lease)

    async def acquire(self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int) -> Lease:
        """Take a lease that still has this epoch. Raises LeaseLost and GroupNotFound."""
        found = self._find(stream, group)
        lease = found.leases.get(shard_id)
        if lease is not None and (lease.owner, lease.epoch) == (member_id, epoch + 1):
            return lease
        if lease is None or lease.epoch != epoch:
            raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
        found.leases[shard_id] = replace(lease, owner=member_id, epoch=epoch + 1)
        return found.leases[shard_id]

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move an owner's place, and with ``release`` give the lease up.

        Raises LeaseLost, PlaceBehind and GroupNotFound.
        """
        found = self._find(stream, group)
        lease = found.leases.get(shard_id)
        if lease is None or (lease.owner, lease.epoch) != (member_id, epoch):
            if release and lease is not None and (lease.owner, lease.epoch, lease.place) == (None, epoch, place):
                return
            raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
        if is_behind(place, lease.place):
            raise PlaceBehind(shard_id, place=place)
        found.leases[shard_id] = replace(lease, place=place, owner=None if release else member_id)

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move the places of leases: each loses its owner and gets the next epoch. Raises GroupNotFound.

        Gives the shards that were moved, sorted.
        """
        found = self._find(stream, group)
        moved = sorted(place_by_shard.keys() & found.leases.keys())
        for shard_id in moved:
            lease = found.leases[shard_id]
            found.leases[shard_id] = replace(lease, place=place_by_shard[shard_id], owner=None, epoch=lease.epoch + 1)
        return moved

    async def leave(self, stream: str, group: str, *, member_id: str) -> None:
        """Forget a member, and give up every lease that it still owns. Raises GroupNotFound."""
        found = self._find(stream, group)
        found.members.pop(member_id, None)
        for lease in list(found.leases.values()):
            if lease.owner == member_id:
                found.leases[lease.shard_id] = replace(lease, owner=None)

    async def drop_leases(self, stream: str, group: str, *, shard_ids: Sequence[str]) -> None:
        """Forget leases of shards that no longer exist. Raises GroupNotFound."""
        found = self._find(stream, group)
        for shard_id in shard_ids:
            found.leases.pop(shard_id, None)

    async def groups(self, stream: str) -> list[str]:
        """List the names of a stream's groups, sorted."""
        return sorted(group for owner, group in self._groups if owner == stream)

    async def delete_group(self, stream: str, group: str) -> None:
        """Forget a group, its members and leases. Raises GroupNotFound."""
        self._find(stream, group)
        del self._groups[stream, group]

    def _find(self, stream: str, group: str) -> _Group:
        found = self._groups.get((stream, group))
        if found is None:
            raise GroupNotFound(group)
        return found


def _snapshot(group: _Group) -> Snapshot:
    return Snapshot(start=group.start, members=tuple(group.members.values()), leases=tuple(group.leases.values()))
