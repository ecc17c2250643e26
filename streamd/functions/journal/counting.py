"""Counts what becomes of invocations and events: in the usage by month, and in the metrics."""

from streamd.functions.journal.usage import Usage
from streamd.functions.running import Finished, Invocation, Runnable
from streamd.metrics import FunctionMetric, Metrics

__all__ = ["Counting"]

_MB = 1 << 20


class Counting:
    """Takes note of invocations for the invoker, and of events for the queue's dispatcher."""

    def __init__(self, usage: Usage, metrics: Metrics) -> None:
        self._usage = usage
        self._metrics = metrics

    def count(self, runnable: Runnable, invocation: Invocation, finished: Finished | None) -> None:
        """Count an invocation that ended, or (None) that was throttled."""
        name = runnable.name
        if finished is None:
            self._usage.count_throttle(runnable)
            self._metrics.function(FunctionMetric.THROTTLES, name)
            return
        self._usage.count(finished, runnable, invocation.trigger)
        self._metrics.function(FunctionMetric.INVOCATIONS, name)
        self._metrics.function(FunctionMetric.DURATION, name, amount=finished.duration_ms / 1000)
        self._metrics.function(FunctionMetric.MEMORY_USED, name, amount=finished.memory_peak_mb * _MB)
        if finished.error is not None:
            self._metrics.function(FunctionMetric.ERRORS, name)
        if finished.init_ms is not None:
            self._metrics.function(FunctionMetric.INIT_DURATION, name, amount=finished.init_ms / 1000)

    def running(self, name: str, change: int) -> None:
        """Count an invocation that began (1) or has ended (-1)."""
        self._metrics.change_function(FunctionMetric.CONCURRENCY, name, amount=change)

    def lines_dropped(self, name: str, count: int) -> None:
        """Count log lines that are not kept."""
        self._metrics.function(FunctionMetric.LINES_DROPPED, name, amount=count)

    def event_taken(self, arn: str, *, age_s: float) -> None:
        """Note how old an event was when it was tried first."""
        # A clock that was set back makes an event younger than it is, never less than new.
        self._metrics.function(FunctionMetric.EVENT_AGE, _name(arn), amount=max(0.0, age_s))

    def event_dropped(self, arn: str) -> None:
        """Count an event that was given up."""
        self._metrics.function(FunctionMetric.EVENTS_DROPPED, _name(arn))

    def dead_letter_failed(self, arn: str) -> None:
        """Count an event that its dead letter queue did not take."""
        self._metrics.function(FunctionMetric.DEAD_LETTER_ERRORS, _name(arn))

    def delivery_failed(self, arn: str) -> None:
        """Count an outcome that its destination did not take."""
        self._metrics.function(FunctionMetric.DELIVERY_FAILURES, _name(arn))


def _name(arn: str) -> str:
    return arn.split(":")[6]
