"""The embedded metric format: metrics that a function prints as lines of JSON (CloudWatch's EMF).

Values only. A line that does not claim to be one is none; one that claims it and is not as the format wants it is
malformed as a whole. Bounded as in the format: a hundred metrics in a directive, a hundred values of a metric, thirty
dimensions in a set.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["EmbeddedMetric", "embedded_metrics"]

_METRIC_COUNT_MAX = 100
_VALUE_COUNT_MAX = 100
_DIMENSION_COUNT_MAX = 30
_TEXT_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True)
class EmbeddedMetric:
    """A metric's values in one line; ``dimensions`` is ``name=value`` of the first set, joined by commas."""

    namespace: str
    name: str
    dimensions: str
    values: tuple[float, ...]


def embedded_metrics(line: bytes) -> list[EmbeddedMetric] | None:
    """Read the metrics of a line; None when it is no line of metrics. Raises ValueError when it is malformed."""
    if not line.startswith(b"{") or b'"_aws"' not in line or b'"CloudWatchMetrics"' not in line:
        return None
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError("no JSON") from error
    try:
        directives = document["_aws"]["CloudWatchMetrics"]
        return [metric for directive in _list(directives) for metric in _of_directive(document, directive)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not as the format wants it") from error


def _of_directive(document: Mapping[str, Any], directive: Mapping[str, Any]) -> list[EmbeddedMetric]:
    namespace, metrics = _text(directive["Namespace"]), _list(directive["Metrics"])
    dimensions = _dimensions(document, _list(directive.get("Dimensions") or []))
    if len(metrics) > _METRIC_COUNT_MAX:
        raise ValueError("too many metrics")
    names = [_text(metric["Name"]) for metric in metrics]
    # A metric that is declared and has no value in this line is allowed, and simply not there.
    return [EmbeddedMetric(namespace, name, dimensions, _values(document[name])) for name in names if name in document]


def _dimensions(document: Mapping[str, Any], sets: list[Any]) -> str:
    names = _list(sets[0]) if sets else []
    if len(names) > _DIMENSION_COUNT_MAX:
        raise ValueError("too many dimensions")
    return _text(",".join(f"{_text(name)}={document[name]}" for name in names))


def _values(told: Any) -> tuple[float, ...]:
    values = told if isinstance(told, list) else [told]
    if len(values) > _VALUE_COUNT_MAX:
        raise ValueError("too many values")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("a value that is no number")
    return tuple(float(value) for value in values)


def _list(told: Any) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError("no list")
    return told


def _text(told: Any) -> str:
    if not isinstance(told, str) or len(told) > _TEXT_LENGTH_MAX:
        raise ValueError("a name that is no text, or too long")
    return told
