"""The kinds of shape that a request is made of, and the constraints that each can carry.

These values say what a member must look like; each dialect says which operation has which members, and
`shape_reading` and `shape_violations` hold documents against them. A maximum or minimum counts characters of
a text, bytes of a blob, entries of a list or map, and the value of a number. None of them checks anything itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "BlobShape",
    "BooleanShape",
    "DoubleShape",
    "IntegerShape",
    "ListShape",
    "LongShape",
    "MapShape",
    "Shape",
    "StructureShape",
    "TextShape",
    "TimestampShape",
]

# A gap that may be anything up to a fixed word is as good closed at the first such word as at any
# later one when another such gap follows. Closing it for good keeps a hostile name of 2,048 characters
# from costing a hundred milliseconds of backtracking. `tests/kinesis/test_shapes.py` proves the sameness.
_GAPS = ((".*:kinesis:", "(?>.*?:kinesis:)"), (r".*:\d{12}:.*", r"(?>.*?:\d{12}:).*"))

_CLASSES = ((r"\p{L}", r"\w"), (r"\p{N}", r"\d"), (r"\p{Z}", r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"))


@dataclass(frozen=True, slots=True)
class TextShape:
    """A text with bounds on its length, a pattern that all of it matches, or a closed set of values."""

    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    matcher: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern once, as Java reads it: digits and spaces are ASCII only."""
        object.__setattr__(self, "matcher", None if self.pattern is None else _compiled(self.pattern))


@dataclass(frozen=True, slots=True)
class IntegerShape:
    """A 32-bit integer with bounds."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class LongShape:
    """A 64-bit integer with bounds."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class DoubleShape:
    """A number with bounds."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class BooleanShape:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class TimestampShape:
    """A moment: seconds with a fraction in JSON, tagged milliseconds in CBOR."""


@dataclass(frozen=True, slots=True)
class BlobShape:
    """Bytes with bounds on their count: base64 in JSON, a byte string in CBOR."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list of members of one shape, with bounds on their count."""

    member: Shape
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class MapShape:
    """A map from text to members of one shape, with bounds on their count."""

    key: TextShape
    value: Shape
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class StructureShape:
    """Named members, some required. Their order is the order in which AWS reports what is wrong.

    ``name`` is the structure's, without the ``package`` in which AWS's server has its class.
    """

    name: str
    members: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    package: str = "com.amazonaws.kinesis.v20131202"


Shape = (
    TextShape
    | IntegerShape
    | LongShape
    | DoubleShape
    | BooleanShape
    | TimestampShape
    | BlobShape
    | ListShape
    | MapShape
    | StructureShape
)


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the service model."""
    if r"\p{" in pattern:
        # Python has no such classes: letters and numbers of any script are its words, separators these blanks.
        for java, python in _CLASSES:
            pattern = pattern.replace(java, python)
        return re.compile(pattern)
    for gap, closed_gap in _GAPS:
        pattern = pattern.replace(gap, closed_gap)
    return re.compile(pattern, re.ASCII)
