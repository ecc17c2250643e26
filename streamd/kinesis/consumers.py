"""Registered consumers (enhanced fan-out): Register, Deregister, Describe and ListStreamConsumers.

A consumer is kept in its stream's document, so registering is decided on the stream's present value and the limits
hold however many workers there are. Its ARN carries the second it was registered: an ARN from before a consumer was
deregistered and registered again names nothing.
"""

from dataclasses import replace
from typing import Any

from streamd.core.limits import CONSUMER_COUNT_MAX, CONSUMER_COUNT_MAX_ADVANTAGE
from streamd.core.stream import Consumer, Status, Stream, StreamMode
from streamd.core.tokens import PageToken
from streamd.engine.engine import Engine
from streamd.errors import ConsumerNotFound, TokenInvalid
from streamd.kinesis.account import is_committed
from streamd.kinesis.codecs import Timestamp
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import (
    ConsumerName,
    consumer_arn,
    invalid_argument,
    load_stream,
    read_consumer_arn,
    read_stream_arn,
    require_active,
    stream_arn,
    stream_name_of,
)
from streamd.kinesis.resources import find_consumer, require_created_at
from streamd.kinesis.tags import checked_tags

__all__ = [
    "deregister_stream_consumer",
    "describe_stream_consumer",
    "list_stream_consumers",
    "register_stream_consumer",
]

_PAGE_COUNT_MAX = 100
_CREATING_COUNT_MAX = 5


async def register_stream_consumer(engine: Engine, call: Call) -> Answer:
    """Register a consumer with a stream. Raises Fault and StreamNotFound."""
    name = call.members["ConsumerName"]
    is_advantage = await is_committed(engine)

    def decide(stream: Stream) -> Stream:
        now_ms = engine.clock.now_ms()
        require_active(engine, stream)
        _require_room(engine, stream, name, is_advantage=is_advantage)
        consumer = Consumer(name=name, created_ms=now_ms, active_ms=now_ms + engine.transition_ms)
        arn = consumer_arn(engine, call, stream.name, consumer)
        tags = checked_tags(engine, call.get("Tags") or {}, present={}, what=f"resource {arn}")
        return stream.with_consumer(replace(consumer, tags=tags), now_ms=now_ms)

    stream = await engine.streams.change(stream_name_of(engine, call), decide)
    registered = next(consumer for consumer in stream.consumers if consumer.name == name)
    # AWS answers with the state the registration begins in, however quickly it ends.
    document = _document(engine, call, stream, registered) | {"ConsumerStatus": Status.CREATING}
    return {"Consumer": document}


async def deregister_stream_consumer(engine: Engine, call: Call) -> Answer:
    """Deregister a consumer; one that is being deregistered is left to it. Raises Fault and the engine's errors."""
    stream_name, identity = _identify(engine, call)

    def decide(stream: Stream) -> Stream:
        now_ms = engine.clock.now_ms()
        consumer = _find(engine, stream, identity)
        if consumer.deleting_ms is not None:
            return stream
        gone = replace(consumer, deleting_ms=now_ms, gone_ms=now_ms + engine.transition_ms)
        return stream.with_consumer(gone, now_ms=now_ms)

    engine.subscriptions.nudge(await engine.streams.change(stream_name, decide))
    return None


async def describe_stream_consumer(engine: Engine, call: Call) -> Answer:
    """Describe a consumer. Raises Fault and the engine's errors."""
    stream_name, identity = _identify(engine, call)
    stream = await engine.streams.load(stream_name)
    consumer = _find(engine, stream, identity)
    arn = stream_arn(engine, call, stream_name)
    return {"ConsumerDescription": _document(engine, call, stream, consumer) | {"StreamARN": arn}}


async def list_stream_consumers(engine: Engine, call: Call) -> Answer:
    """List a page of a stream's consumers, in order of name. Raises Fault, StreamNotFound and the token's errors."""
    token, created_ms = call.get("NextToken"), call.get("StreamCreationTimestamp")
    if token is not None and created_ms is not None:
        raise invalid_argument("NextToken and StreamCreationTimestamp cannot be provided together.")
    stream = await load_stream(engine, call)
    require_created_at(engine, stream, created_ms)
    now_ms = engine.clock.now_ms()
    scope, after = f"ListStreamConsumers/{stream.number}", ""
    if token is not None:
        place = engine.tokens.read_page(token, scope=scope, now_ms=now_ms)
        if place.scope != scope:
            raise TokenInvalid
        after = place.after
    limit = min(call.get("MaxResults") or _PAGE_COUNT_MAX, _PAGE_COUNT_MAX)
    consumers = sorted(stream.live_consumers(now_ms), key=lambda consumer: consumer.name)
    found = [consumer for consumer in consumers if consumer.name > after]
    page = found[:limit]
    answer: dict[str, Any] = {"Consumers": [_document(engine, call, stream, c) for c in page]}
    if len(found) > limit:
        rest = PageToken(scope=scope, after=page[-1].name, created_ms=now_ms)
        answer["NextToken"] = engine.tokens.page(rest)
    return answer


def _require_room(engine: Engine, stream: Stream, name: str, *, is_advantage: bool) -> None:
    """Refuse a name that is taken, and a consumer too many. Raises Fault."""
    now_ms = engine.clock.now_ms()
    present = stream.live_consumers(now_ms)
    if any(consumer.name == name for consumer in present):
        raise Fault(
            "ResourceInUseException",
            f"Consumer {name} under stream: {stream.name}, account {engine.account_id} already exists.",
        )
    is_larger = is_advantage and stream.mode is StreamMode.ON_DEMAND
    limit = CONSUMER_COUNT_MAX_ADVANTAGE if is_larger else CONSUMER_COUNT_MAX
    if len(present) >= limit:
        raise Fault(
            "LimitExceededException",
            f"Stream {stream.name} already has the maximum of {limit} registered consumers.",
        )
    if sum(consumer.status(now_ms) is Status.CREATING for consumer in present) >= _CREATING_COUNT_MAX:
        raise Fault("LimitExceededException", "Only five consumers can be in the CREATING state at the same time.")


def _identify(engine: Engine, call: Call) -> tuple[str, ConsumerName | str]:
    """Give the stream's name, and what names the consumer in it: all of its ARN, or its name. Raises Fault."""
    arn, on_stream, name = call.get("ConsumerARN"), call.get("StreamARN"), call.get("ConsumerName")
    if arn is None:
        if on_stream is None or name is None:
            raise invalid_argument("Specify ConsumerARN or both StreamARN and ConsumerName.")
        return read_stream_arn(engine, on_stream), str(name)
    identity = read_consumer_arn(engine, arn)
    is_other_stream = on_stream is not None and read_stream_arn(engine, on_stream) != identity.stream_name
    if is_other_stream or name not in (None, identity.consumer_name):
        raise invalid_argument("ConsumerARN, ConsumerName and StreamARN must identify the same consumer.")
    return identity.stream_name, identity


def _find(engine: Engine, stream: Stream, identity: ConsumerName | str) -> Consumer:
    if isinstance(identity, ConsumerName):
        return find_consumer(engine, stream, identity)
    for consumer in stream.live_consumers(engine.clock.now_ms()):
        if consumer.name == identity:
            return consumer
    raise ConsumerNotFound(stream.name, identity)


def _document(engine: Engine, call: Call, stream: Stream, consumer: Consumer) -> dict[str, Any]:
    return {
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer_arn(engine, call, stream.name, consumer),
        "ConsumerStatus": consumer.status(engine.clock.now_ms()),
        "ConsumerCreationTimestamp": Timestamp(consumer.created_ms // 1000 * 1000),
    }
