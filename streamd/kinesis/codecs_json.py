"""JSON 1.1 as AWS speaks it: blobs are base64 and moments are seconds with a fraction.

Reading gives plain values, in which a blob is still text: only its shape tells that it is one, so
`validation` decodes it. It refuses whatever is not JSON, lone surrogates and nesting past orjson's
1,024 levels included, and large bodies that are nothing but tiny values.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from pybase64 import b64encode_as_string

from streamd.core.moments import Timestamp
from streamd.kinesis.codecs_values import RecordColumns
from streamd.kinesis.faults import SerializationFailed

__all__ = ["decode_json", "encode_json", "encode_records_json"]

# A body of tiny values takes up to forty times its own size once it is parsed. Below this size that is
# harmless; above it, no honest request has as many values as this: 500 keys of nothing but commas do not.
_UNCOUNTED_BYTE_COUNT_MAX = 1_048_576
_MARK_COUNT_MAX = 262_144
_MARKS = (b",", b"[", b"{")


def decode_json(body: bytes) -> object:
    """Return what the body says.

    Raises SerializationFailed, without a sentence as AWS does, if it is not JSON.
    """
    if len(body) > _UNCOUNTED_BYTE_COUNT_MAX:
        _refuse_swarm(body)
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SerializationFailed from error
    return document


def encode_json(document: Mapping[str, object]) -> bytes:
    """Return the document as JSON."""
    # Without the option orjson would write a Timestamp as a map of its fields.
    return orjson.dumps(document, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def encode_records_json(records: RecordColumns, rest: Mapping[str, object]) -> bytes:
    """Return a GetRecords answer: the records, then the other members of the answer."""
    rows: list[dict[str, object]] = [
        {
            "SequenceNumber": sequence_number,
            "ApproximateArrivalTimestamp": arrival_ms / 1000,
            "Data": b64encode_as_string(data),
            "PartitionKey": None if key is None else key.decode(),
        }
        for sequence_number, arrival_ms, data, key in zip(
            records.sequence_numbers, records.arrivals_ms, records.data, records.partition_keys, strict=True
        )
    ]
    if None in records.partition_keys:
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    if any(records.encrypted):
        for row, is_encrypted in zip(rows, records.encrypted, strict=True):
            if is_encrypted:
                row["EncryptionType"] = "KMS"
    return encode_json({"Records": rows, **rest})


def _plain(value: object) -> object:
    """Return a value that orjson knows, for one that it does not."""
    match value:
        case bytes():
            return b64encode_as_string(value)
        case Timestamp():
            return value.ms / 1000
        case _:
            raise TypeError(f"an answer cannot hold a {type(value).__name__}")


def _refuse_swarm(body: bytes) -> None:
    """Raise SerializationFailed if the body holds more values than any honest request.

    Base64 has none of the marks, so looking for them costs next to nothing in a body of large records.
    """
    for mark in _MARKS:
        position = -1
        for _ in range(_MARK_COUNT_MAX):
            position = body.find(mark, position + 1)
            if position < 0:
                break
        else:
            raise SerializationFailed
