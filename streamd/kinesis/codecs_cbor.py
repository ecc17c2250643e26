"""CBOR 1.1 as AWS speaks it: blobs are byte strings and moments are tag 1 with integer milliseconds.

Tag 1 with milliseconds is not what RFC 8949 says, but it is what AWS and its Java clients write. Reading
takes the part of CBOR that those clients use: maps, lists and strings of known or unknown length,
numbers, booleans, null, and tag 1. It refuses every other tag (shared references, big numbers, regular
expressions), unassigned simple values, deep nesting, and more items than any honest request has, so that
a body never takes more than a small multiple of its own size.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from struct import pack

import cbor2

from streamd.core.moments import Timestamp
from streamd.kinesis.codecs_values import RecordColumns
from streamd.kinesis.faults import SerializationFailed

__all__ = ["decode_cbor", "encode_cbor", "encode_records_cbor"]

# The deepest request has four levels; unknown members may add some.
_DEPTH_MAX = 32
# 500 records are 4,000 items. Long texts and blobs may come in chunks, which are items too.
_ITEM_COUNT_MAX = 65_536

_BYTE_STRING = 0x40
_TEXT = 0x60
_LIST = 0x80
_MAP = 0xA0
_REFUSED = -1
_LENGTH_FOLLOWS = 0
_EPOCH_TAG = 0xC1
# Heads of every length that a partition key or a small record has, made once.
_SHORT_COUNT = 2_048

# A record up to its data, which comes last so that it is copied only once, into the whole answer.
_RECORD = b"%c\x6eSequenceNumber%b%b\x78\x1bApproximateArrivalTimestamp\xc1\x1b%b%b%b\x64Data%b"
_KEY = b"\x6cPartitionKey"
_ENCRYPTED = b"\x6eEncryptionType\x63KMS"


def decode_cbor(body: bytes) -> object:
    """Return what the body says, moments as `Timestamp`.

    Raises SerializationFailed, without a sentence as AWS does, if it is not CBOR or not of the kind that
    AWS's clients write.
    """
    _refuse_strange_items(body)
    try:
        document: object = cbor2.loads(
            body,
            max_depth=_DEPTH_MAX,
            strict_hashable_types=True,
            semantic_decoders={1: _timestamp},
        )
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError) as error:
        raise SerializationFailed from error
    return document


def encode_cbor(document: Mapping[str, object]) -> bytes:
    """Return the document as CBOR."""
    return _encode(document)


def encode_records_cbor(records: RecordColumns, rest: Mapping[str, object]) -> bytes:
    """Return a GetRecords answer: the records, then the other members of the answer."""
    count = len(records.data)
    arrivals = pack(f">{count}Q", *records.arrivals_ms)
    heads = [
        _RECORD
        % (
            _MAP | (3 + (key is not None) + is_encrypted),
            _TEXT_HEADS[len(number)],
            number,
            arrivals[offset : offset + 8],
            b"" if key is None else _KEY + _TEXT_HEADS[len(key)] + key,
            _ENCRYPTED if is_encrypted else b"",
            _BYTE_HEADS[size] if (size := len(data)) < _SHORT_COUNT else _head(_BYTE_STRING, size),
        )
        for number, offset, data, key, is_encrypted in zip(
            map(str.encode, records.sequence_numbers),
            range(0, 8 * count, 8),
            records.data,
            records.partition_keys,
            records.encrypted,
            strict=True,
        )
    ]
    rows = chain.from_iterable(zip(heads, records.data, strict=True))
    others = [part for name, value in rest.items() for part in (cbor2.dumps(name), _encode(value))]
    return b"".join([_head(_MAP, 1 + len(rest)), b"\x67Records", _head(_LIST, count), *rows, *others])


def _encode(value: object) -> bytes:
    """Return one value as CBOR."""
    return cbor2.dumps(value, default=_write_timestamp)


def _write_timestamp(encoder: cbor2.CBOREncoder, value: object) -> None:
    """Write the one value of ours that cbor2 does not know."""
    if not isinstance(value, Timestamp):
        raise TypeError(f"an answer cannot hold a {type(value).__name__}")
    encoder.encode(cbor2.CBORTag(1, value.ms))


def _timestamp(value: object, _immutable: bool) -> Timestamp:  # noqa: FBT001 - cbor2 calls it so
    """Return the moment that tag 1 holds; a fraction of a millisecond is dropped."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("tag 1 holds no number")  # noqa: TRY004 - it is a fault of the body
    return Timestamp(int(value))


def _refuse_strange_items(body: bytes) -> None:
    """Raise SerializationFailed at the first item that no client of AWS writes, or after too many.

    Items follow one another without gaps, so hopping from head to head sees all of them, nested or not,
    and skips what the strings hold. A body that ends too early is left for the decoder to find.
    """
    position = 0
    end = len(body)
    for _ in range(_ITEM_COUNT_MAX):
        if position >= end:
            return
        step = _STEP_BY_HEAD[body[position]]
        if step > 0:
            position += step
        elif step == _LENGTH_FOLLOWS:
            argument = position + 1 + (1 << ((body[position] & 0x1F) - 24))
            position = argument + int.from_bytes(body[position + 1 : argument])
        else:
            raise SerializationFailed
    if position < end:
        raise SerializationFailed


def _step(head: int) -> int:
    """Return how far the next item's head is from this one, if the head alone tells."""
    major, low = head & 0xE0, head & 0x1F
    argument = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    if 28 <= low <= 30 or head in (0x1F, 0x3F):
        return _REFUSED
    if major == 0xC0:
        return 1 if head == _EPOCH_TAG else _REFUSED
    if major == 0xE0:
        # False, true and null; half, single and double floats; the end of something of unknown length.
        return 1 + argument if head in (0xF4, 0xF5, 0xF6, 0xF9, 0xFA, 0xFB, 0xFF) else _REFUSED
    if major in (_BYTE_STRING, _TEXT) and low < 24:
        return 1 + low
    if major in (_BYTE_STRING, _TEXT) and argument:
        return _LENGTH_FOLLOWS
    return 1 + argument


def _head(major: int, count: int) -> bytes:
    """Return the head of a string, list or map of that many bytes or entries."""
    if count < 24:
        return bytes((major | count,))
    if count < 0x100:
        return bytes((major | 24, count))
    if count < 0x1_0000:
        return pack(">BH", major | 25, count)
    return pack(">BI", major | 26, count)


_STEP_BY_HEAD = tuple(map(_step, range(256)))
_BYTE_HEADS = tuple(_head(_BYTE_STRING, count) for count in range(_SHORT_COUNT))
_TEXT_HEADS = tuple(_head(_TEXT, count) for count in range(_SHORT_COUNT))
