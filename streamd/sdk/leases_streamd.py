"""Leases kept by a streamd, by its operations on groups: no other database is needed.

The operations are streamd's own (target ``StreamdGroups_20261127``, described in its README), signed and sent like
those of Kinesis, to any worker. What they answer is on disk.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streamd.core.lease import Lease, Member, Place, Snapshot, Start
from streamd.errors import GroupNotFound, LeaseLost, PlaceBehind
from streamd.sdk.answers import JsonObject
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import ServiceRefused

__all__ = ["StreamdLeases"]

_TARGET: Final = "StreamdGroups_20261127"
_GROUP_MISSING: Final = "Group "


class StreamdLeases:
    """A LeaseStore on a streamd; the client is its owner's to open and close."""

    def __init__(self, client: KinesisClient) -> None:
        self._client = client

    async def open_group(self, stream: str, group: str, *, start: Start) -> Start:
        """Make a group, or find it as it is; gives where it began, which is the first caller's ``start``."""
        answer = await self._call("CreateGroup", stream, group, Start=start.place)
        return Start(place=answer["Start"])

    async def beat(self, stream: str, group: str, *, member_id: str, about: str) -> Snapshot:
        """Raise a member's beat (a member that is not known joins) and give the group as it is then."""
        return _snapshot(await self._call("BeatMember", stream, group, MemberId=member_id, About=about))

    async def snapshot(self, stream: str, group: str) -> Snapshot:
        """Give the group as it is."""
        return _snapshot(await self.describe(stream, group))

    async def describe(self, stream: str, group: str) -> JsonObject:
        """Give the group as the server tells of it: each lease also with RecordsBehind and MillisBehindLatest."""
        return await self._call("DescribeGroup", stream, group)

    async def add_leases(self, stream: str, group: str, *, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none yet; the others stay as they are."""
        if leases:
            rows = [
                {"ShardId": lease.shard_id, "ParentShardIds": list(lease.parent_ids), "Place": lease.place}
                for lease in leases
            ]
            await self._call("AddLeases", stream, group, Leases=rows)

    async def acquire(self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int) -> Lease:
        """Take a lease that still has this epoch; it gets the next. Raises LeaseLost."""
        answer = await self._of_lease("AcquireLease", stream, group, shard_id, member_id, epoch)
        return _lease(answer["Lease"])

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move an owner's place, durably, and with ``release`` also give the lease up.

        Raises LeaseLost and PlaceBehind.
        """
        members = {"Place": place, "Release": release}
        try:
            await self._of_lease("SaveCheckpoint", stream, group, shard_id, member_id, epoch, **members)
        except ServiceRefused as refused:
            if refused.code == "PlaceBehindException":
                raise PlaceBehind(shard_id, place=place) from refused
            raise

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move the places of leases, whoever owns them: each loses its owner and gets the next epoch.

        Gives the shards that were moved, sorted: those that have a lease.
        """
        if not place_by_shard:
            return []
        answer = await self._call("SeekLeases", stream, group, Places=dict(place_by_shard))
        moved: list[str] = answer["ShardIds"]
        return moved

    async def leave(self, stream: str, group: str, *, member_id: str) -> None:
        """Forget a member, and give up every lease that it still owns."""
        await self._call("LeaveGroup", stream, group, MemberId=member_id)

    async def drop_leases(self, stream: str, group: str, *, shard_ids: Sequence[str]) -> None:
        """Forget leases of shards that no longer exist."""
        if shard_ids:
            await self._call("DropLeases", stream, group, ShardIds=list(shard_ids))

    async def groups(self, stream: str) -> list[str]:
        """List the names of a stream's groups, sorted."""
        document: JsonObject = {"StreamName": stream}
        names: list[str] = []
        while True:
            answer = await self._client.transport.call("ListGroups", document, target=_TARGET)
            names += answer["GroupNames"]
            if not answer.get("NextToken"):
                return names
            document = {"StreamName": stream, "NextToken": answer["NextToken"]}

    async def delete_group(self, stream: str, group: str) -> None:
        """Forget a group, its members and leases."""
        await self._call("DeleteGroup", stream, group)

    async def _of_lease(
        self, operation: str, stream: str, group: str, shard_id: str, member_id: str, epoch: int, **members: Any
    ) -> JsonObject:
        members |= {"ShardId": shard_id, "MemberId": member_id, "Epoch": epoch}
        try:
            return await self._call(operation, stream, group, **members)
        except ServiceRefused as refused:
            if refused.code == "LeaseLostException":
                raise LeaseLost(shard_id, member_id=member_id, epoch=epoch) from refused
            raise

    async def _call(self, operation: str, stream: str, group: str, **members: Any) -> JsonObject:
        document = {"StreamName": stream, "GroupName": group, **members}
        try:
            return await self._client.transport.call(operation, document, target=_TARGET)
        except ServiceRefused as refused:
            if refused.code == "ResourceNotFoundException" and refused.sentence.startswith(_GROUP_MISSING):
                raise GroupNotFound(group) from refused
            raise


def _snapshot(answer: JsonObject) -> Snapshot:
    return Snapshot(
        start=Start(place=answer["Start"]),
        members=tuple(
            Member(member_id=row["MemberId"], beat=row["Beat"], about=row["About"]) for row in answer["Members"]
        ),
        leases=tuple(_lease(row) for row in answer["Leases"]),
    )


def _lease(row: Mapping[str, Any]) -> Lease:
    return Lease(
        shard_id=row["ShardId"],
        parent_ids=tuple(row["ParentShardIds"]),
        owner=row.get("Owner"),
        epoch=row["Epoch"],
        place=row["Place"],
    )
