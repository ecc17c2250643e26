"""Places in a shard as callers name them: its horizon, its tip, a time, a sequence number or the place after one."""

from dataclasses import dataclass

from streamd.core.sequence_numbers import SequenceNumber, parse
from streamd.core.shard_tree import Shard, shard_id
from streamd.core.stream import Stream
from streamd.engine.engine import Engine
from streamd.kinesis.naming import invalid_argument

__all__ = ["StartingPlace", "position_before"]

_BY_NUMBER = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPlace:
    """Where a call wants to begin. ``kind`` is one of the model's ShardIteratorType."""

    operation: str
    kind: str
    number: str | None
    time_ms: int | None


async def position_before(engine: Engine, stream: Stream, shard: Shard, place: StartingPlace) -> int:
    """Give the position after which to read. Raises Fault and ShardMissing."""
    if (place.kind in _BY_NUMBER) is (place.number is None) and place.kind != "AT_TIMESTAMP":
        given = "no StartingSequenceNumber" if place.number is None else "also a StartingSequenceNumber"
        raise invalid_argument(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
            "(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
            f"Request specified {place.kind} and {given}."
        )
    match place.kind:
        case "TRIM_HORIZON":
            return 0
        case "LATEST":
            return await engine.shards.tip(stream, shard)
        case "AT_TIMESTAMP":
            return await _before_time(engine, stream, shard, place.time_ms)
        case _:
            number = await _number(engine, stream, shard, place)
            is_at_record = place.kind == "AT_SEQUENCE_NUMBER" and not number.is_gap
            return number.position - 1 if is_at_record and number.position else number.position


async def _before_time(engine: Engine, stream: Stream, shard: Shard, time_ms: int | None) -> int:
    now_ms = engine.clock.now_ms()
    if time_ms is None:
        raise invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
            "Current request has no timestamp parameter."
        )
    # After the clock was set back, what was put before it lies ahead, and its own times lead to it all the same.
    if time_ms > now_ms and time_ms > await engine.shards.last_arrival_ms(stream, shard):
        raise invalid_argument(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            f"timestampInMillis: {time_ms}, currentTimestampInMillis: {now_ms}"
        )
    return await engine.shards.before_time(stream, shard, time_ms=max(0, time_ms))


async def _number(engine: Engine, stream: Stream, shard: Shard, place: StartingPlace) -> SequenceNumber:
    text = str(place.number)
    number = parse(text)
    sentence = (
        f"StartingSequenceNumber {text} used in {place.operation} on shard {shard.id} "
        f"in stream {stream.name} under account {engine.account_id} is invalid"
    )
    if number is None:
        raise invalid_argument(f"{sentence}.")
    if number.shard_index != shard.index:
        raise invalid_argument(
            f"Invalid StartingSequenceNumber. It encodes {shard_id(number.shard_index)}, "
            f"while it was used in a call to a shard with {shard.id}"
        )
    if number.shard_created_s != shard.created_s or not await engine.shards.knows(stream, shard, number):
        raise invalid_argument(f"{sentence} because it did not come from this stream.")
    return number
