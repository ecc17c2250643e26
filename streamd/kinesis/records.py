"""Putting records: PutRecord and PutRecords.

Checks come in AWS's order: the stream, the hash keys, the ordering number, the sizes. Then everything is stored at
once, and each record gets its own answer.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from streamd.core.blocks import RecordColumns
from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.core.limits import PUT_RECORDS_BYTE_COUNT_MAX
from streamd.core.sequence_numbers import parse
from streamd.core.stream import Distribution, Stream
from streamd.engine.engine import Engine
from streamd.engine.shards import Placed, Refused
from streamd.errors import StreamNotFound
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault, ValidationFailed
from streamd.kinesis.naming import invalid_argument, load_stream, require_readable

__all__ = ["dry_run_passed", "put_record", "put_records", "throttle_sentence"]

_LOG = logging.getLogger(__name__)
_THROTTLED = "ProvisionedThroughputExceededException"


async def put_record(engine: Engine, call: Call) -> Answer:
    """Store one record. Raises Fault and the engine's errors."""
    stream = await _load_writable(engine, call)
    columns, hash_keys = _columns(stream, [call.members], path="")
    if (ordering := call.get("SequenceNumberForOrdering")) is not None:
        _check_ordering(engine, stream, ordering)
    _check_sizes(stream, columns, path="data")
    _end_dry_run(call)
    (outcome,) = await engine.shards.put(stream, columns, hash_keys=hash_keys)
    if isinstance(outcome, Refused):
        raise Fault(_THROTTLED, throttle_sentence(engine, stream, outcome.shard_id))
    _count(engine, stream, columns, [outcome])
    answer = {"ShardId": outcome.shard_id, "SequenceNumber": outcome.sequence_number}
    return answer | _encryption(stream)


async def put_records(engine: Engine, call: Call) -> Answer:
    """Store up to 500 records; those over a limit are refused one by one. Raises Fault and the engine's errors."""
    stream = await _load_writable(engine, call)
    columns, hash_keys = _columns(stream, call.members["Records"], path="records.{}.member.")
    _check_sizes(stream, columns, path="records.{}.member.data")
    if columns.byte_count > PUT_RECORDS_BYTE_COUNT_MAX:
        raise invalid_argument("Records size exceeds 10 MB limit")
    _end_dry_run(call)
    outcomes = await engine.shards.put(stream, columns, hash_keys=hash_keys)
    placed = [outcome for outcome in outcomes if isinstance(outcome, Placed)]
    failed_count = len(outcomes) - len(placed)
    _count(engine, stream, columns, outcomes)
    if failed_count:
        _LOG.warning("PutRecords to %s refused %d of %d records", stream.name, failed_count, len(outcomes))
        engine.metrics.put_failed(stream.name, record_count=failed_count)
        rows = [_row(engine, stream, outcome) for outcome in outcomes]
    else:
        rows = [{"SequenceNumber": p.sequence_number, "ShardId": p.shard_id} for p in placed]
    return {"FailedRecordCount": failed_count, "Records": rows} | _encryption(stream)


async def _load_writable(engine: Engine, call: Call) -> Stream:
    """Load the stream; one that is being created or deleted answers as if it were not there."""
    stream = await load_stream(engine, call)
    require_readable(stream, now_ms=engine.clock.now_ms())
    if stream.deleting_ms is not None:
        raise StreamNotFound(stream.name)
    return stream


def _columns(
    stream: Stream, entries: Sequence[Mapping[str, Any]], *, path: str
) -> tuple[RecordColumns, list[int | None] | None]:
    """Turn entries into columns, and their explicit hash keys if there are any."""
    keys = [entry.get("PartitionKey") for entry in entries]
    if None in keys and stream.distribution is Distribution.USER_PARTITION_KEY:
        member = path.format(keys.index(None) + 1) + "partitionKey"
        raise ValidationFailed(
            f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
            "Member must not be null"
        )
    columns = RecordColumns(
        [None if key is None else key.encode() for key in keys], [entry["Data"] for entry in entries]
    )
    texts = [entry.get("ExplicitHashKey") for entry in entries]
    if texts.count(None) == len(texts):
        return columns, None
    return columns, [None if text is None else _hash_key(text) for text in texts]


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


def _row(engine: Engine, stream: Stream, outcome: Placed | Refused) -> dict[str, str]:
    if isinstance(outcome, Placed):
        return {"SequenceNumber": outcome.sequence_number, "ShardId": outcome.shard_id}
    return {"ErrorCode": _THROTTLED, "ErrorMessage": throttle_sentence(engine, stream, outcome.shard_id)}


def _encryption(stream: Stream) -> dict[str, str]:
    return {"EncryptionType": "KMS"} if stream.encryption.key_id is not None else {}


def _count(engine: Engine, stream: Stream, columns: RecordColumns, outcomes: Sequence[Placed | Refused]) -> None:
    sizes = [len(data) + len(key or b"") for key, data in zip(columns.keys, columns.data, strict=True)]
    placed = [(o.shard_id, size) for o, size in zip(outcomes, sizes, strict=True) if isinstance(o, Placed)]
    engine.metrics.put(stream.name, record_count=len(placed), byte_count=sum(size for _, size in placed))
    if not stream.metrics:
        return
    for shard, size in placed:
        if "IncomingRecords" in stream.metrics:
            engine.metrics.shard("IncomingRecords", stream.name, shard, amount=1)
        if "IncomingBytes" in stream.metrics:
            engine.metrics.shard("IncomingBytes", stream.name, shard, amount=size)
