"""Metrics that functions print (EMF), shown beside the server's own.

Bounded, because a function may print whatever it likes: so many different metrics of one function, so many of all; what
is beyond, and what is malformed, is counted and not shown.
"""

from streamd.core.embedded_metrics import EmbeddedMetric, embedded_metrics
from streamd.metrics import FunctionMetric, Metrics

__all__ = ["PrintedMetrics"]

_SERIES_COUNT_MAX = 1000
_SERIES_COUNT_MAX_BY_FUNCTION = 100

_Series = tuple[str, str, str]


class PrintedMetrics:
    """Takes the lines that functions print, and shows the metrics in them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series_by_function: dict[str, set[_Series]] = {}
        self._series_count = 0

    def take(self, function: str, line: bytes) -> None:
        """Look at a line; most hold no metrics, and cost a look at their first byte."""
        try:
            found = embedded_metrics(line)
        except ValueError:
            self._metrics.function(FunctionMetric.EMF_REFUSED, function, "malformed")
            return
        for metric in found or ():
            self._show(function, metric)

    def _show(self, function: str, metric: EmbeddedMetric) -> None:
        series = metric.namespace, metric.name, metric.dimensions
        if not metric.values:
            return
        if not self._has_room(function, series):
            self._metrics.function(FunctionMetric.EMF_REFUSED, function, "too_many")
            return
        labels = function, *series
        self._metrics.function(FunctionMetric.EMF, *labels, amount=metric.values[-1])
        self._metrics.function(FunctionMetric.EMF_VALUES, *labels, amount=len(metric.values))
        self._metrics.change_function(FunctionMetric.EMF_SUM, *labels, amount=sum(metric.values))

    def _has_room(self, function: str, series: _Series) -> bool:
        known = self._series_by_function.get(function, set())
        if series in known:
            return True
        if self._series_count >= _SERIES_COUNT_MAX or len(known) >= _SERIES_COUNT_MAX_BY_FUNCTION:
            return False
        self._series_by_function[function] = known | {series}
        self._series_count += 1
        return True
