"""Finds the constraints that a request breaks, and words each as AWS does.

It takes members that already have their types, walks them in the order of their shape, and yields one
sentence for each broken constraint, so a caller stops whenever it has heard enough. A list or map whose
entries are wrong is one violation that shows all of it; a list of structures names the entry instead,
counting from one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from zlib import crc32

from streamd.core.shape_reading import QUOTED_LENGTH_MAX
from streamd.core.shapes import (
    BlobShape,
    DoubleShape,
    IntegerShape,
    ListShape,
    LongShape,
    MapShape,
    Shape,
    StructureShape,
    TextShape,
)

__all__ = ["violations"]

# Entries shown of a list or map: more than any that AWS would print before it stops reading.
_SHOWN_COUNT_MAX = 1_000
# A pattern is not tried on a text this many times too long: the length is reported anyway, and matching
# the names of resources takes time that grows with the square of their length.
_PATTERN_LENGTH_FACTOR_MAX = 2


def violations(shape: StructureShape, members: Mapping[str, Any], *, parent: str = "") -> Iterator[str]:
    """Yield a sentence for each constraint that the members break, in the shape's order."""
    for name, member_shape in shape.members.items():
        path = f"{parent}{name[0].lower()}{name[1:]}"
        value = members.get(name)
        if value is not None:
            yield from _violations_of(member_shape, value, path)
        elif name in shape.required:
            yield _sentence(member_shape, None, path, "Member must not be null")


def _violations_of(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Yield what one member breaks: its own constraints first, then those of its entries."""
    for constraint in _broken(shape, value):
        yield _sentence(shape, value, path, constraint)
    match shape:
        case StructureShape():
            yield from violations(shape, value, parent=f"{path}.")
        case ListShape(member=StructureShape() as entry_shape):
            for number, entry in enumerate(value, 1):
                yield from _violations_of_entry(entry_shape, entry, f"{path}.{number}.member")
        case ListShape():
            if any(_is_wrong(shape.member, entry) for entry in value):
                yield _sentence(shape, value, path, f"Member must satisfy constraint: {_all_of(shape.member)}")
        case MapShape():
            if any(_is_wrong(shape.key, key) for key in value):
                yield _sentence(shape, value, path, f"Map keys must satisfy constraint: {_all_of(shape.key)}")
            if any(_is_wrong(shape.value, entry) for entry in value.values()):
                yield _sentence(shape, value, path, f"Map value must satisfy constraint: {_all_of(shape.value)}")
        case _:
            return


def _violations_of_entry(shape: StructureShape, entry: Any, path: str) -> Iterator[str]:
    """Yield what one structure in a list breaks."""
    if entry is None:
        yield _sentence(shape, None, path, "Member must not be null")
    else:
        yield from violations(shape, entry, parent=f"{path}.")


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """Yield the constraints of a shape that a value breaks: the pattern first, then the bounds."""
    match shape:
        case TextShape():
            if shape.enum and value not in shape.enum:
                yield _enum(shape)
            if shape.matcher and _is_matchable(shape, value) and not shape.matcher.fullmatch(value):
                yield f"Member must satisfy regular expression pattern: {shape.pattern}"
            yield from _out_of_bounds(shape, len(value), "length")
        case IntegerShape() | LongShape() | DoubleShape():
            yield from _out_of_bounds(shape, value, "value")
        case BlobShape() | ListShape() | MapShape():
            yield from _out_of_bounds(shape, len(value), "length")
        case _:
            return


def _is_matchable(shape: TextShape, value: str) -> bool:
    """Return whether a text is short enough to be held against the pattern."""
    return shape.maximum is None or len(value) <= _PATTERN_LENGTH_FACTOR_MAX * shape.maximum


def _is_wrong(shape: Shape, entry: Any) -> bool:
    """Return whether an entry of a list or map breaks any constraint; a null breaks them all."""
    return entry is None or next(_broken(shape, entry), None) is not None


def _out_of_bounds(
    shape: TextShape | IntegerShape | LongShape | DoubleShape | BlobShape | ListShape | MapShape,
    measure: float,
    noun: str,
) -> Iterator[str]:
    """Yield the bound that a length or a value is outside of."""
    if shape.minimum is not None and measure < shape.minimum:
        yield f"Member must have {noun} greater than or equal to {shape.minimum}"
    if shape.maximum is not None and measure > shape.maximum:
        yield f"Member must have {noun} less than or equal to {shape.maximum}"


def _all_of(shape: Shape) -> str:
    """Return all constraints on the entries of a list or map, the way AWS lists them."""
    constraints: list[str] = []
    if isinstance(shape, TextShape):
        if shape.maximum is not None:
            constraints.append(f"Member must have length less than or equal to {shape.maximum}")
        if shape.minimum is not None:
            constraints.append(f"Member must have length greater than or equal to {shape.minimum}")
        if shape.pattern is not None:
            constraints.append(f"Member must satisfy regular expression pattern: {shape.pattern}")
        if shape.enum:
            constraints.append(_enum(shape))
    return f"[{', '.join(constraints)}]"


def _enum(shape: TextShape) -> str:
    """Return the constraint of a closed set of values."""
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _sentence(shape: Shape, value: Any, path: str, constraint: str) -> str:
    """Return the sentence of one violation."""
    shown = "null" if value is None else f"'{_shown(shape, value)[:QUOTED_LENGTH_MAX]}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(shape: Shape, value: Any) -> str:
    """Return a value as Java prints it."""
    match shape:
        case BlobShape():
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case ListShape():
            entries: Sequence[Any] = value[:_SHOWN_COUNT_MAX]
            return f"[{', '.join(_shown_entry(shape.member, entry) for entry in entries)}]"
        case MapShape():
            pairs = islice(value.items(), _SHOWN_COUNT_MAX)
            return f"{{{', '.join(f'{key}={_shown_entry(shape.value, entry)}' for key, entry in pairs)}}}"
        case _:
            return str(value)


def _shown_entry(shape: Shape, entry: Any) -> str:
    """Return an entry of a list or map; a structure shows its class and a hash, as in Java."""
    if entry is None:
        return "null"
    if isinstance(shape, StructureShape):
        # Java's hash of an object cannot be foretold, so any that depends on the entry does.
        return f"{shape.package}.{shape.name}@{crc32(repr(sorted(entry)).encode()):x}"
    return str(entry)
