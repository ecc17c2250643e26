"""What a ResourceARN names: a stream, or a consumer registered with it.

Tags and policies hang on either, and are read and changed here in the same way for both. Queues and channels,
which the service model also allows in these ARNs, are not there in this version and answered as not found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamd.core.stream import Consumer, Status, Stream
from streamd.engine.engine import Engine
from streamd.errors import StreamNotActive
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import ConsumerName, read_consumer_arn, read_stream_arn, stream_not_found

__all__ = [
    "Resource",
    "change_resource",
    "consumer_not_found",
    "find_consumer",
    "load_resource",
    "require_changeable",
    "require_created_at",
]

_LATER_RESOURCES = (":queue/", ":channel/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What streams and consumers have in common: tags and a policy."""

    tags: Mapping[str, str]
    policy: str | None


async def load_resource(engine: Engine, arn: str) -> Resource:
    """Load what an ARN names. Raises Fault and StreamNotFound."""
    stream_name, consumer_name = _read_arn(engine, arn)
    stream = await engine.streams.load(stream_name)
    return _resource(find_consumer(engine, stream, consumer_name) if consumer_name else stream)


async def change_resource(
    engine: Engine, arn: str, decide: Callable[[Resource], Resource], *, must_be_active: bool = False
) -> None:
    """Change what an ARN names, by a decision on its present value. Raises Fault and the engine's errors."""
    stream_name, consumer_name = _read_arn(engine, arn)

    def decide_stream(stream: Stream) -> Stream:
        now_ms = engine.clock.now_ms()
        require_changeable(stream, now_ms=now_ms, must_be_active=must_be_active)
        if consumer_name is None:
            wanted = decide(_resource(stream))
            return replace(stream, tags=wanted.tags, policy=wanted.policy)
        consumer = find_consumer(engine, stream, consumer_name)
        if must_be_active:
            _require_active_consumer(engine, stream, consumer, now_ms=now_ms)
        wanted = decide(_resource(consumer))
        consumer = replace(consumer, tags=wanted.tags, policy=wanted.policy)
        return stream.with_consumer(consumer, now_ms=now_ms)

    await engine.streams.change(stream_name, decide_stream)


def require_changeable(stream: Stream, *, now_ms: int, must_be_active: bool = False) -> None:
    """Refuse a stream being made, deleted or, with ``must_be_active``, changed. Raises StreamNotActive."""
    status = stream.status(now_ms)
    # AWS takes tags while a stream is resharded, so UPDATING alone is no reason.
    if status is Status.ACTIVE or (status is Status.UPDATING and not must_be_active):
        return
    raise StreamNotActive(stream.name, status)


def require_created_at(engine: Engine, stream: Stream, created_ms: int | None) -> None:
    """Refuse a stream that is another one of the name than a StreamCreationTimestamp means. Raises Fault."""
    # Answers give the time in whole seconds, and clients send back what they were given.
    if created_ms is not None and created_ms // 1000 != stream.created_ms // 1000:
        raise stream_not_found(stream.name, engine.account_id)


def find_consumer(engine: Engine, stream: Stream, name: ConsumerName) -> Consumer:
    """Give the consumer that an ARN names. Raises Fault, also when its name was registered again since."""
    for consumer in stream.live_consumers(engine.clock.now_ms()):
        if consumer.name == name.consumer_name and consumer.created_ms // 1000 == name.created_s:
            return consumer
    raise consumer_not_found(engine, name)


def consumer_not_found(engine: Engine, name: ConsumerName) -> Fault:
    """Make AWS's fault for the ARN of a consumer that is not there."""
    return Fault(
        "ResourceNotFoundException",
        f"Consumer {name.consumer_name} with creation timestamp {name.created_s} "
        f"under stream: {name.stream_name}, account {engine.account_id} not found.",
    )


def _read_arn(engine: Engine, arn: str) -> tuple[str, ConsumerName | None]:
    if any(kind in arn for kind in _LATER_RESOURCES):
        raise Fault(
            "ResourceNotFoundException",
            f"Resource {arn} not found: queues and channels are not supported by this version of streamd.",
        )
    if "/consumer/" in arn:
        name = read_consumer_arn(engine, arn)
        return name.stream_name, name
    return read_stream_arn(engine, arn), None


def _resource(holder: Stream | Consumer) -> Resource:
    return Resource(tags=holder.tags, policy=holder.policy)


def _require_active_consumer(engine: Engine, stream: Stream, consumer: Consumer, *, now_ms: int) -> None:
    if consumer.status(now_ms) is not Status.ACTIVE:
        raise Fault(
            "ResourceInUseException",
            f"Consumer {consumer.name} with creation timestamp {consumer.created_ms // 1000} "
            f"under stream {stream.name} and account {engine.account_id} is not in ACTIVE status.",
        )
