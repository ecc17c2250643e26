"""Requests shaped by botocore's own model of Kinesis: types right and values at, under and over their bounds, or wrong.

Some texts only a server can give (iterators, tokens, numbers, ARNs). They are drawn as ``Answered`` and filled in when
the request is sent, so that what is drawn does not depend on what a server said.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2
from botocore.session import get_session
from hypothesis import strategies as st

from streamd.core.sequence_numbers import GAP_S, parse

__all__ = ["MODEL", "Answered", "Heard", "Moment", "calls", "cbor_of", "json_of"]

MODEL = get_session().get_service_model("kinesis")

# Mostly one that is there, so that what follows the name is looked at too.
_NAMES = ("fuzzed",) * 6 + ("other", "missing")
_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
_TEXTS_BY_MEMBER: Mapping[str, tuple[str, ...]] = {
    "StreamName": _NAMES,
    "ExclusiveStartStreamName": _NAMES,
    "StreamARN": tuple(_ARN + name for name in _NAMES),
    "ResourceARN": tuple(_ARN + name for name in _NAMES),
    "ConsumerName": ("reader", "writer"),
    "ShardId": ("shardId-000000000000", "shardId-000000000001", "shardId-999999999999", "0", "-1"),
    "HashKey": ("0", "1", str((1 << 127) - 1), str(1 << 127), str((1 << 128) - 1), str(1 << 128), "9" * 39),
    "Policy": ("{}", "[" * 1_100, '{"Statement":' * 300, '{"Version":{},"Statement":[[]]}'),
}
_MEMBERS_LIKE = {
    "ShardToSplit": "ShardId",
    "ShardToMerge": "ShardId",
    "AdjacentShardToMerge": "ShardId",
    "ExclusiveStartShardId": "ShardId",
    "ExplicitHashKey": "HashKey",
    "NewStartingHashKey": "HashKey",
}
_ANSWERED_BY_MEMBER = {
    "ShardIterator": "ShardIterator",
    "NextToken": "NextToken",
    "StartingSequenceNumber": "SequenceNumber",
    "SequenceNumber": "SequenceNumber",
    "SequenceNumberForOrdering": "SequenceNumber",
    "ConsumerARN": "ConsumerARN",
    "ResourceARN": "ConsumerARN",
}
_EDITS = ("", "", "", "next", "before", "last", "gap", "cut", "double", "other")
# Not at an end of what is drawn from, where Hypothesis looks more often.
_SELDOM = 7
_NOW_AND_THEN = range(_SELDOM, 20)
_LONG_TEXT_MAX = 3_000
_CALL_COUNT_MAX = 6


@dataclass(frozen=True)
class Answered:
    """A text that an answer held under this name, perhaps edited."""

    name: str
    edit: str


@dataclass(frozen=True)
class Moment:
    """Milliseconds since 1970, which each language writes in its own way."""

    ms: float


@dataclass
class Heard:
    """What answers held, by name, the latest."""

    text_by_name: dict[str, str] = field(default_factory=dict)

    def listen(self, answer: object) -> None:
        """Keep the texts of an answer."""
        match answer:
            case dict():
                for name, value in answer.items():
                    if isinstance(value, str):
                        self.text_by_name[name.removeprefix("Next") if name != "NextToken" else name] = value
                    self.listen(value)
            case list():
                for value in answer:
                    self.listen(value)
            case _:
                pass

    def fill(self, value: Any) -> Any:
        """Put what was heard where it was drawn."""
        match value:
            case Answered():
                return _edited(self.text_by_name.get(value.name, "0"), value.edit)
            case dict():
                return {key: self.fill(entry) for key, entry in value.items()}
            case list():
                return [self.fill(entry) for entry in value]
            case _:
                return value


def _edited(text: str, edit: str) -> str:
    number = parse(text) if text.isascii() and text.isdigit() else None
    match edit:
        case "next" if number is not None:
            return str(int(text) + 1)
        case "before" if number is not None:
            return str(replace(number, position=max(0, number.position - 1)))
        case "last" if number is not None:
            return str(replace(number, position=(1 << 63) - 1))
        case "gap" if number is not None:
            return str(replace(number, position=(1 << 63) - 1, arrival_s=GAP_S))
        case "cut":
            return text[:-1]
        case "double":
            return text + text
        case "other":
            return text.swapcase()
        case _:
            return text


_JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 2**64 - 1, 1.5, -0.0, 1e308, float("inf"), float("nan")])
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abN", max_size=3), inner, max_size=3),
    max_leaves=5,
)
_HUGE_NUMBERS = st.sampled_from([10**30, -(10**30), 10**4000])


@st.composite
def _mostly(draw: st.DrawFn, right: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> Any:
    """Draw what is right, but for one time in ten."""
    return draw(other if draw(st.integers(0, 9)) == _SELDOM else right)


def _texts(name: str, shape: Any) -> st.SearchStrategy[Any]:
    least, most = shape.metadata.get("min", 0), min(shape.metadata.get("max", 64), _LONG_TEXT_MAX)
    right: list[st.SearchStrategy[Any]] = []
    if shape.enum:
        right.append(st.sampled_from(shape.enum))
    if known := _TEXTS_BY_MEMBER.get(_MEMBERS_LIKE.get(name, name)):
        right.append(st.sampled_from(known))
    if answered := _ANSWERED_BY_MEMBER.get(name):
        right.append(st.builds(Answered, st.just(answered), st.sampled_from(_EDITS)))
    edges = [count for count in (least - 1, least, most, most + 1) if count >= 0]
    edge = st.builds(str.__mul__, st.sampled_from(["a", "é", "9", "😀"]), st.sampled_from(edges))
    other = edge | st.text(st.characters(codec="utf-8"), max_size=20)
    return _mostly(st.one_of(right or [st.text("abc", min_size=1, max_size=5)]), other)


def _numbers(shape: Any) -> st.SearchStrategy[Any]:
    least, most = shape.metadata.get("min", 1), shape.metadata.get("max", 30)
    edges = st.sampled_from([least - 1, least, most, most + 1, 24, 0, 2**31 - 1, 2**31])
    return _mostly(st.integers(least, min(most, least + 50)), edges)


def _moments() -> st.SearchStrategy[Moment]:
    edges = [0, -1, 1.5, 1_500_000_000_000, 4_000_000_000_000, 2.0**62, -(2.0**62), 1e300]
    return st.builds(Moment, st.sampled_from(edges))


def _values(name: str, shape: Any) -> st.SearchStrategy[Any]:
    """Draw a value of the member's own type, near its bounds."""
    match shape.type_name:
        case "structure":
            return _members(shape)
        case "list":
            return st.lists(_values(name, shape.member), max_size=4)
        case "map":
            keys = st.text(st.characters(codec="utf-8"), max_size=5)
            return st.dictionaries(keys, _values(name, shape.value), max_size=4)
        case "string":
            return _texts(name, shape)
        case "integer" | "long":
            return _numbers(shape)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return _moments()
        case "blob":
            return st.binary(max_size=40) | st.sampled_from([b"", bytes(1 << 20), bytes((1 << 20) + 1)])
        case kind:
            raise AssertionError(kind)


@st.composite
def _members(draw: st.DrawFn, shape: Any) -> dict[str, Any]:
    """Draw a structure: what is required nearly always, the rest now and then, and seldom something wrong."""
    members = {}
    for name, member in shape.members.items():
        chance = draw(st.integers(0, 39))
        is_required = name in shape.required_members or name == "StreamName"
        # AWS keeps StreamId for later, and refuses every request that has it.
        if chance == _SELDOM or (name == "StreamId" and chance != _SELDOM + 1):
            continue
        if is_required or chance in _NOW_AND_THEN:
            members[name] = draw(_JUNK | _HUGE_NUMBERS) if chance == _SELDOM + 2 else draw(_values(name, member))
    return members


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Draw a few calls, one after another."""
    wanted = draw(st.lists(st.sampled_from(MODEL.operation_names), min_size=1, max_size=_CALL_COUNT_MAX))
    return [(operation, draw(_members(MODEL.operation_model(operation).input_shape))) for operation in wanted]


def json_of(document: object) -> bytes:
    """Write a document as JSON, and numbers that JSON has not as Python does."""
    return json.dumps(document, default=_json_value).encode()


def _json_value(value: object) -> object:
    match value:
        case Moment():
            return value.ms / 1000
        case bytes():
            return b64encode(value).decode()
        case _:
            raise TypeError(value)


def cbor_of(document: object) -> bytes:
    """Write a document as CBOR."""
    return cbor2.dumps(document, default=_write_moment)


def _write_moment(encoder: cbor2.CBOREncoder, value: object) -> None:
    assert isinstance(value, Moment)
    encoder.encode(cbor2.CBORTag(1, int(value.ms) if abs(value.ms) < 2**63 else value.ms))
