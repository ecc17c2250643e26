"""Pushing records: SubscribeToShard (enhanced fan-out).

What is wrong with the call itself is an answer like any other. After that the answer is an event stream: first
``initial-response``, then an event for each batch of records and now and then an empty one, at last, if need be, the
fault that ended the subscription, all in the codec of the request.
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from streamd.core.event_stream import Message, encode
from streamd.core.stream import Consumer, Status, Stream
from streamd.engine.engine import Engine
from streamd.engine.subscriptions import Push, Subscription
from streamd.errors import ShardMissing, ShardNotFound, StreamdError
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import read_consumer_arn, require_readable
from streamd.kinesis.places import StartingPlace, position_before
from streamd.kinesis.reading import child_documents, columns_of, count_read, find_shard, read_shard_index
from streamd.kinesis.records import dry_run_passed
from streamd.kinesis.refusals import fault_of
from streamd.kinesis.resources import find_consumer

__all__ = ["subscribe_to_shard"]

_LOG = logging.getLogger(__name__)


async def subscribe_to_shard(engine: Engine, call: Call) -> Answer:
    """Push a shard's records to a registered consumer. Raises Fault and the engine's errors."""
    identity = read_consumer_arn(engine, call.members["ConsumerARN"])
    index = read_shard_index(engine, call.members["ShardId"], identity.stream_name)
    stream = await engine.streams.load(identity.stream_name)
    require_readable(stream, now_ms=engine.clock.now_ms())
    consumer = find_consumer(engine, stream, identity)
    _require_active(engine, stream, consumer)
    shard = find_shard(engine, stream, index)
    position = call.members["StartingPosition"]
    place = StartingPlace(
        operation=call.operation,
        kind=position["Type"],
        number=position.get("SequenceNumber"),
        time_ms=position.get("Timestamp"),
    )
    try:
        after = await position_before(engine, stream, shard, place)
    except ShardMissing:
        raise ShardNotFound(stream.name, shard.id) from None
    if call.get("DryRun"):
        raise dry_run_passed(call)
    subscription = engine.subscriptions.begin(stream, shard, consumer)
    return _messages(engine, call, subscription, after=after)


def _require_active(engine: Engine, stream: Stream, consumer: Consumer) -> None:
    if consumer.status(engine.clock.now_ms()) is not Status.ACTIVE:
        raise Fault(
            "ResourceInUseException",
            f"Consumer {consumer.name} with creation timestamp {consumer.created_ms // 1000} "
            f"under stream: {stream.name}, account {engine.account_id} is not in ACTIVE status.",
        )


async def _messages(
    engine: Engine, call: Call, subscription: Subscription, *, after: int
) -> AsyncGenerator[bytes, None]:
    yield _event(call, "initial-response", call.codec.encode({}))
    try:
        async with aclosing(engine.subscriptions.pushes(subscription, after=after)) as pushes:
            async for push in pushes:
                event = _event(call, "SubscribeToShardEvent", _payload(engine, call, push))
                del push  # its records, which the event has too
                yield event
    except StreamdError as cause:
        fault = fault_of(cause, account_id=engine.account_id)
        if fault.status >= 500:
            _LOG.error("%s failed: %s", call.operation, cause)
        yield _exception(call, fault)


def _payload(engine: Engine, call: Call, push: Push) -> bytes:
    batch = push.batch
    if batch.data:
        count_read(engine, push.stream, batch)
    rest: dict[str, object] = {"MillisBehindLatest": batch.behind_ms}
    if batch.next_after is None:
        # Kinesis's own client takes an event without a continuation as the end of the shard.
        rest["ChildShards"] = child_documents(batch)
    else:
        rest["ContinuationSequenceNumber"] = str(batch.shard.number_after(batch.next_after))
    return call.codec.encode_records(columns_of(batch), rest)


def _event(call: Call, kind: str, payload: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": call.codec.content_type}
    return encode(Message(headers, payload))


def _exception(call: Call, fault: Fault) -> bytes:
    headers = {":message-type": "exception", ":exception-type": fault.code, ":content-type": call.codec.content_type}
    return encode(Message(headers, call.codec.encode_fault(fault)))
