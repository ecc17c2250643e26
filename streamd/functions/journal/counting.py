"""Counts what becomes of invocations and events: in the usage by month, and in the metrics."""

from collections.abc import Mapping

from streamd.core.mapping import EventSourceMapping
from streamd.core.mapping_steps import MappingCounters
from streamd.functions.journal.usage import Usage
from streamd.functions.running import Finished, Invocation, Runnable
from streamd.metrics import FunctionMetric, Metrics

__all__ = ["Counting", "MappingCounting"]

_MB = 1 << 20


class Counting:
    """Takes note of invocations for the invoker, and of events for the queue's dispatcher."""

    def __init__(self, usage: Usage, metrics: Metrics) -> None:
        self._usage = usage
        self._metrics = metrics
        self._busy: set[str] = set()

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

    def note_concurrency(self, busy_count_by_function: Mapping[str, int]) -> None:
        """Show how many invocations run now; a function that is not named has none."""
        for name in self._busy - busy_count_by_function.keys():
            self._metrics.function(FunctionMetric.CONCURRENCY, name, amount=0)
        for name, count in busy_count_by_function.items():
            self._metrics.function(FunctionMetric.CONCURRENCY, name, amount=count)
        self._busy = set(busy_count_by_function)

    def note_sandbox(self, tier: str) -> None:
        """Show how strong the walls are."""
        self._metrics.function(FunctionMetric.SANDBOX, tier)

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


class MappingCounting:
    """Counts the records of event source mappings, from their source to what became of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, mapping: EventSourceMapping, counters: MappingCounters) -> None:
        """Count what became of records."""
        for metric, amount in (
            (FunctionMetric.MAPPING_POLLED, counters.polled),
            (FunctionMetric.MAPPING_FILTERED_OUT, counters.filtered_out),
            (FunctionMetric.MAPPING_INVOKED, counters.invoked),
            (FunctionMetric.MAPPING_FAILED_INVOKE, counters.failed_invoke),
            (FunctionMetric.MAPPING_DROPPED, counters.dropped),
            (FunctionMetric.MAPPING_DELIVERED, counters.on_failure_delivered),
        ):
            if amount:
                self._metrics.function(metric, *_labels(mapping), amount=amount)

    def note_age(self, mapping: EventSourceMapping, age_ms: int) -> None:
        """Show how old a batch's last record was when the function was done with it."""
        self._metrics.function(FunctionMetric.MAPPING_AGE, *_labels(mapping), amount=max(0, age_ms) / 1000)

    def note_depth(self, mapping: EventSourceMapping, *, waiting_count: int, lag_count: int) -> None:
        """Show how many records wait in lanes, and how many are behind the checkpoint in the source."""
        self._metrics.function(FunctionMetric.MAPPING_LANE_DEPTH, *_labels(mapping), amount=waiting_count)
        self._metrics.function(FunctionMetric.MAPPING_LAG, *_labels(mapping), amount=lag_count)


def _labels(mapping: EventSourceMapping) -> tuple[str, str]:
    return _name(mapping.function_arn), mapping.uuid


def _name(arn: str) -> str:
    return arn.split(":")[6]
