"""Enhanced monitoring: which of a stream's shard-level metrics are kept, and so shown as series of each shard."""

from collections.abc import Iterable
from dataclasses import replace

from streamd.core.stream import Stream
from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.naming import load_stream, require_active, stream_arn

__all__ = ["disable_enhanced_monitoring", "enable_enhanced_monitoring"]

# In the order in which AWS lists them, whatever the order of the request.
_METRICS = (
    "IncomingBytes",
    "OutgoingRecords",
    "IteratorAgeMilliseconds",
    "IncomingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
    "OutgoingBytes",
)


async def enable_enhanced_monitoring(engine: Engine, call: Call) -> Answer:
    """Keep these shard-level metrics too. Raises Fault and StreamNotFound."""
    return await _switch(engine, call, is_on=True)


async def disable_enhanced_monitoring(engine: Engine, call: Call) -> Answer:
    """Keep these shard-level metrics no longer. Raises Fault and StreamNotFound."""
    return await _switch(engine, call, is_on=False)


async def _switch(engine: Engine, call: Call, *, is_on: bool) -> Answer:
    named = _expanded(call.members["ShardLevelMetrics"])
    name = (await load_stream(engine, call)).name
    before: tuple[str, ...] = ()

    def decide(stream: Stream) -> Stream:
        nonlocal before
        require_active(engine, stream)
        before = stream.metrics
        wanted = named | set(before) if is_on else set(before) - named
        if wanted == set(before):
            return stream
        changed = replace(stream, metrics=tuple(metric for metric in _METRICS if metric in wanted))
        return changed.updating(now_ms=engine.clock.now_ms(), transition_ms=engine.transition_ms)

    changed = await engine.streams.change(name, decide)
    return {
        "StreamName": name,
        "StreamARN": stream_arn(engine, call, name),
        "CurrentShardLevelMetrics": list(before),
        "DesiredShardLevelMetrics": list(changed.metrics),
    }


def _expanded(names: Iterable[str]) -> set[str]:
    named = set(names)
    return set(_METRICS) if "ALL" in named else named
