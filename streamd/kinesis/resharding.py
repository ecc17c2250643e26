"""Resharding by the user: SplitShard, MergeShards and UpdateShardCount.

Each operation checks in AWS's order, writes what is to be done into the stream's document as an intent, and has it
carried out before it answers, unless states are held for a while. A crash in between loses nothing: whoever finds the
intent next finishes it.
"""

from dataclasses import replace

from streamd.core.scaling import plan
from streamd.core.shard_tree import Shard, shard_id
from streamd.core.stream import Stream, StreamMode
from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault, ValidationFailed
from streamd.kinesis.naming import invalid_argument, require_active, stream_arn, stream_name_of
from streamd.kinesis.quotas import check_shard_room, open_shard_count, with_daily_change
from streamd.kinesis.reading import read_shard_index

__all__ = ["merge_shards", "split_shard", "update_shard_count"]

_SHARD_COUNT_MAX = 10_000
_SCALING_COUNT_MAX = 10


async def split_shard(engine: Engine, call: Call) -> Answer:
    """Cut a shard in two at a hash key. Raises Fault and StreamNotFound."""
    name = stream_name_of(engine, call)
    index = read_shard_index(engine, call.members["ShardToSplit"], name)
    hash_key = int(call.members["NewStartingHashKey"])
    account_count = await open_shard_count(engine)

    def decide(stream: Stream) -> Stream:
        _require_reshardable(engine, stream)
        shard = _open_shard(engine, stream, index)
        check_shard_room(engine, call, present=account_count, added=1)
        _require_inside(engine, stream, shard, hash_key)
        step = stream.tree.split(index, at=hash_key, now_ms=engine.clock.now_ms())
        return engine.resharder.intend(stream, (step,))

    await engine.streams.change(name, decide)
    await engine.resharder.finish(name)
    return None


async def merge_shards(engine: Engine, call: Call) -> Answer:
    """Join two shards whose hash keys touch, the lower one named first. Raises Fault and StreamNotFound."""
    name = stream_name_of(engine, call)
    index = read_shard_index(engine, call.members["ShardToMerge"], name)
    adjacent_index = read_shard_index(engine, call.members["AdjacentShardToMerge"], name)

    def decide(stream: Stream) -> Stream:
        _require_reshardable(engine, stream)
        # AWS looks for both before it looks closer at either.
        for either in (index, adjacent_index):
            _find_shard(engine, stream, either)
        low, high = (_open_shard(engine, stream, either) for either in (index, adjacent_index))
        if low.hash_range.end + 1 != high.hash_range.start:
            raise invalid_argument(
                f"Shards {low.id} and {high.id} in stream {stream.name} under account {engine.account_id} "
                "are not an adjacent pair of shards eligible for merging"
            )
        step = stream.tree.merge(index, adjacent_index=adjacent_index, now_ms=engine.clock.now_ms())
        return engine.resharder.intend(stream, (step,))

    await engine.streams.change(name, decide)
    await engine.resharder.finish(name)
    return None


async def update_shard_count(engine: Engine, call: Call) -> Answer:
    """Scale a stream to a number of shards of nearly equal width. Raises Fault and StreamNotFound."""
    name = stream_name_of(engine, call)
    target = call.members["TargetShardCount"]
    account_count = await open_shard_count(engine)
    current = 0

    def decide(stream: Stream) -> Stream:
        nonlocal current
        _require_reshardable(engine, stream)
        current = len(stream.tree.open_shards)
        if target == current:
            return stream
        _require_target(current=current, target=target)
        if target > current:
            check_shard_room(engine, call, present=account_count, added=target - current)
        scalings_ms = with_daily_change(engine, stream, stream.scalings_ms, at_most=_SCALING_COUNT_MAX)
        steps = plan(stream.tree, target=target, now_ms=engine.clock.now_ms())
        return replace(engine.resharder.intend(stream, steps), scalings_ms=scalings_ms)

    await engine.streams.change(name, decide)
    await engine.resharder.finish(name)
    return {
        "StreamName": name,
        "CurrentShardCount": current,
        "TargetShardCount": target,
        "StreamARN": stream_arn(engine, call, name),
    }


def _require_reshardable(engine: Engine, stream: Stream) -> None:
    """Refuse a stream that is not ACTIVE, or whose shards the server minds. Raises Fault."""
    require_active(engine, stream)
    if stream.mode is StreamMode.ON_DEMAND:
        raise ValidationFailed(
            f"Request is invalid. Stream {stream.name} under account {engine.account_id} is in On-Demand mode."
        )


def _find_shard(engine: Engine, stream: Stream, index: int) -> Shard:
    shard = stream.tree.shard_by_index.get(index)
    if shard is None or not stream.shows(shard, now_ms=engine.clock.now_ms()):
        raise Fault(
            "ResourceNotFoundException",
            f"Could not find shard {shard_id(index)} in stream {stream.name} under account {engine.account_id}.",
        )
    return shard


def _open_shard(engine: Engine, stream: Stream, index: int) -> Shard:
    shard = _find_shard(engine, stream, index)
    if not shard.is_open:
        raise invalid_argument(
            f"Shard {shard.id} in stream {stream.name} under account {engine.account_id} "
            "has already been merged or split, and thus is not eligible for merging or splitting."
        )
    return shard


def _require_inside(engine: Engine, stream: Stream, shard: Shard, hash_key: int) -> None:
    """Refuse a hash key at which AWS does not split: it wants two keys at least on either side. Raises Fault."""
    low, high = shard.hash_range.start, shard.hash_range.end
    if not low + 1 < hash_key < high:
        raise invalid_argument(
            f"NewStartingHashKey {hash_key} used in SplitShard() on shard {shard.id} in stream {stream.name} "
            f"under account {engine.account_id} is not both greater than one plus the shard's StartingHashKey {low} "
            f"and less than the shard's EndingHashKey {high}."
        )


def _require_target(*, current: int, target: int) -> None:
    """Refuse a target that AWS does not scale to in one step. Raises Fault."""
    facts = f"Current open shard count: {current}, Target shard count: {target}"
    if target > _SHARD_COUNT_MAX:
        reason = f"Target shard count or number of open shards cannot be greater than {_SHARD_COUNT_MAX}."
    elif target > 2 * current:
        reason = "UpdateShardCount cannot scale up over double your current open shard count."
    elif 2 * target < current:
        reason = "UpdateShardCount cannot scale down below half your current open shard count."
    else:
        return
    raise Fault("LimitExceededException", f"{reason} {facts}")
