"""Settings of a stream: retention, capacity mode, record size, warm throughput and record distribution.

Each change is decided on the stream as it is at that moment, so of two calls that race the later one is checked
against what the earlier one left. A change to the present value succeeds and changes nothing.
"""

from dataclasses import replace

from streamd.core.limits import (
    CONSUMER_COUNT_MAX,
    ON_DEMAND_SHARD_COUNT,
    RETENTION_HOURS_DEFAULT,
    RETENTION_HOURS_MAX,
)
from streamd.core.scaling import plan
from streamd.core.stream import Distribution, Stream, StreamMode
from streamd.engine.engine import Engine
from streamd.kinesis.account import require_warm_throughput, warm_throughput
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault, ValidationFailed
from streamd.kinesis.naming import (
    invalid_argument,
    load_stream,
    require_active,
    stream_arn,
    stream_name_of,
)
from streamd.kinesis.quotas import require_on_demand_room, require_shard_room, with_daily_change

__all__ = [
    "decrease_stream_retention_period",
    "increase_stream_retention_period",
    "update_max_record_size",
    "update_stream_mode",
    "update_stream_record_distribution_strategy",
    "update_stream_warm_throughput",
]

_MODE_CHANGE_COUNT_MAX = 2


async def increase_stream_retention_period(engine: Engine, call: Call) -> Answer:
    """Keep records longer from now on. Raises Fault and StreamNotFound."""
    hours = call.members["RetentionPeriodHours"]

    def decide(stream: Stream) -> Stream:
        _require_retention(hours)
        if hours < stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be shorter than "
                f"existing retention period ({stream.retention_hours} hours). Use DecreaseRetentionPeriod API."
            )
        return _with_retention(engine, stream, hours)

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


async def decrease_stream_retention_period(engine: Engine, call: Call) -> Answer:
    """Keep records for a shorter time; older ones are never read again. Raises Fault and StreamNotFound."""
    hours = call.members["RetentionPeriodHours"]

    def decide(stream: Stream) -> Stream:
        _require_retention(hours)
        if hours > stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be longer than "
                f"existing retention period ({stream.retention_hours} hours). Use IncreaseRetentionPeriod API."
            )
        return _with_retention(engine, stream, hours)

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


async def update_stream_mode(engine: Engine, call: Call) -> Answer:
    """Change who minds the number of shards, which stays as it is. Raises Fault and StreamNotFound."""
    mode = StreamMode(call.members["StreamModeDetails"]["StreamMode"])
    warm_mibps = call.get("WarmThroughputMiBps")
    stream = await load_stream(engine, call)
    require_active(engine, stream)
    if warm_mibps is not None:
        await require_warm_throughput(engine, mode, warm_mibps)
        await _require_scaling_room(engine, call, stream, warm_mibps)
    if mode is StreamMode.ON_DEMAND and stream.mode is not mode:
        await require_on_demand_room(engine, call)

    def decide(stream: Stream) -> Stream:
        require_active(engine, stream)
        if stream.mode is mode:
            if warm_mibps is not None:
                raise ValidationFailed(
                    "WarmThroughputMiBps is only valid when the stream mode is being updated to ON_DEMAND"
                )
            return stream
        changed = _with_mode(engine, stream, mode)
        return changed if warm_mibps is None else _scaled(engine, changed, warm_mibps)

    await engine.streams.change(stream.name, decide)
    await engine.resharder.finish(stream.name)
    return None


async def update_max_record_size(engine: Engine, call: Call) -> Answer:
    """Change how large a record may be; those in the stream stay as they are. Raises Fault and StreamNotFound."""
    record_kib_max = call.members["MaxRecordSizeInKiB"]

    def decide(stream: Stream) -> Stream:
        require_active(engine, stream)
        if stream.record_kib_max == record_kib_max:
            return stream
        return _updating(engine, replace(stream, record_kib_max=record_kib_max))

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


async def update_stream_warm_throughput(engine: Engine, call: Call) -> Answer:
    """Scale an on-demand stream for what is about to come. Raises Fault and StreamNotFound."""
    warm_mibps = call.members["WarmThroughputMiBps"]
    stream = await load_stream(engine, call)
    await require_warm_throughput(engine, stream.mode, warm_mibps)
    require_active(engine, stream)
    await _require_scaling_room(engine, call, stream, warm_mibps)

    def decide(stream: Stream) -> Stream:
        require_active(engine, stream)
        if stream.mode is not StreamMode.ON_DEMAND:
            raise ValidationFailed("Warm throughput is only supported for ON_DEMAND streams")
        return _scaled(engine, stream, warm_mibps)

    await engine.streams.change(stream.name, decide)
    await engine.resharder.finish(stream.name)
    stream = await engine.streams.load(stream.name)
    return {
        "StreamARN": stream_arn(engine, call, stream.name),
        "StreamName": stream.name,
        "WarmThroughput": warm_throughput(stream),
    }


async def update_stream_record_distribution_strategy(engine: Engine, call: Call) -> Answer:
    """Change who places records, for those to come, at once. Raises Fault and StreamNotFound."""
    distribution = Distribution(call.members["RecordDistributionStrategy"])

    def decide(stream: Stream) -> Stream:
        if distribution is Distribution.AUTO and stream.mode is not StreamMode.ON_DEMAND:
            raise invalid_argument("RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode.")
        require_active(engine, stream)
        return replace(stream, distribution=distribution)

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


def _require_retention(hours: int) -> None:
    if hours < RETENTION_HOURS_DEFAULT:
        raise invalid_argument(
            f"Minimum allowed retention period is {RETENTION_HOURS_DEFAULT} hours. "
            f"Requested retention period ({hours} hours) is too short."
        )
    if hours > RETENTION_HOURS_MAX:
        raise invalid_argument(
            f"Maximum allowed retention period is {RETENTION_HOURS_MAX} hours. "
            f"Requested retention period ({hours} hours) is too long."
        )


async def _require_scaling_room(engine: Engine, call: Call, stream: Stream, warm_mibps: int) -> None:
    added = _shard_count(warm_mibps) - len(stream.tree.open_shards)
    if added > 0:
        await require_shard_room(engine, call, added)


def _shard_count(warm_mibps: int) -> int:
    """Give how many shards take this much: 1 MiB each second for each."""
    return max(ON_DEMAND_SHARD_COUNT, warm_mibps)


def _with_retention(engine: Engine, stream: Stream, hours: int) -> Stream:
    require_active(engine, stream)
    if hours == stream.retention_hours:
        return stream
    return _updating(engine, stream.with_retention(hours, now_ms=engine.clock.now_ms()))


def _with_mode(engine: Engine, stream: Stream, mode: StreamMode) -> Stream:
    now_ms = engine.clock.now_ms()
    changes_ms = with_daily_change(engine, stream, stream.mode_changes_ms, at_most=_MODE_CHANGE_COUNT_MAX)
    changed = _updating(engine, replace(stream, mode=mode, mode_changes_ms=changes_ms))
    if mode is StreamMode.ON_DEMAND:
        return changed
    consumer_count = len(stream.live_consumers(now_ms))
    if consumer_count > CONSUMER_COUNT_MAX:
        raise Fault(
            "LimitExceededException",
            f"Stream {stream.name} under account {engine.account_id} has {consumer_count} registered consumers. "
            f"A stream in PROVISIONED mode can have {CONSUMER_COUNT_MAX}.",
        )
    # Neither is a setting that a provisioned stream has.
    return replace(changed, distribution=Distribution.USER_PARTITION_KEY, warm_mibps=None)


def _scaled(engine: Engine, stream: Stream, warm_mibps: int) -> Stream:
    now_ms = engine.clock.now_ms()
    steps = plan(stream.tree, target=_shard_count(warm_mibps), now_ms=now_ms)
    return engine.resharder.intend(_updating(engine, replace(stream, warm_mibps=warm_mibps)), steps)


def _updating(engine: Engine, stream: Stream) -> Stream:
    return stream.updating(now_ms=engine.clock.now_ms(), transition_ms=engine.transition_ms)
