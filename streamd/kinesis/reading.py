"""Reading records: GetShardIterator and GetRecords."""

from contextlib import AbstractAsyncContextManager, nullcontext

from streamd.core.limits import GET_RECORDS_BYTE_COUNT_MAX, GET_RECORDS_COUNT_MAX
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
from streamd.kinesis.places import StartingPlace, position_before
from streamd.kinesis.records import dry_run_passed, throttle_sentence

__all__ = [
    "child_documents",
    "columns_of",
    "count_read",
    "find_shard",
    "get_records",
    "get_shard_iterator",
    "read_shard_index",
]


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
    place = StartingPlace(
        operation=call.operation,
        kind=call.members["ShardIteratorType"],
        number=call.get("StartingSequenceNumber"),
        time_ms=call.get("Timestamp"),
    )
    try:
        after = await position_before(engine, stream, shard, place)
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
    async with await _share(engine, stream, shard, after=place.after) as byte_count_max:
        batch = await _read(engine, stream, shard, after=place.after, limit=limit, byte_count_max=byte_count_max)
        if batch.data or batch.next_after is None or not call.wait_ms:
            return _written(engine, call, stream, batch, after=place.after)
    await engine.shards.wait_for_more(stream, shard, after=batch.next_after, timeout_s=call.wait_ms / 1000)
    # What came meanwhile may be a reshard or a deletion, so the stream is looked up again.
    stream, shard = await _find(engine, place)
    async with await _share(engine, stream, shard, after=place.after) as byte_count_max:
        batch = await _read(engine, stream, shard, after=place.after, limit=limit, byte_count_max=byte_count_max)
        return _written(engine, call, stream, batch, after=place.after)


def find_shard(engine: Engine, stream: Stream, index: int) -> Shard:
    """Give a shard of a stream that has not expired. Raises ShardNotFound."""
    shard = stream.tree.shard_by_index.get(index)
    if shard is None or not stream.shows(shard, now_ms=engine.clock.now_ms()):
        raise ShardNotFound(stream.name, shard_id(index))
    return shard


def columns_of(batch: ReadBatch) -> RecordColumns:
    """Give the records as an answer has them."""
    return RecordColumns(
        data=batch.data,
        partition_keys=batch.keys,
        sequence_numbers=batch.sequence_numbers,
        arrivals_ms=batch.arrivals_ms,
        encrypted=batch.is_encrypted,
    )


def child_documents(batch: ReadBatch) -> list[dict[str, object]]:
    """Describe the shards that follow one that was read to its end."""
    return [
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


def count_read(engine: Engine, stream: Stream, batch: ReadBatch) -> None:
    """Count what was read, for the stream and, where that is enabled, for its shard."""
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


def _written(engine: Engine, call: Call, stream: Stream, batch: ReadBatch, *, after: int) -> Answer:
    """Count what was read, and write it down. Raises Fault."""
    if batch.next_after is not None and batch.next_after < after:
        # The iterator leads past all there is: it was given before a restore.
        raise invalid_argument("Invalid ShardIterator.")
    if engine.quotas.is_on:
        engine.quotas.was_read(stream, batch.shard, byte_count=batch.byte_count)
    count_read(engine, stream, batch)
    return call.codec.encode_records(columns_of(batch), _rest(engine, stream, batch))


async def _find(engine: Engine, place: ShardIterator) -> tuple[Stream, Shard]:
    try:
        stream = await engine.streams.load(place.stream_name)
    except StreamNotFound:
        raise ShardNotFound(place.stream_name, shard_id(place.shard_index)) from None
    if stream.number != place.stream_number:
        raise ShardNotFound(place.stream_name, shard_id(place.shard_index))
    return stream, find_shard(engine, stream, place.shard_index)


async def _share(engine: Engine, stream: Stream, shard: Shard, *, after: int) -> AbstractAsyncContextManager[int]:
    """Give what waits for one's turn at a large answer; whoever is at the tip, where little comes, needs none."""
    try:
        is_at_tip = after >= await engine.shards.tip(stream, shard)
    except ShardMissing:
        raise ShardNotFound(stream.name, shard.id) from None
    return nullcontext(GET_RECORDS_BYTE_COUNT_MAX) if is_at_tip else engine.answers.share(GET_RECORDS_BYTE_COUNT_MAX)


async def _read(
    engine: Engine, stream: Stream, shard: Shard, *, after: int, limit: int, byte_count_max: int
) -> ReadBatch:
    if not byte_count_max:
        # Clients that do not take what they asked for have brought the worker to this.
        raise Fault("ProvisionedThroughputExceededException", throttle_sentence(engine, stream, shard.id))
    try:
        return await engine.shards.read(stream, shard, after=after, limit=limit, byte_count_max=byte_count_max)
    except ShardMissing:
        raise ShardNotFound(stream.name, shard.id) from None


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


def _rest(engine: Engine, stream: Stream, batch: ReadBatch) -> dict[str, object]:
    if batch.next_after is not None:
        token = _iterator(engine, stream, batch.shard, batch.next_after)
        return {"NextShardIterator": token, "MillisBehindLatest": batch.behind_ms}
    return {"MillisBehindLatest": batch.behind_ms, "ChildShards": child_documents(batch)}
