"""Reads the members of a request as the types of their shapes, in AWS's words where that fails.

The sentences are Java's: AWS names the class of what it got and the type it wanted. It reads leniently
where AWS does: a fraction is cut off an integer, an integer past 32 bits becomes the nearest one that
fits, and `"true"`, `"yes"` and `"1"` are booleans. Only the members that a shape names are looked at, so
however deep a document is, this goes no deeper than the shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard, assert_never

from pybase64 import b64decode

from streamd.core.moments import Timestamp
from streamd.core.shapes import (
    BlobShape,
    BooleanShape,
    DoubleShape,
    IntegerShape,
    ListShape,
    LongShape,
    MapShape,
    Shape,
    StructureShape,
    TextShape,
    TimestampShape,
)
from streamd.errors import MemberMistyped

__all__ = ["QUOTED_LENGTH_MAX", "WHOLE_ENDS", "read_structure"]

# What is quoted back is cut here, so that no answer is much larger than it needs to be to be read.
QUOTED_LENGTH_MAX = 65_536

# Last groups of base64 in which no bit is left over that decodes to nothing: AWS refuses the others.
WHOLE_ENDS = re.compile(r"(?:[^=]{4}|..[AEIMQUYcgkosw048]=|.[AQgw]==)*")

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_BOOLEAN_BY_WORD = {"TRUE": True, "YES": True, "1": True, "FALSE": False, "NO": False, "0": False}
_NOT_BASE64 = re.compile(r"[^a-zA-Z0-9+/=]|=[^=]")


def read_structure(shape: StructureShape, value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the named members that are there, each as its shape's type.

    Raises MemberMistyped at the first member that is of another type.
    """
    members = shape.members
    return {
        name: _read(members[name], member)
        for name, member in value.items()
        if member is not None and isinstance(name, str) and name in members
    }


def _read(shape: Shape, value: object) -> object:
    """Return one value as its shape's type; a null stays null."""
    match shape:
        case TextShape():
            return _text(value)
        case IntegerShape():
            return _integer(value, "an Integer", greatest=_INT_MAX)
        case LongShape():
            return _integer(value, "a Long", greatest=_LONG_MAX)
        case DoubleShape():
            return _double(value)
        case BooleanShape():
            return _boolean(value)
        case TimestampShape():
            return _milliseconds(value)
        case BlobShape():
            return _blob(value)
        case ListShape():
            return [None if member is None else _read(shape.member, member) for member in _list(value)]
        case MapShape():
            return _map(shape, value)
        case StructureShape():
            return read_structure(shape, _mapping(value, "Expected null"))
        case _:
            assert_never(shape)


def _map(shape: MapShape, value: object) -> dict[Any, Any]:
    """Return a map whose keys and values are of their shapes' types."""
    return {
        _read(shape.key, key): None if member is None else _read(shape.value, member)
        for key, member in _mapping(value, "Expected map or null").items()
    }


def _list(value: object) -> list[object]:
    """Return a list as it is."""
    if isinstance(value, dict):
        raise MemberMistyped("Start of structure or map found where not expected.")
    if not isinstance(value, list):
        raise MemberMistyped("Expected list or null")
    return value


def _mapping(value: object, sentence: str) -> dict[object, object]:
    """Return a map or structure as it is."""
    if isinstance(value, list):
        raise MemberMistyped("Start of list found where not expected")
    if not isinstance(value, dict):
        raise MemberMistyped(sentence)
    return value


def _text(value: object) -> str:
    """Return a text as it is."""
    if not isinstance(value, str):
        _refuse_scalar(value, "an String")
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number that an integer can be made of."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(value: object, wanted: str, *, greatest: int) -> int:
    """Return an integer: what is too large becomes the largest, as in AWS's answers."""
    if not _is_number(value):
        _refuse_scalar(value, wanted)
    return max(-greatest - 1, min(greatest, int(value)))


def _double(value: object) -> float:
    """Return a number as it is."""
    if not _is_number(value):
        _refuse_scalar(value, "a Double")
    return value


def _boolean(value: object) -> bool:
    """Return a boolean; AWS takes some words for one, and numbers with a fraction too."""
    match value:
        case bool():
            return value
        case float() if not value.is_integer():
            return True
        case str():
            word = value[:QUOTED_LENGTH_MAX].upper()
            if word in _BOOLEAN_BY_WORD:
                return _BOOLEAN_BY_WORD[word]
            raise MemberMistyped(f"'{word}' can not be converted to an Boolean")
        case _:
            return _refuse_scalar(value, "an Boolean")


def _milliseconds(value: object) -> int:
    """Return the milliseconds of a moment: seconds in JSON, already milliseconds in CBOR."""
    if isinstance(value, Timestamp):
        milliseconds = value.ms
    elif not _is_number(value):
        _refuse_scalar(value, "milliseconds since epoch")
    else:
        milliseconds = value * 1000 if isinstance(value, int) else _rounded(value * 1000)
    return max(-_LONG_MAX - 1, min(_LONG_MAX, milliseconds))


def _rounded(value: float) -> int:
    """Return the nearest integer; a product past the largest float becomes the largest long."""
    return round(value) if math.isfinite(value) else int(math.copysign(_LONG_MAX, value))


def _blob(value: object) -> bytes:
    """Return the bytes of a blob: base64 in JSON, a byte string in CBOR."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        _refuse_scalar(value, "a Blob")
    try:
        blob = b64decode(value, validate=True)
    except ValueError:
        raise MemberMistyped(_base64_fault(value)) from None
    if not WHOLE_ENDS.fullmatch(value[-4:]):
        raise MemberMistyped(_base64_fault(value))
    return blob


def _base64_fault(value: str) -> str:
    """Return what is wrong with a text that is not base64, or not the base64 of any bytes."""
    quoted = f"'{value[:QUOTED_LENGTH_MAX]}' can not be converted to a Blob: "
    if len(value) % 4:
        return f"{quoted}Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}"
    if wrong := _NOT_BASE64.search(value):
        return f"{quoted}Invalid Base64 character: '{wrong[0][0]}'"
    # The spelling is AWS's own.
    return f"{quoted}Invalid last non-pad Base64 character dectected"


def _refuse_scalar(value: object, wanted: str) -> NoReturn:
    """Raise MemberMistyped for a value that should have been a text, number, blob or moment."""
    match value:
        case list():
            raise MemberMistyped("Start of list found where not expected")
        case dict():
            raise MemberMistyped("Start of structure or map found where not expected.")
        case _:
            raise MemberMistyped(f"class {_java_class(value)} can not be converted to {wanted}")


def _java_class(value: object) -> str:
    """Return the class that AWS's server holds such a value in."""
    match value:
        case bool():
            return "java.lang.Boolean"
        case int() | float():
            return "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        case str():
            return "java.lang.String"
        case bytes():
            return "java.nio.HeapByteBuffer"
        case _:
            return "java.util.Date"
