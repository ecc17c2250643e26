"""Holds a request's document against the shape of its operation, and says what is wrong as AWS does.

Types come first: the first member of a wrong type ends the request with a `SerializationException`. Then
all broken constraints are reported together, ten at most, in one `ValidationException`. What passes has
`bytes` for blobs and integer milliseconds for moments, and only the members that the shape names: a null
counts as absent, and an unknown member is ignored, as AWS does both.

Puts are what this server exists for, so a batch of well-formed records is checked all at once. Whatever
the quick way cannot wave through goes the slow way, which checks the same and can also explain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from types import NoneType
from typing import Any

from pybase64 import b64decode

from streamd.core.shape_reading import WHOLE_ENDS, read_structure
from streamd.core.shape_violations import violations
from streamd.core.shapes import StructureShape
from streamd.errors import MemberMistyped
from streamd.kinesis.faults import SerializationFailed, ValidationFailed
from streamd.kinesis.group_shapes import GROUP_INPUT_BY_OPERATION
from streamd.kinesis.shapes import INPUT_BY_OPERATION
from streamd.kinesis.shapes_members import DATA, ENTRIES, HASH_KEY, NAME, PARTITION_KEY

__all__ = ["VIOLATION_COUNT_MAX", "EntryColumns", "check", "check_entries", "check_group_call", "check_plain_record"]

# AWS reports no more than this, and counts no more either.
VIOLATION_COUNT_MAX = 10

# The quick way's bounds are the shapes' own, which name all of these.
_ENTRY_COUNT_MAX = ENTRIES.maximum or 0
_BLOB_BYTE_COUNT_MAX = DATA.maximum or 0
_KEY_LENGTH_MIN = PARTITION_KEY.minimum or 0
_KEY_LENGTH_MAX = PARTITION_KEY.maximum or 0
_HASH_KEY_MATCHER = re.compile(HASH_KEY.pattern or "", re.ASCII)

_PLAIN_MEMBERS = ("StreamName", "PartitionKey", "Data")
_NAME_MATCHER = re.compile(NAME.pattern or "", re.ASCII)
_NAME_LENGTH_MAX = NAME.maximum or 0

_PUT_RECORDS = INPUT_BY_OPERATION["PutRecords"]
_PUT_RECORDS_ENVELOPE = StructureShape(
    _PUT_RECORDS.name, {name: shape for name, shape in _PUT_RECORDS.members.items() if name != "Records"}
)


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """The records of a PutRecords as columns of equal length; ``hash_keys`` is None when no record has one."""

    data: list[bytes]
    keys: list[str | None]
    hash_keys: list[str | None] | None


def check_entries(document: object) -> tuple[dict[str, Any], EntryColumns]:
    """Check a PutRecords request: its members, and its records as columns.

    Raises what ``check`` raises.
    """
    if isinstance(document, dict) and (columns := _well_formed_entries(document)) is not None:
        return _envelope(document), columns
    members = check("PutRecords", document)
    entries = members["Records"]
    hash_keys = [entry.get("ExplicitHashKey") for entry in entries]
    columns = EntryColumns(
        [entry["Data"] for entry in entries],
        [entry.get("PartitionKey") for entry in entries],
        hash_keys if any(hash_keys) else None,
    )
    return members, columns


def check(operation: str, document: object) -> dict[str, Any]:
    """Return the members of a request, with blobs as bytes and moments as milliseconds.

    Raises SerializationFailed for a wrong type, ValidationFailed for broken constraints, and KeyError if
    the operation has no shape.
    """
    shape = INPUT_BY_OPERATION[operation]
    if not isinstance(document, dict):
        raise SerializationFailed("Start of list found where not expected" if isinstance(document, list) else None)
    quick = _QUICK_WAYS.get(operation)
    if quick is not None and (members := quick(document)) is not None:
        return members
    return _explained(shape, document)


def check_group_call(operation: str, document: object) -> dict[str, Any]:
    """Return the members of a request on groups. Raises what ``check`` raises."""
    if not isinstance(document, dict):
        raise SerializationFailed("Start of list found where not expected" if isinstance(document, list) else None)
    return _explained(GROUP_INPUT_BY_OPERATION[operation], document)


def _explained(shape: StructureShape, document: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the members of a request, or raise with every reason against it."""
    try:
        members = read_structure(shape, document)
    except MemberMistyped as error:
        raise SerializationFailed(str(error)) from None
    found = list(islice(violations(shape, members), VIOLATION_COUNT_MAX))
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise ValidationFailed(f"{len(found)} validation {noun} detected: {'; '.join(found)}")
    return members


def check_plain_record(document: object) -> tuple[str, str, bytes] | None:
    """Return the stream, key and data of a PutRecord request that holds just these, or None to look closer."""
    if not isinstance(document, dict) or len(document) != len(_PLAIN_MEMBERS):
        return None
    name, key, data = document.get("StreamName"), document.get("PartitionKey"), document.get("Data")
    if (
        not isinstance(name, str)
        or not isinstance(key, str)
        or not _KEY_LENGTH_MIN <= len(key) <= _KEY_LENGTH_MAX
        or len(name) > _NAME_LENGTH_MAX
        or not _NAME_MATCHER.fullmatch(name)
    ):
        return None
    if isinstance(data, str):
        try:
            blob = b64decode(data, None, True)
        except ValueError:
            return None
        # Only padding leaves bits over.
        return None if data[-1:] == "=" and not WHOLE_ENDS.fullmatch(data[-4:]) else (name, key, blob)
    return (name, key, data) if isinstance(data, bytes) else None


def _well_formed_record(document: Mapping[object, object]) -> dict[str, Any] | None:
    """Return the members of a PutRecord request that names a stream, a key and data, or None to look closer."""
    found = check_plain_record(document)
    if found is None or len(found[2]) > _BLOB_BYTE_COUNT_MAX:
        return None
    return dict(zip(_PLAIN_MEMBERS, found, strict=True))


def _well_formed_batch(document: Mapping[object, object]) -> dict[str, Any] | None:
    """Return the members of a PutRecords request whose records are well formed, or None to look closer."""
    columns = _well_formed_entries(document)
    if columns is None:
        return None
    members = _envelope(document)
    members["Records"] = _records(columns.data, columns.keys, columns.hash_keys or [])
    return members


def _envelope(document: Mapping[object, object]) -> dict[str, Any]:
    """Return the members of a PutRecords request beside its records."""
    rest = {name: value for name, value in document.items() if name != "Records"}
    return _explained(_PUT_RECORDS_ENVELOPE, rest)


def _well_formed_entries(document: Mapping[object, object]) -> EntryColumns | None:
    """Return the records of a PutRecords request if all are well formed, or None to look closer."""
    entries = document.get("Records")
    if not isinstance(entries, list) or set(map(type, entries)) != {dict}:
        return None
    blobs = _blobs([entry.get("Data") for entry in entries])
    keys = [entry.get("PartitionKey") for entry in entries]
    hash_keys = [entry.get("ExplicitHashKey") for entry in entries]
    if blobs is None or len(entries) > _ENTRY_COUNT_MAX or not _are_keys(keys) or not _are_hash_keys(hash_keys):
        return None
    return EntryColumns(blobs, keys, hash_keys if any(hash_keys) else None)


def _records(blobs: list[bytes], keys: list[Any], hash_keys: list[Any]) -> list[dict[str, Any]]:
    """Return the records with the members that they have."""
    records: list[dict[str, Any]]
    if keys[0] is None:
        records = [{"Data": blob} for blob in blobs]
    else:
        records = [{"Data": blob, "PartitionKey": key} for blob, key in zip(blobs, keys, strict=True)]
    if any(hash_keys):
        for record, hash_key in zip(records, hash_keys, strict=True):
            if hash_key is not None:
                record["ExplicitHashKey"] = hash_key
    return records


def _blobs(values: list[Any]) -> list[bytes] | None:
    """Return the bytes of all blobs, or None if one is not a good one."""
    blobs: list[bytes] = values
    types = set(map(type, values))
    if types == {str}:
        try:
            blobs = [b64decode(text, None, True) for text in values]
        except ValueError:
            return None
        if not WHOLE_ENDS.fullmatch("".join([text[-4:] for text in values])):
            return None
    elif types != {bytes}:
        return None
    return blobs if max(map(len, blobs)) <= _BLOB_BYTE_COUNT_MAX else None


def _are_keys(keys: list[Any]) -> bool:
    """Return whether all partition keys are good ones, or all are absent."""
    types = set(map(type, keys))
    if types == {NoneType}:
        return True
    if types != {str}:
        return False
    lengths = list(map(len, keys))
    return min(lengths) >= _KEY_LENGTH_MIN and max(lengths) <= _KEY_LENGTH_MAX


def _are_hash_keys(hash_keys: list[Any]) -> bool:
    """Return whether all explicit hash keys are good ones or absent."""
    if not any(hash_keys):
        return set(map(type, hash_keys)) == {NoneType}
    return all(
        hash_key is None or (isinstance(hash_key, str) and _HASH_KEY_MATCHER.fullmatch(hash_key))
        for hash_key in hash_keys
    )


_QUICK_WAYS = {"PutRecord": _well_formed_record, "PutRecords": _well_formed_batch}
