"""What the server counts, by Prometheus's conventions, summed over the workers.

The values live in memory-mapped files of one folder that all workers share (prometheus-client's multi-process mode,
switched on by ``PROMETHEUS_MULTIPROC_DIR`` before this module is imported), so any worker can answer for all, and a
worker that was replaced keeps its counts. The number of different stream labels is bounded: past the bound, streams
share one label.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "Figure", "FunctionMetric", "Metrics", "expose", "forget_worker"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABEL_COUNT_MAX = 4096
_OTHERS = "_other"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES = tuple(float(1 << power) for power in range(8, 25, 2))

_OPERATION = ("operation",)
_STREAM = ("stream",)
_SHARD = ("stream", "shard")
_FUNCTION = ("function",)
_MAPPING = ("function", "mapping")
_EMF = ("function", "namespace", "metric", "dimensions")
# A function may run for a quarter of an hour, and an event wait for six.
_LONG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600)

_SHARD_COUNTERS = {
    "IncomingBytes": ("streamd_shard_incoming_bytes", "Bytes put to a shard"),
    "IncomingRecords": ("streamd_shard_incoming_records", "Records put to a shard"),
    "OutgoingBytes": ("streamd_shard_outgoing_bytes", "Bytes read from a shard"),
    "OutgoingRecords": ("streamd_shard_outgoing_records", "Records read from a shard"),
    "WriteProvisionedThroughputExceeded": (
        "streamd_shard_write_throttles",
        "Records over a shard's write limit",
    ),
    "ReadProvisionedThroughputExceeded": ("streamd_shard_read_throttles", "Reads over a shard's read limit"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge that is read when somebody looks: its samples are label values and a number."""

    name: str
    text: str
    labels: Sequence[str]
    samples: Iterable[tuple[Sequence[str], float]]


class FunctionMetric(Enum):
    """What is measured of functions and of what feeds them: name, text, kind, labels.

    A gauge that is added to and not set has for its kind how the processes' values are put together.
    """

    INVOCATIONS = "invocations", "Invocations that ran, whatever came of them", "counter", _FUNCTION
    ERRORS = "errors", "Invocations that ended with an error of the function", "counter", _FUNCTION
    THROTTLES = "throttles", "Invocations refused for want of a free environment", "counter", _FUNCTION
    DURATION = "duration_seconds", "How long the handler ran", "histogram", _FUNCTION
    INIT_DURATION = "init_duration_seconds", "How long a cold start took", "histogram", _FUNCTION
    CONCURRENCY = "concurrent_executions", "Invocations that run now", "gauge", _FUNCTION
    MEMORY_USED = "memory_used_bytes", "The most memory that the last invocation held", "gauge", _FUNCTION
    EVENTS_DROPPED = "async_events_dropped", "Events given up without success", "counter", _FUNCTION
    EVENT_AGE = "async_event_age_seconds", "How old an event was when it was tried first", "histogram", _FUNCTION
    DEAD_LETTER_ERRORS = "dead_letter_errors", "Events that a dead letter queue did not take", "counter", _FUNCTION
    DELIVERY_FAILURES = "destination_delivery_failures", "Outcomes a destination did not take", "counter", _FUNCTION
    LINES_DROPPED = "log_lines_dropped", "Log lines that were not kept", "counter", _FUNCTION
    EMF = "emf", "The last value of a metric that a function printed", "gauge", _EMF
    EMF_SUM = "emf_sum", "The sum of the values of a metric that a function printed", "sum", _EMF
    EMF_VALUES = "emf_values", "Values of a metric that a function printed", "counter", _EMF
    EMF_REFUSED = "emf_refused", "Printed metrics that were not taken", "counter", ("function", "reason")
    SANDBOX = "sandbox_info", "How strong the walls around functions are", "gauge", ("tier",)
    MAPPING_AGE = "mapping_iterator_age_seconds", "Age of a batch's last record at its end", "gauge", _MAPPING
    MAPPING_POLLED = "mapping_polled_events", "Records read", "counter", _MAPPING
    MAPPING_FILTERED_OUT = "mapping_filtered_out_events", "Records that no filter took", "counter", _MAPPING
    MAPPING_INVOKED = "mapping_invoked_events", "Records handed to the function", "counter", _MAPPING
    MAPPING_FAILED_INVOKE = "mapping_failed_invoke_events", "Records of batches that failed", "counter", _MAPPING
    MAPPING_DROPPED = "mapping_dropped_events", "Records given up", "counter", _MAPPING
    MAPPING_DELIVERED = "mapping_on_failure_delivered_events", "Records told to a destination", "counter", _MAPPING
    MAPPING_LANE_DEPTH = "mapping_lane_depth", "Records that wait in a mapping's lanes", "gauge", _MAPPING
    MAPPING_LAG = "mapping_checkpoint_lag_records", "Records behind the newest one", "gauge", _MAPPING

    def __init__(self, short_name: str, text: str, kind: str, labels: tuple[str, ...]) -> None:
        self.short_name = short_name
        self.text = text
        self.kind = kind
        self.labels = labels


class Metrics:
    """The instruments. Make one for each process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._labels: set[str] = set()
        # Looking a child up by its labels costs more than counting, so the hot ones are kept at hand.
        self._answered: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._puts: dict[str, tuple[Counter, Counter]] = {}
        self._requests = self._counter(
            "streamd_requests", "Requests answered; error is empty on success", ("operation", "error")
        )
        self._request_seconds = self._histogram(
            "streamd_request_duration_seconds", "From a request read to its answer made", _SECONDS, _OPERATION
        )
        self._records_in = self._counter("streamd_incoming_records", "Records put", _STREAM)
        self._bytes_in = self._counter("streamd_incoming_bytes", "Bytes of keys and data put", _STREAM)
        self._records_out = self._counter("streamd_outgoing_records", "Records read", _STREAM)
        self._bytes_out = self._counter("streamd_outgoing_bytes", "Bytes of keys and data read", _STREAM)
        self._records_failed = self._counter(
            "streamd_failed_put_records", "Records that PutRecords answered with an error", _STREAM
        )
        self._expired_records = self._counter("streamd_expired_records", "Records removed by retention", _STREAM)
        self._expired_bytes = self._counter("streamd_expired_bytes", "Bytes removed by retention", _STREAM)
        self._throttles = self._counter(
            "streamd_throttles", "Records or calls refused by --limits aws", ("stream", "kind")
        )
        self._shadow_throttles = self._counter(
            "streamd_shadow_throttles", "Records or calls that AWS would have refused", ("stream", "kind")
        )
        self._iterator_age = self._gauge(
            "streamd_iterator_age_seconds", "How far the last read was behind the newest record", _STREAM
        )
        self._open_subscriptions = self._gauge(
            "streamd_open_subscriptions", "Subscriptions to shards that are pushed to now", (), mode="livesum"
        )
        self._commit_bytes = self._histogram("streamd_commit_bytes", "Bytes of records in one commit", _BYTES)
        self._commit_seconds = self._histogram(
            "streamd_commit_duration_seconds", "Writing and syncing one commit", _SECONDS
        )
        self._make_shard_metrics()
        self._make_worker_metrics()
        self._function_metrics = {metric: self._function_metric(metric) for metric in FunctionMetric}
        self._function_labels: set[tuple[str, ...]] = set()
        self._function_children: dict[tuple[str, tuple[str, ...]], Counter | Gauge | Histogram] = {}

    def _make_shard_metrics(self) -> None:
        self._shard_counters = {
            name: self._counter(series, text, _SHARD) for name, (series, text) in _SHARD_COUNTERS.items()
        }
        self._shard_iterator_age = self._gauge(
            "streamd_shard_iterator_age_seconds", "How far the last read of a shard was behind", _SHARD
        )

    def _function_metric(self, metric: FunctionMetric) -> Counter | Gauge | Histogram:
        name = f"streamd_function_{metric.short_name}"
        match metric.kind:
            case "counter":
                return self._counter(name, metric.text, metric.labels)
            case "histogram":
                return self._histogram(name, metric.text, _LONG_SECONDS, metric.labels)
            case "gauge":
                return self._gauge(name, metric.text, metric.labels)
            case mode:
                return self._gauge(name, metric.text, metric.labels, mode=mode)

    def _make_worker_metrics(self) -> None:
        self._own_process = ProcessCollector(registry=None)
        self._door_bytes = self._gauge(
            "streamd_worker_door_bytes", "Bytes of requests' bodies not answered yet", (), mode="liveall"
        )
        self._answer_bytes = self._gauge(
            "streamd_worker_answer_bytes", "Bytes of answers that clients have not taken yet", (), mode="liveall"
        )
        self._worker_gauges = {
            source: self._gauge(name, text, (), mode="liveall")
            for source, name, text in (
                (
                    "process_resident_memory_bytes",
                    "streamd_worker_resident_memory_bytes",
                    "A worker's memory",
                ),
                ("process_cpu_seconds_total", "streamd_worker_cpu_seconds", "CPU time a worker has used"),
                ("process_open_fds", "streamd_worker_open_fds", "Descriptors a worker has open"),
            )
        }

    def answered(self, operation: str, *, error: str, durations_s: Sequence[float]) -> None:
        """Count requests of one operation that were answered together, in the same way."""
        kept = self._answered.get((operation, error))
        if kept is None:
            kept = self._requests.labels(operation, error), self._request_seconds.labels(operation)
            self._answered[operation, error] = kept
        kept[0].inc(len(durations_s))
        _observe_all(kept[1], durations_s)

    def put(self, stream: str, *, record_count: int, byte_count: int) -> None:
        """Count records that were acknowledged."""
        kept = self._puts.get(stream)
        if kept is None:
            label = self._label(stream)
            kept = self._records_in.labels(label), self._bytes_in.labels(label)
            if label == stream:
                self._puts[stream] = kept
        kept[0].inc(record_count)
        kept[1].inc(byte_count)

    def put_failed(self, stream: str, *, record_count: int) -> None:
        """Count records that a PutRecords refused one by one."""
        self._records_failed.labels(self._label(stream)).inc(record_count)

    def read(self, stream: str, *, record_count: int, byte_count: int, behind_ms: int) -> None:
        """Count records handed to a reader, and how far behind it is."""
        label = self._label(stream)
        self._records_out.labels(label).inc(record_count)
        self._bytes_out.labels(label).inc(byte_count)
        self._iterator_age.labels(label).set(behind_ms / 1000)

    def shard(self, metric: str, stream: str, shard: str, *, amount: float) -> None:
        """Count one of Kinesis's shard-level metrics, by its own name; for streams that enabled it."""
        if metric == "IteratorAgeMilliseconds":
            self._shard_iterator_age.labels(self._label(stream), shard).set(amount / 1000)
        else:
            self._shard_counters[metric].labels(self._label(stream), shard).inc(amount)

    def subscribed(self, change: int) -> None:
        """Count a subscription that was opened (1) or has ended (-1)."""
        self._open_subscriptions.inc(change)

    def throttled(self, stream: str, kind: str, *, count: int, is_shadow: bool) -> None:
        """Count records or calls over AWS's limits: refused, or in shadow only counted."""
        counter = self._shadow_throttles if is_shadow else self._throttles
        counter.labels(self._label(stream), kind).inc(count)

    def expired(self, stream: str, *, record_count: int, byte_count: int) -> None:
        """Count what retention removed."""
        label = self._label(stream)
        self._expired_records.labels(label).inc(record_count)
        self._expired_bytes.labels(label).inc(byte_count)

    def committed(self, *, byte_count: int, duration_s: float) -> None:
        """Count one commit."""
        self._commit_bytes.observe(byte_count)
        self._commit_seconds.observe(duration_s)

    def function(self, metric: FunctionMetric, *labels: str, amount: float = 1) -> None:
        """Count, observe or set a metric of a function: its name first, then what else the metric has for labels."""
        match self._function_child(metric, labels):
            case Counter() as counter:
                counter.inc(amount)
            case Histogram() as histogram:
                histogram.observe(amount)
            case gauge:
                gauge.set(amount)

    def change_function(self, metric: FunctionMetric, *labels: str, amount: float) -> None:
        """Add to a gauge that is added to (a sum), or take from it."""
        gauge = self._function_child(metric, labels)
        assert isinstance(gauge, Gauge)
        gauge.inc(amount)

    def note_worker(self, *, body_byte_count: int, answer_byte_count: int) -> None:
        """Set this worker's own figures, as they are now: its process's, and what bodies and answers hold."""
        self._door_bytes.set(body_byte_count)
        self._answer_bytes.set(answer_byte_count)
        samples = [sample for family in self._own_process.collect() for sample in family.samples]
        for sample in samples:
            if (gauge := self._worker_gauges.get(sample.name)) is not None:
                gauge.set(sample.value)

    def _label(self, stream: str) -> str:
        if stream in self._labels:
            return stream
        if len(self._labels) >= _LABEL_COUNT_MAX:
            return _OTHERS
        self._labels.add(stream)
        return stream

    def _function_child(self, metric: FunctionMetric, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
        kept = self._function_children.get((metric.short_name, labels))
        if kept is not None:
            return kept
        if labels not in self._function_labels and len(self._function_labels) >= _LABEL_COUNT_MAX:
            return self._function_metrics[metric].labels(*(_OTHERS for _ in labels))
        self._function_labels.add(labels)
        kept = self._function_children[metric.short_name, labels] = self._function_metrics[metric].labels(*labels)
        return kept

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str], *, mode: str = "livemostrecent") -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # the stub wants literals

    def _histogram(self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)


def _observe_all(histogram: Histogram, amounts: Sequence[float]) -> None:
    """Observe many amounts at once. The library observes one by one, each for a good part of a small put's price."""
    # Its parts are private: a test holds the outcome against as many calls of `observe`.
    bounds = histogram._upper_bounds  # noqa: SLF001
    histogram._sum.inc(sum(amounts))  # noqa: SLF001
    for place, count in Tally([bisect_left(bounds, amount) for amount in amounts]).items():
        histogram._buckets[place].inc(count)  # noqa: SLF001


class _Figures(Collector):
    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for figure in self._figures:
            family = GaugeMetricFamily(figure.name, figure.text, labels=figure.labels)
            for values, amount in figure.samples:
                family.add_metric(values, amount)
            yield family


def expose(folder: str, figures: Iterable[Figure]) -> bytes:
    """Write all workers' metrics as Prometheus's text, with figures that are read now."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # the library is untyped here
    registry.register(_Figures(figures))
    return generate_latest(registry)


def forget_worker(pid: int, folder: str) -> None:
    """Drop the gauges of a worker that died; its counts stay."""
    multiprocess.mark_process_dead(pid, path=folder)  # type: ignore[no-untyped-call]  # the library is untyped here
