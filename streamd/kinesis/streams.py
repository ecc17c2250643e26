"""Streams as such: CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams."""

from dataclasses import replace
from typing import Any

from streamd.core.limits import ON_DEMAND_SHARD_COUNT, RECORD_KIB_DEFAULT
from streamd.core.shard_tree import Shard, first_shards, shard_id
from streamd.core.stream import Distribution, Status, Stream, StreamMode
from streamd.core.tokens import PageToken
from streamd.engine.engine import Engine
from streamd.errors import StreamExists, StreamNotFound
from streamd.kinesis.account import is_committed, require_warm_throughput, warm_throughput
from streamd.kinesis.codecs import Timestamp
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import invalid_argument, load_stream, stream_arn, stream_name_of
from streamd.kinesis.quotas import require_on_demand_room, require_shard_room
from streamd.kinesis.tags import checked_tags

__all__ = [
    "create_stream",
    "delete_stream",
    "describe_stream",
    "describe_stream_summary",
    "list_streams",
    "shard_document",
]

_PAGE_COUNT_MAX = 100
_CREATING_COUNT_MAX = 5


async def create_stream(engine: Engine, call: Call) -> Answer:
    """Make a stream. Raises Fault and StreamExists."""
    name = call.members["StreamName"]
    mode = StreamMode((call.get("StreamModeDetails") or {}).get("StreamMode", StreamMode.PROVISIONED))
    count = call.get("ShardCount")
    if mode is StreamMode.ON_DEMAND and count is not None:
        raise invalid_argument("ShardCount must not be specified for a stream in ON_DEMAND mode.")
    distribution = Distribution(call.get("RecordDistributionStrategy") or Distribution.USER_PARTITION_KEY)
    if distribution is Distribution.AUTO and mode is not StreamMode.ON_DEMAND:
        raise invalid_argument("RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode.")
    tags = checked_tags(engine, call.get("Tags") or {}, present={}, what=f"stream {name}")
    warm_mibps = call.get("WarmThroughputMiBps")
    if warm_mibps is not None:
        await require_warm_throughput(engine, mode, warm_mibps)
    await _require_free(engine, name)
    count = count or max(ON_DEMAND_SHARD_COUNT, warm_mibps or 0)
    await require_shard_room(engine, call, count)
    if mode is StreamMode.ON_DEMAND:
        await require_on_demand_room(engine, call)
    await _require_few_creating(engine)
    now_ms = engine.clock.now_ms()
    await engine.streams.create(
        Stream(
            number=0,
            name=name,
            created_ms=now_ms,
            active_ms=now_ms + engine.transition_ms,
            tree=first_shards(count, now_ms=now_ms),
            mode=mode,
            record_kib_max=call.get("MaxRecordSizeInKiB") or RECORD_KIB_DEFAULT,
            distribution=distribution,
            warm_mibps=warm_mibps,
            tags=tags,
        )
    )
    return None


async def delete_stream(engine: Engine, call: Call) -> Answer:
    """Delete a stream and all it holds. Raises Fault and StreamNotFound."""
    arn = stream_arn(engine, call, stream_name_of(engine, call))

    def decide(stream: Stream) -> Stream:
        now_ms = engine.clock.now_ms()
        if stream.live_consumers(now_ms) and not call.get("EnforceConsumerDeletion"):
            raise Fault(
                "ResourceInUseException",
                f"DeleteStream can't delete {arn} because there are consumers associated with this data stream. "
                f"To delete {stream.name} anyway, set the EnforceConsumerDeletion parameter to true to force the "
                "deletion of all the consumers that are associated with it.",
            )
        if stream.deleting_ms is not None:
            return stream
        return replace(stream, deleting_ms=now_ms, gone_ms=now_ms + engine.transition_ms)

    engine.subscriptions.nudge(await engine.streams.change(stream_name_of(engine, call), decide))
    return None


async def describe_stream(engine: Engine, call: Call) -> Answer:
    """Describe a stream and a page of its shards. Raises Fault and StreamNotFound."""
    stream = await load_stream(engine, call)
    now_ms = engine.clock.now_ms()
    limit = min(call.get("Limit") or _PAGE_COUNT_MAX, _PAGE_COUNT_MAX)
    after = call.get("ExclusiveStartShardId") or ""
    is_creating = stream.status(now_ms) is Status.CREATING
    shards = [] if is_creating else [s for s in stream.visible_shards(now_ms) if s.id > after]
    return {
        "StreamDescription": _description(engine, call, stream)
        | {
            "Shards": [shard_document(shard) for shard in shards[:limit]],
            "HasMoreShards": len(shards) > limit,
        }
    }


async def describe_stream_summary(engine: Engine, call: Call) -> Answer:
    """Describe a stream without its shards. Raises Fault and StreamNotFound."""
    stream = await load_stream(engine, call)
    now_ms = engine.clock.now_ms()
    is_creating = stream.status(now_ms) is Status.CREATING
    summary = _description(engine, call, stream) | {
        "OpenShardCount": 0 if is_creating else len(stream.tree.open_shards),
        "ConsumerCount": len(stream.live_consumers(now_ms)),
        "MaxRecordSizeInKiB": stream.record_kib_max,
        "ChannelCount": 0,
    }
    if stream.mode is StreamMode.ON_DEMAND:
        summary["RecordDistributionStrategy"] = stream.distribution
        if await is_committed(engine):
            summary["WarmThroughput"] = warm_throughput(stream)
    return {"StreamDescriptionSummary": summary}


async def list_streams(engine: Engine, call: Call) -> Answer:
    """List a page of streams, by either paging style. Raises Fault and the token's errors."""
    limit = min(call.get("Limit") or _PAGE_COUNT_MAX, _PAGE_COUNT_MAX)
    token, after = call.get("NextToken"), call.get("ExclusiveStartStreamName") or ""
    now_ms = engine.clock.now_ms()
    if token is not None:
        if after:
            raise invalid_argument("NextToken and ExclusiveStartStreamName cannot be provided together.")
        after = engine.tokens.read_page(token, scope="ListStreams", now_ms=now_ms).after
    found = await engine.streams.page(after=after, limit=limit + 1)
    page = found[:limit]
    answer: dict[str, Any] = {
        "StreamNames": [stream.name for stream in page],
        "HasMoreStreams": len(found) > limit,
        "StreamSummaries": [_summary(engine, call, stream) for stream in page],
    }
    if len(found) > limit:
        place = PageToken(scope="ListStreams", after=page[-1].name, created_ms=now_ms)
        answer["NextToken"] = engine.tokens.page(place)
    return answer


def shard_document(shard: Shard) -> dict[str, Any]:
    """Write a shard as DescribeStream and ListShards answer it."""
    numbers = {"StartingSequenceNumber": shard.starting_sequence_number}
    if (ending := shard.ending_sequence_number) is not None:
        numbers["EndingSequenceNumber"] = ending
    document: dict[str, Any] = {
        "ShardId": shard.id,
        "HashKeyRange": {
            "StartingHashKey": str(shard.hash_range.start),
            "EndingHashKey": str(shard.hash_range.end),
        },
        "SequenceNumberRange": numbers,
    }
    if shard.parent_index is not None:
        document["ParentShardId"] = shard_id(shard.parent_index)
    if shard.adjacent_parent_index is not None:
        document["AdjacentParentShardId"] = shard_id(shard.adjacent_parent_index)
    return document


def _description(engine: Engine, call: Call, stream: Stream) -> dict[str, Any]:
    """Write what both descriptions share."""
    document: dict[str, Any] = {
        "StreamName": stream.name,
        "StreamARN": stream_arn(engine, call, stream.name),
        "StreamStatus": stream.status(engine.clock.now_ms()),
        "StreamModeDetails": {"StreamMode": stream.mode},
        "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": Timestamp(stream.created_ms // 1000 * 1000),
        "EnhancedMonitoring": [{"ShardLevelMetrics": list(stream.metrics)}],
        "EncryptionType": "NONE",
    }
    if stream.encryption.key_id is not None:
        document |= {"EncryptionType": "KMS", "KeyId": stream.encryption.key_id}
    return document


def _summary(engine: Engine, call: Call, stream: Stream) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": stream_arn(engine, call, stream.name),
        "StreamStatus": stream.status(engine.clock.now_ms()),
        "StreamModeDetails": {"StreamMode": stream.mode},
        "StreamCreationTimestamp": Timestamp(stream.created_ms // 1000 * 1000),
    }


async def _require_free(engine: Engine, name: str) -> None:
    try:
        await engine.streams.load(name)
    except StreamNotFound:
        return
    raise StreamExists(name)


async def _require_few_creating(engine: Engine) -> None:
    """Refuse a sixth stream in the CREATING state, which can only be when states are held."""
    if not engine.transition_ms or not engine.quotas.is_on:
        return
    now_ms = engine.clock.now_ms()
    creating = [s for s in await engine.streams.all() if s.status(now_ms) is Status.CREATING]
    if len(creating) >= _CREATING_COUNT_MAX and not engine.quotas.exceed("CreateStream", stream_name=""):
        raise Fault(
            "LimitExceededException",
            f"Only {_CREATING_COUNT_MAX} streams can be in the CREATING state at the same time.",
        )
