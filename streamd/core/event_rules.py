"""What one leaf of an event pattern asks of a value: EventBridge's operators, as far as mappings have them.

A number is compared by its text where equality is asked (300 is not 300.0), and by its value in ranges. Refused are
operators that mappings lack (wildcard, cidr), and rules of a wrong form.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from streamd.errors import PatternInvalid

__all__ = ["Leaf", "Number", "rule_of"]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LOWER, _UPPER = (">", ">="), ("<", "<=")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    text: str


class Leaf(Protocol):
    """What a leaf asks: ``fits`` of a value that is there, ``fits_absence`` where there is none."""

    @property
    def fits_absence(self) -> bool:
        """Whether a missing value satisfies it."""
        ...

    @property
    def compares_numbers(self) -> bool:
        """Whether the text of numbers matters to it."""
        ...

    def fits(self, value: Any) -> bool:
        """Tell whether a string, a number, a boolean or null satisfies it."""
        ...


def rule_of(rule: Any) -> Leaf:
    """Compile one element of a leaf's list. Raises PatternInvalid."""
    if rule is None or isinstance(rule, str | bool | Number):
        return _AnyOf((rule,))
    if not isinstance(rule, dict):
        raise PatternInvalid("a list of rules holds strings, numbers, booleans, null and objects only")
    if len(rule) != 1:
        raise PatternInvalid("a rule has exactly one operator")
    ((name, argument),) = rule.items()
    compiler = _COMPILERS.get(name)
    if compiler is None:
        raise PatternInvalid(f"there is no operator {name}")
    return compiler(argument)


@dataclass(frozen=True, slots=True)
class _AnyOf:
    values: tuple[Any, ...]
    fits_absence: bool = False

    @property
    def compares_numbers(self) -> bool:
        return any(isinstance(value, Number) for value in self.values)

    def fits(self, value: Any) -> bool:
        # True == 1 in Python, and here a boolean is no number.
        return any(value == each and type(value) is type(each) for each in self.values)


@dataclass(frozen=True, slots=True)
class _Text:
    """A rule about strings: ``kind`` is "prefix", "suffix" or "equals-ignore-case"."""

    kind: str
    texts: tuple[str, ...]
    fits_absence: bool = False
    compares_numbers: bool = False

    def fits(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        match self.kind:
            case "prefix":
                return value.startswith(self.texts)
            case "suffix":
                return value.endswith(self.texts)
            case _:
                return value.casefold() in self.texts


@dataclass(frozen=True, slots=True)
class _Not:
    refused: Leaf
    fits_absence: bool = False

    @property
    def compares_numbers(self) -> bool:
        return self.refused.compares_numbers

    def fits(self, value: Any) -> bool:
        return not self.refused.fits(value)


@dataclass(frozen=True, slots=True)
class _Range:
    bounds: tuple[tuple[Callable[[float, float], bool], float], ...]
    fits_absence: bool = False
    compares_numbers: bool = False

    def fits(self, value: Any) -> bool:
        if isinstance(value, Number):
            value = float(value.text)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(compare(value, bound) for compare, bound in self.bounds)


@dataclass(frozen=True, slots=True)
class _Exists:
    wanted: bool
    compares_numbers: bool = False

    @property
    def fits_absence(self) -> bool:
        return not self.wanted

    def fits(self, value: Any) -> bool:  # noqa: ARG002  # any value will do
        return self.wanted


def _text_rule(kind: str, *, takes_list: bool) -> Callable[[Any], Leaf]:
    def compile_rule(argument: Any) -> Leaf:
        texts = argument if takes_list and isinstance(argument, list) else [argument]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise PatternInvalid(f"{kind} takes a string")
        return _Text(kind, tuple(text.casefold() if kind == "equals-ignore-case" else text for text in texts))

    return compile_rule


def _anything_but(argument: Any) -> Leaf:
    if isinstance(argument, dict):
        if len(argument) != 1 or next(iter(argument)) not in _INNER_COMPILERS:
            raise PatternInvalid("anything-but takes values, or one of prefix, suffix and equals-ignore-case")
        ((name, inner),) = argument.items()
        return _Not(_INNER_COMPILERS[name](inner))
    values = argument if isinstance(argument, list) else [argument]
    kinds = {type(value) for value in values}
    if kinds not in ({str}, {Number}):
        raise PatternInvalid("anything-but takes a string, a number, or a list of one of them")
    return _Not(_AnyOf(tuple(values)))


def _numeric(argument: Any) -> Leaf:
    if not isinstance(argument, list) or len(argument) not in {2, 4}:
        raise PatternInvalid("numeric takes a comparison and a number, or two of each")
    names, numbers = argument[0::2], argument[1::2]
    if not all(isinstance(number, Number) for number in numbers):
        raise PatternInvalid("numeric compares with numbers")
    if not all(isinstance(name, str) and name in _COMPARISONS for name in names):
        raise PatternInvalid("numeric compares with =, <, <=, > and >=")
    values = [float(number.text) for number in numbers]
    if len(names) == 2 and not (names[0] in _LOWER and names[1] in _UPPER and values[0] < values[1]):
        raise PatternInvalid("a numeric range begins with its lower bound and ends with a higher one")
    return _Range(tuple((_COMPARISONS[name], value) for name, value in zip(names, values, strict=True)))


def _exists(argument: Any) -> Leaf:
    if not isinstance(argument, bool):
        raise PatternInvalid("exists takes true or false")
    return _Exists(argument)


_TEXT_KINDS = ("prefix", "suffix", "equals-ignore-case")
_INNER_COMPILERS = {kind: _text_rule(kind, takes_list=True) for kind in _TEXT_KINDS}
_COMPILERS: dict[str, Callable[[Any], Leaf]] = {
    **{kind: _text_rule(kind, takes_list=False) for kind in _TEXT_KINDS},
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
}
