"""Groups of readers: operations of streamd's own, under a target prefix of their own, beside those of Kinesis.

They keep for the SDK's consumers what the KCL keeps in a DynamoDB table: members, leases with epochs, checkpoints. Who
may be dead is for the members to judge; what an epoch that is over says is refused here, durably and in any worker.
"""

from types import MappingProxyType
from typing import Any, Final

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Place, Snapshot, Start, time_of_place
from streamd.core.sequence_numbers import parse
from streamd.core.shard_tree import Shard, shard_index
from streamd.core.stream import Stream
from streamd.core.tokens import PageToken
from streamd.engine.engine import Engine
from streamd.errors import ShardMissing, TokenInvalid
from streamd.kinesis.exchange import Answer, Call, Handler
from streamd.kinesis.naming import invalid_argument, load_stream

__all__ = ["GROUP_HANDLER_BY_OPERATION", "GROUP_TARGET_PREFIX"]

GROUP_TARGET_PREFIX: Final = "StreamdGroups_20261127."
_PAGE_COUNT_MAX: Final = 1000


async def _create_group(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    start = await engine.groups.open(stream.number, call.members["GroupName"], start=Start(place=call.members["Start"]))
    return {"Start": start.place}


async def _list_groups(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    now_ms = engine.clock.now_ms()
    scope, after = f"ListGroups/{stream.number}", ""
    if (token := call.get("NextToken")) is not None:
        place = engine.tokens.read_page(token, scope=scope, now_ms=now_ms)
        if place.scope != scope:
            raise TokenInvalid
        after = place.after
    limit = call.get("MaxResults") or _PAGE_COUNT_MAX
    found = await engine.groups.names(stream.number, after=after, limit=limit + 1)
    answer: dict[str, Any] = {"GroupNames": found[:limit]}
    if len(found) > limit:
        rest = PageToken(scope=scope, after=found[limit - 1], created_ms=now_ms)
        answer["NextToken"] = engine.tokens.page(rest)
    return answer


async def _describe_group(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    snapshot = await engine.groups.snapshot(stream.number, call.members["GroupName"])
    document = _document(snapshot)
    for lease, row in zip(snapshot.leases, document["Leases"], strict=True):
        row.update(await _lag(engine, stream, lease))
    return document


async def _delete_group(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    await engine.groups.delete(stream.number, call.members["GroupName"])
    return None


async def _beat_member(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    members = call.members
    about = call.get("About") or ""
    snapshot = await engine.groups.beat(stream.number, members["GroupName"], member_id=members["MemberId"], about=about)
    return _document(snapshot)


async def _leave_group(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    await engine.groups.leave(stream.number, call.members["GroupName"], member_id=call.members["MemberId"])
    return None


async def _add_leases(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    leases = [
        Lease(
            shard_id=row["ShardId"],
            parent_ids=tuple(row.get("ParentShardIds") or ()),
            owner=None,
            epoch=0,
            place=await _checked(engine, row["Place"], row["ShardId"], stream),
        )
        for row in call.members["Leases"]
    ]
    await engine.groups.add_leases(stream.number, call.members["GroupName"], leases)
    return None


async def _drop_leases(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    await engine.groups.drop_leases(stream.number, call.members["GroupName"], call.members["ShardIds"])
    return None


async def _acquire_lease(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    members = call.members
    lease = await engine.groups.acquire(
        stream.number,
        members["GroupName"],
        shard_id=members["ShardId"],
        member_id=members["MemberId"],
        epoch=members["Epoch"],
    )
    return {"Lease": _lease_document(lease)}


async def _save_checkpoint(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    members = call.members
    await engine.groups.checkpoint(
        stream.number,
        members["GroupName"],
        shard_id=members["ShardId"],
        member_id=members["MemberId"],
        epoch=members["Epoch"],
        place=await _checked(engine, members["Place"], members["ShardId"], stream),
        release=bool(call.get("Release")),
    )
    return None


async def _seek_leases(engine: Engine, call: Call) -> Answer:
    stream = await load_stream(engine, call)
    wanted = call.members["Places"].items()
    places = {shard_id: await _checked(engine, place, shard_id, stream) for shard_id, place in wanted}
    return {"ShardIds": await engine.groups.seek(stream.number, call.members["GroupName"], places)}


GROUP_HANDLER_BY_OPERATION: MappingProxyType[str, Handler] = MappingProxyType(
    {
        "AcquireLease": _acquire_lease,
        "AddLeases": _add_leases,
        "BeatMember": _beat_member,
        "CreateGroup": _create_group,
        "DeleteGroup": _delete_group,
        "DescribeGroup": _describe_group,
        "DropLeases": _drop_leases,
        "LeaveGroup": _leave_group,
        "ListGroups": _list_groups,
        "SaveCheckpoint": _save_checkpoint,
        "SeekLeases": _seek_leases,
    }
)


async def _checked(engine: Engine, place: Place, shard_id: str, stream: Stream) -> Place:
    """Refuse a number that no record of this shard can have. Raises Fault and ShardMissing."""
    if not place.isdigit():
        return place
    number = parse(place)
    if number is None:
        raise invalid_argument(f"Place {place} is no sequence number.")
    if number.shard_index != shard_index(shard_id):
        raise invalid_argument(f"Place {place} is no sequence number of shard {shard_id}.")
    shard = stream.tree.shard_by_index.get(number.shard_index)
    # Of a shard that has expired nothing is known any more: its last owner may still say that it is done.
    if shard is None or not stream.shows(shard, now_ms=engine.clock.now_ms()):
        return place
    if number.shard_created_s != shard.created_s or not await engine.shards.knows(stream, shard, number):
        raise invalid_argument(f"Place {place} did not come from stream {stream.name}.")
    return place


def _document(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "Start": snapshot.start.place,
        "Members": [
            {"MemberId": member.member_id, "Beat": member.beat, "About": member.about} for member in snapshot.members
        ],
        "Leases": [_lease_document(lease) for lease in snapshot.leases],
    }


def _lease_document(lease: Lease) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ShardId": lease.shard_id,
        "ParentShardIds": list(lease.parent_ids),
        "Epoch": lease.epoch,
        "Place": lease.place,
    }
    return document if lease.owner is None else document | {"Owner": lease.owner}


async def _lag(engine: Engine, stream: Stream, lease: Lease) -> dict[str, int]:
    """Tell how many records come after a lease's place, and how old the first of them is; nothing for a lost shard."""
    shard = stream.tree.shard_by_index.get(shard_index(lease.shard_id) or 0)
    if lease.place == AT_END or shard is None or not stream.shows(shard, now_ms=engine.clock.now_ms()):
        return {"RecordsBehind": 0, "MillisBehindLatest": 0}
    try:
        after = await _position(engine, stream, shard, lease.place)
        batch = await engine.shards.read(stream, shard, after=after, limit=1)
        tip = await engine.shards.tip(stream, shard)
    except ShardMissing:
        return {"RecordsBehind": 0, "MillisBehindLatest": 0}
    if not batch.data:
        return {"RecordsBehind": 0, "MillisBehindLatest": 0}
    first = parse(batch.sequence_numbers[0])
    assert first is not None, "the engine wrote it"
    behind_ms = max(0, engine.clock.now_ms() - batch.arrivals_ms[0])
    return {"RecordsBehind": tip - first.position + 1, "MillisBehindLatest": behind_ms}


async def _position(engine: Engine, stream: Stream, shard: Shard, place: Place) -> int:
    """Give the position after which a place reads on. Raises ShardMissing."""
    if place == TRIM_HORIZON:
        return 0
    if (time_ms := time_of_place(place)) is not None:
        return await engine.shards.before_time(stream, shard, time_ms=time_ms)
    number = parse(place)
    assert number is not None, "a place is checked before it is kept"
    return number.position
