"""The account's quotas: how many shards and on-demand streams it may have."""

from streamd.core.stream import Stream, StreamMode
from streamd.core.wall_clock import is_during
from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Call
from streamd.kinesis.faults import Fault

__all__ = [
    "check_shard_room",
    "on_demand_stream_count",
    "open_shard_count",
    "require_on_demand_room",
    "require_shard_room",
    "with_daily_change",
]

_DAY_MS = 24 * 3_600_000
_TAIL = (
    " Refer to the AWS Service Limits page "
    "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) "
    "for current limits and how to request higher limits."
)


async def open_shard_count(engine: Engine) -> int:
    """Count the open shards of all streams."""
    now_ms = engine.clock.now_ms()
    return sum(len(s.tree.open_shards) for s in await engine.streams.all() if not s.is_gone(now_ms))


async def on_demand_stream_count(engine: Engine) -> int:
    """Count the streams in on-demand mode."""
    now_ms = engine.clock.now_ms()
    streams = await engine.streams.all()
    return sum(s.mode is StreamMode.ON_DEMAND and not s.is_gone(now_ms) for s in streams)


async def require_shard_room(engine: Engine, call: Call, added: int) -> None:
    """Refuse a request that would pass the shard quota. Raises Fault."""
    check_shard_room(engine, call, present=await open_shard_count(engine), added=added)


def check_shard_room(engine: Engine, call: Call, *, present: int, added: int) -> None:
    """Refuse a request that would pass the shard quota, the open shards being counted already. Raises Fault."""
    if present + added > engine.shard_quota:
        raise Fault(
            "LimitExceededException",
            f"This request would exceed the shard limit for the account {engine.account_id} in {call.region}. "
            f"Current shard count for the account: {present}. Limit: {engine.shard_quota}. "
            f"Number of additional shards that would have resulted from this request: {added}.{_TAIL}",
        )


async def require_on_demand_room(engine: Engine, call: Call) -> None:
    """Refuse a request that would pass the quota of on-demand streams. Raises Fault."""
    present = await on_demand_stream_count(engine)
    quota = engine.on_demand_stream_quota
    if present + 1 > quota:
        raise Fault(
            "LimitExceededException",
            "This request would exceed the limit on the number of On-Demand streams for the account "
            f"{engine.account_id} in {call.region}. Current On-Demand streams count: {present}. "
            f"Limit: {quota}.{_TAIL}",
        )


def with_daily_change(engine: Engine, stream: Stream, changes_ms: tuple[int, ...], *, at_most: int) -> tuple[int, ...]:
    """Add a change, made now, to those of the last 24 hours. Raises Fault when AWS allows no more of them."""
    now_ms = engine.clock.now_ms()
    count = sum(is_during(now_ms, since_ms=moment_ms, until_ms=moment_ms + _DAY_MS) for moment_ms in changes_ms)
    if count >= at_most and not engine.quotas.exceed("daily-changes", stream_name=stream.name):
        raise Fault(
            "LimitExceededException",
            f"Rate exceeded for stream {stream.name} under account {engine.account_id}.",
        )
    # The document keeps no more than a check needs. What lies ahead of a clock that was set back stays, as the clock
    # may come back to where it was; with that the oldest is the one that was made first, whatever its time.
    kept_ms = (moment_ms for moment_ms in changes_ms if moment_ms > now_ms - _DAY_MS)
    return (*kept_ms, now_ms)[-at_most:]
