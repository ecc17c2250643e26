"""Reading records: GetShardIterator and GetRecords."""

from streamd.core.limits import GET_RECORDS_COUNT_MAX
from streamd.core.sequence_numbers import SequenceNumber, parse
from streamd.core.shard_tree import Shard, shard_id, shard_index
from streamd.core.stream import Stream
from streamd.core.tokens import ShardIterator
from streamd.engine.engine import Engine
from streamd.engine.shards import ReadBatch
from streamd.errors import ShardMissing, ShardNotFound, StreamNotFound, TokenInvalid
from streamd.kinesis.codecs import RecordColumns
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import invalid_argument, read_stream_arn, require_readable, stream_name_of
from streamd.kinesis.records import dry_run_passed, throttle_sentence

__all__ = ["find_shard", "get_records", "get_shard_iterator", "read_shard_index"]

_BY_NUMBER = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")


def read_shard_index(engine: Engine, identity: str, stream_name: str) -> int:
    """Read a shard's index from its id as AWS does: what follows the last hyphen. Raises Fault."""
    index = shard_index(identity.rpartition("-")[2])
    if index is None or index > 0x7FFF_FFFF:
        raise Fault(
            "ResourceNotFoundException",
            f"Could not find shard {identity} in stream {stream_name} under account {engine.account_id}.",
        )
    return index


async def get_shard_iterator(engine: Engine, call: Call) -> Answer:
    """Answer an iterator for a place in a shard. Raises Fault and the engine's errors."""
    name = stream_name_of(engine, call)
    index = read_shard_index(engine, call.members["ShardId"], name)
    try:
        stream = await engine.streams.load(name)
        require_readable(stream, now_ms=engine.clock.now_ms())
    except StreamNotFound:
        raise ShardNotFound(name, shard_id(index)) from None
    shard = find_shard(engine, stream, index)
    try:
        after = await _place(engine, call, stream, shard)
    except ShardMissing:
        raise ShardNotFound(name, shard.id) from None
    if call.get("DryRun"):
        raise dry_run_passed(call)
    return {"ShardIterator": _iterator(engine, stream, shard, after)}


async def get_records(engine: Engine, call: Call) -> Answer:
    """Answer records from an iterator on, and the next iterator. Raises Fault and the engine's errors."""
    token = call.members["ShardIterator"].strip('"')
    now_ms = engine.clock.now_ms()
    try:
        place = engine.tokens.read_iterator(token, now_ms=now_ms)
    except TokenInvalid:
        raise invalid_argument("Invalid ShardIterator.") from None
    _check_arn(engine, call, place.stream_name)
    if call.get("DryRun"):
        raise dry_run_passed(call)
    stream, shard = await _find(engine, place)
    if engine.quotas.is_on and not engine.quotas.may_read(stream, shard):
        raise Fault("ProvisionedThroughputExceededException", throttle_sentence(engine, stream, shard.id))
    limit = call.get("Limit") or GET_RECORDS_COUNT_MAX
    batch = await _read(engine, stream, shard, after=place.after, limit=limit)
    if not batch.data and batch.next_after is not None and call.wait_ms:
        await engine.shards.wait_for_more(stream, shard, after=batch.next_after, timeout_s=call.wait_ms / 1000)
        # What came meanwhile may be a reshard or a deletion, so the stream is looked up again.
        stream, shard = await _find(engine, place)
        batch = await _read(engine, stream, shard, after=place.after, limit=limit)
    if engine.quotas.is_on:
        engine.quotas.was_read(stream, shard, byte_count=batch.byte_count)
    _count(engine, stream, batch)
    return call.codec.encode_records(_columns(batch), _rest(engine, stream, batch))


def find_shard(engine: Engine, stream: Stream, index: int) -> Shard:
    """Give a shard of a stream that has not expired. Raises ShardNotFound."""
    shard = stream.tree.shard_by_index.get(index)
    if shard is None or not stream.shows(shard, now_ms=engine.clock.now_ms()):
        raise ShardNotFound(stream.name, shard_id(index))
    return shard


async def _find(engine: Engine, place: ShardIterator) -> tuple[Stream, Shard]:
    try:
        stream = await engine.streams.load(place.stream_name)
    except StreamNotFound:
        raise ShardNotFound(place.stream_name, shard_id(place.shard_index)) from None
    if stream.number != place.stream_number:
        raise ShardNotFound(place.stream_name, shard_id(place.shard_index))
    return stream, find_shard(engine, stream, place.shard_index)


async def _read(engine: Engine, stream: Stream, shard: Shard, *, after: int, limit: int) -> ReadBatch:
    try:
        return await engine.shards.read(stream, shard, after=after, limit=limit)
    except ShardMissing:
        raise ShardNotFound(stream.name, shard.id) from None


async def _place(engine: Engine, call: Call, stream: Stream, shard: Shard) -> int:
    """Give the position after which to read."""
    kind = call.members["ShardIteratorType"]
    text = call.get("StartingSequenceNumber")
    if (kind in _BY_NUMBER) is (text is None) and kind != "AT_TIMESTAMP":
        given = "no StartingSequenceNumber" if text is None else "also a StartingSequenceNumber"
        raise invalid_argument(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
            "(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
            f"Request specified {kind} and {given}."
        )
    match kind:
        case "TRIM_HORIZON":
            return 0
        case "LATEST":
            return await engine.shards.tip(stream, shard)
        case "AT_TIMESTAMP":
            return await _after_time(engine, call, stream, shard)
        case _:
            number = _number(engine, stream, shard, str(text))
            return number.position - 1 if kind == "AT_SEQUENCE_NUMBER" and number.position else number.position


async def _after_time(engine: Engine, call: Call, stream: Stream, shard: Shard) -> int:
    time_ms = call.get("Timestamp")
    now_ms = engine.clock.now_ms()
    if time_ms is None:
        raise invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
            "Current request has no timestamp parameter."
        )
    if time_ms > now_ms:
        raise invalid_argument(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            f"timestampInMillis: {time_ms}, currentTimestampInMillis: {now_ms}"
        )
    return await engine.shards.before_time(stream, shard, time_ms=max(0, time_ms))


def _number(engine: Engine, stream: Stream, shard: Shard, text: str) -> SequenceNumber:
    number = parse(text)
    sentence = (
        f"StartingSequenceNumber {text} used in GetShardIterator on shard {shard.id} "
        f"in stream {stream.name} under account {engine.account_id} is invalid"
    )
    if number is None:
        raise invalid_argument(f"{sentence}.")
    if number.shard_index != shard.index:
        raise invalid_argument(
            f"Invalid StartingSequenceNumber. It encodes {shard_id(number.shard_index)}, "
            f"while it was used in a call to a shard with {shard.id}"
        )
    if number.shard_created_s != shard.created_s:
        raise invalid_argument(f"{sentence} because it did not come from this stream.")
    return number


def _check_arn(engine: Engine, call: Call, stream_name: str) -> None:
    arn = call.get("StreamARN")
    if arn is None:
        return
    inferred = read_stream_arn(engine, arn)
    if inferred != stream_name:
        raise invalid_argument(
            f"Input stream name {stream_name} doesn't match the inferred name in stream arn {inferred}"
        )


def _iterator(engine: Engine, stream: Stream, shard: Shard, after: int) -> str:
    return engine.tokens.iterator(
        ShardIterator(
            stream_name=stream.name,
            stream_number=stream.number,
            shard_index=shard.index,
            after=after,
            created_ms=engine.clock.now_ms(),
        )
    )


def _columns(batch: ReadBatch) -> RecordColumns:
    return RecordColumns(
        data=batch.data,
        partition_keys=batch.keys,
        sequence_numbers=batch.sequence_numbers,
        arrivals_ms=batch.arrivals_ms,
        encrypted=batch.is_encrypted,
    )


def _rest(engine: Engine, stream: Stream, batch: ReadBatch) -> dict[str, object]:
    if batch.next_after is not None:
        token = _iterator(engine, stream, batch.shard, batch.next_after)
        return {"NextShardIterator": token, "MillisBehindLatest": batch.behind_ms}
    children = [
        {
            "ShardId": child.id,
            "ParentShards": [shard_id(index) for index in child.parent_indexes],
            "HashKeyRange": {
                "StartingHashKey": str(child.hash_range.start),
                "EndingHashKey": str(child.hash_range.end),
            },
        }
        for child in batch.children
    ]
    return {"MillisBehindLatest": batch.behind_ms, "ChildShards": children}


def _count(engine: Engine, stream: Stream, batch: ReadBatch) -> None:
    engine.metrics.read(
        stream.name, record_count=len(batch.data), byte_count=batch.byte_count, behind_ms=batch.behind_ms
    )
    amounts = {
        "OutgoingRecords": len(batch.data),
        "OutgoingBytes": batch.byte_count,
        "IteratorAgeMilliseconds": batch.behind_ms,
    }
    for metric in amounts.keys() & set(stream.metrics):
        engine.metrics.shard(metric, stream.name, batch.shard.id, amount=amounts[metric])
