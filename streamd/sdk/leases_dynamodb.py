"""Leases in a table of DynamoDB: for groups that read from AWS, where there is no streamd to keep them.

One table for all groups, made when it is first needed, paid by request. Each change is one conditional write, each read
a consistent one, so the promises are those of every store of leases. The table is this SDK's own: no other library's
lease table is read or written.

    stream STREAM, name GROUP                       where the group began, and its identity
    group STREAM/GROUP/IDENTITY, name lease/SHARD   a shard's lease
    group STREAM/GROUP/IDENTITY, name member/ID     a member

A stream is named by its name: delete a stream's groups when you delete the stream.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from streamd.core.lease import AT_END, Lease, Member, Place, Snapshot, Start
from streamd.core.sigv4 import Credentials
from streamd.errors import GroupNotFound, LeaseLost, PlaceBehind
from streamd.sdk.answers import JsonObject
from streamd.sdk.failures import ServiceRefused, WaitTimedOut
from streamd.sdk.settings import settings_of_process
from streamd.sdk.transport import Transport

__all__ = ["DynamoDBLeases"]

_TARGET: Final = "DynamoDB_20120810"
_CONDITION_FAILED: Final = "ConditionalCheckFailedException"
_CONNECTION_COUNT_MAX: Final = 16
_TABLE_PAUSE_S: Final = 0.5
_TABLE_WAIT_COUNT: Final = 240
_NUMBER_LENGTH: Final = 129

_Item = Mapping[str, Mapping[str, Any]]


class DynamoDBLeases:
    """A LeaseStore on DynamoDB; use it inside ``async with``. Settings not given are found as boto3 finds them."""

    def __init__(
        self,
        *,
        table: str = "streamd-leases",
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Take a table's name, and where DynamoDB is if that is not AWS. Raises ConfigInvalid."""
        settings = settings_of_process(
            endpoint=endpoint, region=region, profile=profile, credentials=credentials, service="dynamodb"
        )
        self._table = table
        self._transport = Transport(
            settings.endpoint,
            region=settings.region,
            credentials=settings.credentials,
            connection_count_max=_CONNECTION_COUNT_MAX,
            service="dynamodb",
            json_version="1.0",
        )

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def open_group(self, stream: str, group: str, *, start: Start) -> Start:
        """Make a group, and the table if need be, or find it as it is; gives where it began. Raises WaitTimedOut."""
        await self._make_table()
        item = {
            **_key(f"stream {stream}", group),
            "start": {"S": start.place},
            "identity": {"S": secrets.token_hex(8)},
        }
        try:
            await self._call("PutItem", Item=item, ConditionExpression="attribute_not_exists(#n)", **_NAMED)
        except ServiceRefused as refused:
            if refused.code != _CONDITION_FAILED:
                raise
            return (await self._find(stream, group))[0]
        return start

    async def beat(self, stream: str, group: str, *, member_id: str, about: str) -> Snapshot:
        """Raise a member's beat (a member that is not known joins) and give the group as it is then."""
        _, below = await self._find(stream, group)
        await self._update(
            _key(below, f"member/{member_id}"),
            "SET about = :about ADD beat :one",
            {":about": {"S": about}, ":one": {"N": "1"}},
        )
        return await self.snapshot(stream, group)

    async def snapshot(self, stream: str, group: str) -> Snapshot:
        """Give the group as it is."""
        start, below = await self._find(stream, group)
        members: list[Member] = []
        leases: list[Lease] = []
        for item in await self._query(below):
            kind, _, identity = item["name"]["S"].partition("/")
            if kind == "lease":
                leases.append(_lease(item))
            else:
                members.append(Member(member_id=identity, beat=int(item["beat"]["N"]), about=item["about"]["S"]))
        return Snapshot(start=start, members=tuple(members), leases=tuple(leases))

    async def add_leases(self, stream: str, group: str, *, leases: Sequence[Lease]) -> None:
        """Add those leases whose shard has none yet; the others stay as they are."""
        _, below = await self._find(stream, group)
        present = {item["name"]["S"] for item in await self._query(below)}
        for lease in leases:
            name = f"lease/{lease.shard_id}"
            if name in present:
                continue
            item = {
                **_key(below, name),
                "parents": {"L": [{"S": parent_id} for parent_id in lease.parent_ids]},
                "epoch": {"N": "0"},
                "place": {"S": lease.place},
                "rank": {"S": _rank(lease.place)},
            }
            try:
                await self._call("PutItem", Item=item, ConditionExpression="attribute_not_exists(#n)", **_NAMED)
            except ServiceRefused as refused:
                if refused.code != _CONDITION_FAILED:
                    raise

    async def acquire(self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int) -> Lease:
        """Take a lease that still has this epoch; it gets the next. Raises LeaseLost."""
        _, below = await self._find(stream, group)
        key = _key(below, f"lease/{shard_id}")
        values = {":member": {"S": member_id}, ":epoch": {"N": str(epoch)}, ":next": {"N": str(epoch + 1)}}
        try:
            return _lease(
                await self._update(key, "SET epoch = :next, holder = :member", values, condition="epoch = :epoch")
            )
        except ServiceRefused as refused:
            if refused.code != _CONDITION_FAILED:
                raise
        item = await self._get(key)
        lease = None if item is None else _lease(item)
        if lease is None or (lease.owner, lease.epoch) != (member_id, epoch + 1):
            raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
        return lease

    async def checkpoint(
        self, stream: str, group: str, *, shard_id: str, member_id: str, epoch: int, place: Place, release: bool = False
    ) -> None:
        """Move an owner's place, durably, and with ``release`` also give the lease up.

        Raises LeaseLost and PlaceBehind.
        """
        _, below = await self._find(stream, group)
        key = _key(below, f"lease/{shard_id}")
        values = {
            ":member": {"S": member_id},
            ":epoch": {"N": str(epoch)},
            ":place": {"S": place},
            ":rank": {"S": _rank(place)},
        }
        change = "SET place = :place, #r = :rank" + (" REMOVE holder" if release else "")
        condition = "epoch = :epoch AND holder = :member AND #r <= :rank"
        try:
            await self._update(key, change, values, condition=condition, names={"#r": "rank"})
        except ServiceRefused as refused:
            if refused.code != _CONDITION_FAILED:
                raise
        else:
            return
        item = await self._get(key)
        lease = None if item is None else _lease(item)
        if lease is not None and release and (lease.owner, lease.epoch, lease.place) == (None, epoch, place):
            # Asked again, since the first answer was lost.
            return
        if lease is None or (lease.owner, lease.epoch) != (member_id, epoch):
            raise LeaseLost(shard_id, member_id=member_id, epoch=epoch)
        raise PlaceBehind(shard_id, place=place)

    async def seek(self, stream: str, group: str, *, place_by_shard: Mapping[str, Place]) -> list[str]:
        """Move the places of leases, whoever owns them: each loses its owner and gets the next epoch.

        Gives the shards that were moved, sorted: those that have a lease.
        """
        _, below = await self._find(stream, group)
        moved: list[str] = []
        for shard_id, place in sorted(place_by_shard.items()):
            values = {":place": {"S": place}, ":rank": {"S": _rank(place)}, ":one": {"N": "1"}}
            try:
                await self._update(
                    _key(below, f"lease/{shard_id}"),
                    "SET place = :place, #r = :rank REMOVE holder ADD epoch :one",
                    values,
                    condition="attribute_exists(epoch)",
                    names={"#r": "rank"},
                )
            except ServiceRefused as refused:
                if refused.code != _CONDITION_FAILED:
                    raise
            else:
                moved.append(shard_id)
        return moved

    async def leave(self, stream: str, group: str, *, member_id: str) -> None:
        """Forget a member, and give up every lease that it still owns."""
        _, below = await self._find(stream, group)
        await self._call("DeleteItem", Key=_key(below, f"member/{member_id}"))
        for item in await self._query(below):
            if item.get("holder", {}).get("S") != member_id:
                continue
            try:
                await self._update(
                    _key(below, item["name"]["S"]),
                    "REMOVE holder",
                    {":member": {"S": member_id}},
                    condition="holder = :member",
                )
            except ServiceRefused as refused:
                if refused.code != _CONDITION_FAILED:
                    raise

    async def drop_leases(self, stream: str, group: str, *, shard_ids: Sequence[str]) -> None:
        """Forget leases of shards that no longer exist."""
        _, below = await self._find(stream, group)
        for shard_id in shard_ids:
            await self._call("DeleteItem", Key=_key(below, f"lease/{shard_id}"))

    async def groups(self, stream: str) -> list[str]:
        """List the names of a stream's groups, sorted."""
        await self._make_table()
        return [item["name"]["S"] for item in await self._query(f"stream {stream}")]

    async def delete_group(self, stream: str, group: str) -> None:
        """Forget a group, its members and leases."""
        _, below = await self._find(stream, group)
        # First the group: what is still written below is of a dead identity then.
        await self._call("DeleteItem", Key=_key(f"stream {stream}", group))
        for item in await self._query(below):
            await self._call("DeleteItem", Key=_key(below, item["name"]["S"]))

    async def _find(self, stream: str, group: str) -> tuple[Start, str]:
        """Give where a group began, and under which key everything of it lies. Raises GroupNotFound."""
        try:
            item = await self._get(_key(f"stream {stream}", group))
        except ServiceRefused as refused:
            if refused.code != "ResourceNotFoundException":
                raise
            item = None
        if item is None:
            raise GroupNotFound(group)
        return Start(place=item["start"]["S"]), f"group {stream}/{group}/{item['identity']['S']}"

    async def _get(self, key: _Item) -> _Item | None:
        found: _Item | None = (await self._call("GetItem", Key=key, ConsistentRead=True)).get("Item")
        return found

    async def _query(self, partition: str) -> list[_Item]:
        """Read everything under a key, in order of name, all pages of it."""
        items: list[_Item] = []
        more: dict[str, Any] = {}
        while True:
            answer = await self._call(
                "Query",
                KeyConditionExpression="#p = :partition",
                ExpressionAttributeNames={"#p": "partition"},
                ExpressionAttributeValues={":partition": {"S": partition}},
                ConsistentRead=True,
                **more,
            )
            items += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return items
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def _update(
        self,
        key: _Item,
        change: str,
        values: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> _Item:
        members: dict[str, Any] = {} if condition is None else {"ConditionExpression": condition}
        if names is not None:
            members["ExpressionAttributeNames"] = names
        answer = await self._call(
            "UpdateItem",
            Key=key,
            UpdateExpression=change,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            **members,
        )
        item: _Item = answer["Attributes"]
        return item

    async def _make_table(self) -> None:
        """Make the table unless it is there, and wait until it can be used. Raises WaitTimedOut."""
        status = ""
        for _ in range(_TABLE_WAIT_COUNT):
            status = await self._table_status()
            if status == "ACTIVE":
                return
            if not status:
                await self._create_table()
            await asyncio.sleep(_TABLE_PAUSE_S)
        timeout_s = _TABLE_WAIT_COUNT * _TABLE_PAUSE_S
        raise WaitTimedOut(self._table, awaited="ACTIVE", found=status, timeout_s=timeout_s)

    async def _table_status(self) -> str:
        try:
            return str((await self._call("DescribeTable"))["Table"]["TableStatus"])
        except ServiceRefused as refused:
            if refused.code == "ResourceNotFoundException":
                return ""
            raise

    async def _create_table(self) -> None:
        try:
            await self._call(
                "CreateTable",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("partition", "name")],
                KeySchema=[
                    {"AttributeName": "partition", "KeyType": "HASH"},
                    {"AttributeName": "name", "KeyType": "RANGE"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except ServiceRefused as refused:
            # Another member was quicker.
            if refused.code != "ResourceInUseException":
                raise

    async def _call(self, operation: str, **members: Any) -> JsonObject:
        return await self._transport.call(operation, {"TableName": self._table, **members}, target=_TARGET)


# "name" is a word of DynamoDB's own in expressions.
_NAMED: Final[Mapping[str, Any]] = {"ExpressionAttributeNames": {"#n": "name"}}


def _key(partition: str, name: str) -> dict[str, dict[str, str]]:
    return {"partition": {"S": partition}, "name": {"S": name}}


def _rank(place: Place) -> str:
    """Write a place so that texts sort as places do: beginning and times, then numbers, then the end."""
    if place == AT_END:
        return "2"
    return "1" + place.zfill(_NUMBER_LENGTH) if place.isdigit() else "0"


def _lease(item: _Item) -> Lease:
    return Lease(
        shard_id=item["name"]["S"].removeprefix("lease/"),
        parent_ids=tuple(parent["S"] for parent in item["parents"]["L"]),
        owner=item.get("holder", {}).get("S"),
        epoch=int(item["epoch"]["N"]),
        place=item["place"]["S"],
    )
