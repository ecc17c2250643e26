"""Filters of event source mappings: EventBridge's patterns, compiled once and matched against parsed records.

Patterns are alternatives; the keys inside one must all match, unless ``$or`` says otherwise. A list in a record matches
when one of its elements does. A Kinesis record that is no JSON object never matches a pattern that speaks of its data.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from streamd.core.event_rules import Leaf, Number, rule_of
from streamd.errors import PatternInvalid

__all__ = ["EventFilter", "compile_filter"]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Compiled patterns, one of which has to match. ``load`` parses what they are matched against."""

    patterns: "tuple[_Node, ...]"
    load: Callable[[bytes], Any]

    def matches(self, document: dict[str, Any]) -> bool:
        """Tell whether a record is let through."""
        return any(pattern.matches(document) for pattern in self.patterns)


def compile_filter(patterns: Sequence[str], *, data_is_parsed: bool) -> EventFilter | None:
    """Compile a mapping's patterns; None when there are none, and so everything is let through.

    ``data_is_parsed`` holds for Kinesis, whose ``data`` must be an object in the pattern. Raises PatternInvalid.
    """
    if not patterns:
        return None
    nodes = tuple(_compile(pattern, data_is_parsed=data_is_parsed) for pattern in patterns)
    # Keeping the text of numbers takes several times as long, and only few patterns ask for it.
    keeps_text = any(node.compares_numbers for node in nodes)
    return EventFilter(nodes, _load_with_texts if keeps_text else orjson.loads)


class _Node(Protocol):
    @property
    def compares_numbers(self) -> bool: ...

    def matches(self, value: Any) -> bool: ...


@dataclass(frozen=True, slots=True)
class _All:
    """The keys of an object."""

    nodes: "tuple[tuple[str, _Node], ...]"
    choices: "tuple[_Either, ...]" = ()

    @property
    def compares_numbers(self) -> bool:
        return any(node.compares_numbers for _, node in self.nodes) or any(c.compares_numbers for c in self.choices)

    def matches(self, value: Any) -> bool:
        if isinstance(value, list) and value:
            return any(self.matches(element) for element in _flat(value))
        fields = value if isinstance(value, dict) else {}
        for name, node in self.nodes:
            if not node.matches(fields.get(name, _ABSENT)):
                return False
        return all(choice.matches(fields) for choice in self.choices)


@dataclass(frozen=True, slots=True)
class _Either:
    """The alternatives of ``$or``."""

    nodes: "tuple[_Node, ...]"

    @property
    def compares_numbers(self) -> bool:
        return any(node.compares_numbers for node in self.nodes)

    def matches(self, value: Any) -> bool:
        return any(node.matches(value) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class _Data:
    """The data of a Kinesis record, which must be an object."""

    inner: _All

    @property
    def compares_numbers(self) -> bool:
        return self.inner.compares_numbers

    def matches(self, value: Any) -> bool:
        return isinstance(value, dict) and self.inner.matches(value)


@dataclass(frozen=True, slots=True)
class _OneOf:
    """The rules of a leaf. An object is no leaf, so a rule sees none there; neither is an empty list."""

    rules: tuple[Leaf, ...]

    @property
    def compares_numbers(self) -> bool:
        return any(rule.compares_numbers for rule in self.rules)

    def matches(self, value: Any) -> bool:
        if isinstance(value, list) and value:
            return any(self.matches(element) for element in _flat(value))
        if value is _ABSENT or isinstance(value, dict | list):
            return any(rule.fits_absence for rule in self.rules)
        return any(rule.fits(value) for rule in self.rules)


_ABSENT = object()
# Matching takes a few calls for each level, and Python bounds them; no record nests that deep by reason.
_DEPTH_MAX = 100


def _compile(pattern: str, *, data_is_parsed: bool) -> _Node:
    try:
        document = _load_with_texts(pattern.encode())
        return _object(document, top="data" if data_is_parsed else None)
    except ValueError as error:
        raise PatternInvalid("it is no JSON") from error


def _object(document: Any, *, top: str | None = None, depth: int = 0) -> _All:
    """Compile an object; ``top`` is the key whose value must be one, on the pattern's first level."""
    if not isinstance(document, dict):
        raise PatternInvalid("a pattern is an object")
    if depth > _DEPTH_MAX:
        raise PatternInvalid("it is too deep")
    nodes: list[tuple[str, _Node]] = []
    choices: list[_Either] = []
    for name, value in document.items():
        if name == "$or":
            choices.append(_choice(value, top=top, depth=depth + 1))
        elif name == top:
            nodes.append((name, _Data(_object(value, depth=depth + 1))))
        elif isinstance(value, list):
            nodes.append((name, _leaf(value)))
        else:
            nodes.append((name, _inner_object(value, depth=depth + 1)))
    return _All(tuple(nodes), tuple(choices))


def _inner_object(document: Any, *, depth: int) -> _All:
    if document == {}:
        raise PatternInvalid("an object inside a pattern is not empty")
    return _object(document, depth=depth)


def _choice(alternatives: Any, *, top: str | None, depth: int) -> _Either:
    if not isinstance(alternatives, list) or not alternatives:
        raise PatternInvalid("$or takes a list of patterns")
    return _Either(tuple(_object(alternative, top=top, depth=depth) for alternative in alternatives))


def _leaf(rules: list[Any]) -> _OneOf:
    if not rules:
        raise PatternInvalid("a list of rules is not empty")
    return _OneOf(tuple(rule_of(rule) for rule in rules))


def _load_with_texts(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), parse_int=Number, parse_float=Number, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("too deep") from error


def _flat(elements: list[Any]) -> Iterator[Any]:
    """Give the elements of lists in lists, however deep, without recursion: a record may be nested by malice."""
    waiting = [iter(elements)]
    while waiting:
        element = next(waiting[-1], _ABSENT)
        if element is _ABSENT:
            waiting.pop()
        elif isinstance(element, list) and element:
            waiting.append(iter(element))
        else:
            yield element


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
