"""What a request of each operation of the Lambda API looks like: where its members stand, their types and bounds.

``model.json`` holds the facts, taken from AWS's newest service model, which a test holds it against. A request is
found by its method and path (an optional slash at the end, as older SDKs send), its members are gathered from path,
query, headers and body, and held against their shapes as `core.shape_reading` and `core.shape_violations` do it for
both dialects. Moments come out as integer milliseconds, blobs as bytes.
"""

import math
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from streamd.core.shape_reading import read_structure
from streamd.core.shape_violations import violations
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
from streamd.functions.faults import Fault, validation

__all__ = ["Model", "OperationModel", "load_model"]

_PACKAGE = "com.amazonaws.lambda.model"
_VIOLATION_COUNT_MAX = 10
# What streamd can be told beside AWS's: a webhook, a folder.
_OWN_PATTERN_BY_SHAPE = {"DestinationArn": "https?://.+|file:///.*"}
_INT = re.compile(r"[+-]?\d{1,18}")


@dataclass(frozen=True, slots=True)
class OperationModel:
    """One operation: how it is reached, and what its request holds.

    ``places`` tells for members outside the body where they are: ``uri``, ``querystring`` or ``header``, and the name
    they have there. ``payload`` is the member that is the whole body as it is.
    """

    name: str
    method: str
    pattern: re.Pattern[str]
    slash_count: int
    fixed_query: Mapping[str, str]
    shape: StructureShape
    places: Mapping[str, tuple[str, str]]
    payload: str | None

    def members(
        self,
        path: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
        document: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Gather and check the members. Raises Fault: SerializationException or ValidationException."""
        found = dict(document) if self.payload is None else {}
        for member, (place, name) in self.places.items():
            found.pop(member, None)
            if (value := self._placed(member, place, name, path, query, headers)) is not None:
                found[member] = value
        try:
            members = read_structure(self.shape, found)
        except MemberMistyped as error:
            raise Fault(400, "SerializationException", {"Type": "User", "message": str(error)}) from None
        broken = list(islice(violations(self.shape, members), _VIOLATION_COUNT_MAX))
        if broken:
            raise validation(*broken)
        return members

    def _placed(
        self,
        member: str,
        place: str,
        name: str,
        path: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
    ) -> object:
        """Give a member that stands outside the body, as its JSON would have it; None when it was not sent."""
        shape = self.shape.members[member]
        match place:
            case "uri":
                return _typed(shape, path.get(name))
            case "header":
                return _typed(shape, headers.get(name.lower()))
            case _:
                values = query.get(name)
                if values is None or isinstance(shape, ListShape):
                    return values
                return _typed(shape, values[0])


class Model:
    """All operations, found by method and path."""

    def __init__(self, operations: Sequence[OperationModel]) -> None:
        self.operations = {operation.name: operation for operation in operations}
        by_form: dict[tuple[str, int], list[OperationModel]] = {}
        # What asks for a query of its own comes first: without it another operation has the same path.
        for operation in sorted(operations, key=lambda each: not each.fixed_query):
            form = operation.method, operation.slash_count
            by_form.setdefault(form, []).append(operation)
        self._by_form = by_form

    def find(
        self, method: str, path: str, query: Mapping[str, Sequence[str]]
    ) -> tuple[OperationModel, dict[str, str]] | None:
        """Find the operation that a request asks for, and the named parts of its path; None when there is none."""
        path = path.removesuffix("/")
        for operation in self._by_form.get((method, path.count("/")), ()):
            match = operation.pattern.fullmatch(path)
            if match and all(query.get(name, [""])[0] == value for name, value in operation.fixed_query.items()):
                return operation, {name: unquote(part) for name, part in match.groupdict().items()}
        return None


@cache
def load_model() -> Model:
    """Read the model; once, since it never changes."""
    page = orjson.loads(pkgutil.get_data("streamd.functions", "model.json") or b"")
    for name, pattern in _OWN_PATTERN_BY_SHAPE.items():
        page["shapes"][name]["pattern"] += f"|{pattern}"
    known: dict[str, Shape] = {}
    return Model([_operation(name, told, page["shapes"], known) for name, told in sorted(page["operations"].items())])


def _operation(
    name: str, told: Mapping[str, Any], shapes: Mapping[str, Any], known: dict[str, Shape]
) -> OperationModel:
    path, _, query = told["path"].partition("?")
    parts = re.split(r"\{(\w+)\}", path)
    pattern = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    shape = _shape(told["input"], shapes, known)
    assert isinstance(shape, StructureShape)
    # A payload is the body, which is looked at by the operation itself.
    shape = replace(shape, required=shape.required - {told.get("payload", "")})
    members = shapes[told["input"]]["members"]
    return OperationModel(
        name,
        told["method"],
        re.compile(pattern),
        path.count("/"),
        {key: values[0] for key, values in parse_qs(query).items()},
        shape,
        {m: (at["location"], at["locationName"]) for m, at in members.items() if "location" in at},
        told.get("payload"),
    )


def _shape(name: str, shapes: Mapping[str, Any], known: dict[str, Shape]) -> Shape:
    if name not in known:
        known[name] = _made(name, shapes[name], shapes, known)
    return known[name]


def _made(name: str, told: Mapping[str, Any], shapes: Mapping[str, Any], known: dict[str, Shape]) -> Shape:
    low, high = told.get("min"), told.get("max")
    match told["type"]:
        case "string":
            return TextShape(low, high, told.get("pattern"), tuple(told.get("enum", ())))
        case "integer":
            return IntegerShape(low, high)
        case "long":
            return LongShape(low, high)
        case "double":
            return DoubleShape(low, high)
        case "boolean":
            return BooleanShape()
        case "timestamp":
            return TimestampShape()
        case "blob":
            return BlobShape(low, high)
        case "list":
            return ListShape(_shape(told["member"], shapes, known), low, high)
        case "map":
            key = _shape(told["key"], shapes, known)
            assert isinstance(key, TextShape)
            return MapShape(key, _shape(told["value"], shapes, known), low, high)
        case _:
            members = {m: _shape(at["shape"], shapes, known) for m, at in told["members"].items()}
            return StructureShape(name, members, frozenset(told["required"]), _PACKAGE)


def _typed(shape: Shape, text: str | None) -> object:
    """Give a text of the path, query or a header as JSON would have it; one that is none stays a text."""
    if text is None:
        return None
    match shape:
        case IntegerShape() | LongShape():
            return int(text) if _INT.fullmatch(text) else text
        case DoubleShape():
            return _number(text)
        case _:
            return text


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
