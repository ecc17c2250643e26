"""Putting records: PutRecord and PutRecords.

Checks come in AWS's order: the stream, the hash keys, the ordering number, the sizes. Then everything is stored at
once, and each record gets its own answer.
"""

import logging
from typing import cast

from streamd.core.blocks import RecordColumns
from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.core.limits import PUT_RECORDS_BYTE_COUNT_MAX
from streamd.core.put_tokens import PRODUCER_HEADER
from streamd.core.sequence_numbers import parse
from streamd.core.stream import Distribution, Stream
from streamd.engine.engine import Engine
from streamd.engine.shards import Outcomes
from streamd.errors import StreamNotFound
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault, ValidationFailed
from streamd.kinesis.naming import invalid_argument, load_stream, require_readable
from streamd.kinesis.validation import EntryColumns

__all__ = [
    "count_put",
    "dry_run_passed",
    "encryption_members",
    "put_record",
    "put_records",
    "require_writable",
    "throttle_sentence",
]

_LOG = logging.getLogger(__name__)
_THROTTLED = "ProvisionedThroughputExceededException"


async def put_record(engine: Engine, call: Call) -> Answer:
    """Store one record. Raises Fault and the engine's errors."""
    stream = await _load_writable(engine, call)
    hash_key = call.get("ExplicitHashKey")
    entry = EntryColumns([call.members["Data"]], [call.get("PartitionKey")], None if hash_key is None else [hash_key])
    columns, hash_keys = _columns(stream, entry, path="")
    if (ordering := call.get("SequenceNumberForOrdering")) is not None:
        _check_ordering(engine, stream, ordering)
    _check_sizes(stream, columns, path="data")
    _end_dry_run(call)
    outcomes = await engine.shards.put(stream, columns, hash_keys=hash_keys, depth=call.depth, token=call.token)
    (shard_id,), (sequence_number,) = outcomes.shard_ids, outcomes.sequence_numbers
    if sequence_number is None:
        raise Fault(_THROTTLED, throttle_sentence(engine, stream, shard_id))
    count_put(engine, stream, columns, outcomes)
    answer = {"ShardId": shard_id, "SequenceNumber": sequence_number}
    return answer | encryption_members(stream)


async def put_records(engine: Engine, call: Call) -> Answer:
    """Store up to 500 records; those over a limit are refused one by one. Raises Fault and the engine's errors."""
    stream = await _load_writable(engine, call)
    columns, hash_keys = _columns(stream, call.members["Records"], path="records.{}.member.")
    _check_sizes(stream, columns, path="records.{}.member.data")
    if columns.byte_count > PUT_RECORDS_BYTE_COUNT_MAX:
        raise invalid_argument("Records size exceeds 10 MB limit")
    _end_dry_run(call)
    outcomes = await engine.shards.put(stream, columns, hash_keys=hash_keys, depth=call.depth, token=call.token)
    count_put(engine, stream, columns, outcomes)
    rows = [
        {"SequenceNumber": number, "ShardId": shard_id}
        if number is not None
        else {"ErrorCode": _THROTTLED, "ErrorMessage": throttle_sentence(engine, stream, shard_id)}
        for shard_id, number in zip(outcomes.shard_ids, outcomes.sequence_numbers, strict=True)
    ]
    failed_count = outcomes.sequence_numbers.count(None)
    if failed_count:
        _LOG.warning("PutRecords to %s refused %d of %d records", stream.name, failed_count, len(rows))
        engine.metrics.put_failed(stream.name, record_count=failed_count)
    return {"FailedRecordCount": failed_count, "Records": rows} | encryption_members(stream)


def require_writable(stream: Stream, *, now_ms: int) -> None:
    """Refuse a stream that takes no puts: it answers as if it were not there. Raises StreamNotFound."""
    require_readable(stream, now_ms=now_ms)
    if stream.deleting_ms is not None:
        raise StreamNotFound(stream.name)


async def _load_writable(engine: Engine, call: Call) -> Stream:
    """Load the stream; one that is being created or deleted answers as if it were not there."""
    stream = await load_stream(engine, call)
    require_writable(stream, now_ms=engine.clock.now_ms())
    if call.token is not None and stream.distribution is not Distribution.USER_PARTITION_KEY:
        raise invalid_argument(f"{PRODUCER_HEADER} needs a stream whose records go by their partition keys.")
    return stream


def _columns(stream: Stream, entries: EntryColumns, *, path: str) -> tuple[RecordColumns, list[int | None] | None]:
    """Turn checked entries into records as they are stored, and their explicit hash keys if there are any."""
    keys: list[bytes | None]
    if None not in entries.keys:
        keys = [key.encode() for key in cast("list[str]", entries.keys)]
    elif stream.distribution is Distribution.USER_PARTITION_KEY:
        member = path.format(entries.keys.index(None) + 1) + "partitionKey"
        raise ValidationFailed(
            f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
            "Member must not be null"
        )
    else:
        keys = [None if key is None else key.encode() for key in entries.keys]
    columns = RecordColumns(keys, entries.data)
    if entries.hash_keys is None:
        return columns, None
    return columns, [None if text is None else _hash_key(text) for text in entries.hash_keys]


def _hash_key(text: str) -> int:
    hash_key = int(text)
    if hash_key > HASH_KEY_MAX:
        raise invalid_argument(
            f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        )
    return hash_key


def _check_ordering(engine: Engine, stream: Stream, text: str) -> None:
    number = parse(text)
    now_s = engine.clock.now_ms() // 1000
    # A shard made by several reshards within one second lies a little ahead of the clock.
    if number is None or number.arrival_s > now_s + 60:
        raise invalid_argument(
            f"ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {stream.name} "
            f"under account {engine.account_id} is invalid."
        )


def _check_sizes(stream: Stream, columns: RecordColumns, *, path: str) -> None:
    byte_count_max = stream.record_kib_max * 1024
    if max(map(len, columns.data)) + 1024 <= byte_count_max:
        return
    for place, (key, data) in enumerate(zip(columns.keys, columns.data, strict=True), start=1):
        if len(data) + len(key or b"") > byte_count_max:
            raise ValidationFailed(
                "1 validation error detected: Value "
                f"'java.nio.HeapByteBuffer[pos=0 lim={len(data)} cap={len(data)}]' at '{path.format(place)}' "
                f"failed to satisfy constraint: Member must have length less than or equal to {byte_count_max}"
            )


def _end_dry_run(call: Call) -> None:
    """End a dry run, now that everything was checked."""
    if call.get("DryRun"):
        raise dry_run_passed(call)


def dry_run_passed(call: Call) -> Fault:
    """Make the fault by which AWS says that a dry run found nothing wrong."""
    return Fault(
        "DryRunOperationException",
        f"DryRunOperation validation succeeded while calling {call.operation} operation.: "
        "Request would have succeeded, but DryRun flag is set.",
    )


def throttle_sentence(engine: Engine, stream: Stream, shard_id: str) -> str:
    """Write AWS's sentence for a shard over its limits."""
    return f"Rate exceeded for shard {shard_id} in stream {stream.name} under account {engine.account_id}."


def encryption_members(stream: Stream) -> dict[str, str]:
    """Give the member by which an answer says that its records are encrypted, if they are."""
    return {"EncryptionType": "KMS"} if stream.encryption.key_id is not None else {}


def count_put(engine: Engine, stream: Stream, columns: RecordColumns, outcomes: Outcomes) -> None:
    """Count what was stored of a put, for the stream and, where that is enabled, for its shards."""
    record_count = len(columns.data)
    if not stream.metrics and None not in outcomes.sequence_numbers:
        engine.metrics.put(stream.name, record_count=record_count, byte_count=columns.byte_count)
        return
    placed = [
        (shard, len(data) + len(key or b""))
        for shard, number, key, data in zip(
            outcomes.shard_ids, outcomes.sequence_numbers, columns.keys, columns.data, strict=True
        )
        if number is not None
    ]
    engine.metrics.put(stream.name, record_count=len(placed), byte_count=sum(size for _, size in placed))
    for shard, size in placed:
        if "IncomingRecords" in stream.metrics:
            engine.metrics.shard("IncomingRecords", stream.name, shard, amount=1)
        if "IncomingBytes" in stream.metrics:
            engine.metrics.shard("IncomingBytes", stream.name, shard, amount=size)
