"""What a producer counts, as a plain value, and as a collector for those who have prometheus_client.

from prometheus_client import REGISTRY
REGISTRY.register(ProducerCollector(producer))
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Counters", "ProducerCollector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a producer did until now. Bytes are those of data and keys.

    ``record_count`` and ``byte_count`` are of the users' records that are stored, ``failed_record_count`` of those
    that were given up. ``sent_record_count`` counts records of the stream each time they are sent,
    ``retried_record_count`` those sent again among them. ``latency_s_sum`` is the time from admission to answer over
    all records stored, ``latency_s_max`` the longest. ``buffered_*`` is what is admitted and not answered now; its
    bytes also count what a record costs in memory.
    """

    record_count: int = 0
    byte_count: int = 0
    failed_record_count: int = 0
    request_count: int = 0
    sent_record_count: int = 0
    retried_record_count: int = 0
    latency_s_sum: float = 0.0
    latency_s_max: float = 0.0
    buffered_record_count: int = 0
    buffered_byte_count: int = 0


class _Counts(Protocol):
    """Whoever counts."""

    @property
    def stream(self) -> str:
        """The stream it puts to."""
        ...

    def counters(self) -> Counters:
        """Tell what was done."""
        ...


class ProducerCollector:
    """Tells Prometheus a producer's counters; needs the package prometheus_client, which streamd's server brings."""

    def __init__(self, producer: _Counts) -> None:
        self._producer = producer

    def collect(self) -> Iterator[Any]:
        """Give one metric for each counter, labelled with the stream."""
        from prometheus_client.core import (  # noqa: PLC0415 - only those who ask for metrics need it
            CounterMetricFamily,
            GaugeMetricFamily,
            SummaryMetricFamily,
        )

        counters, labels = self._producer.counters(), [self._producer.stream]
        for name, about, value in (
            ("records", "Records stored.", counters.record_count),
            ("bytes", "Bytes of data and keys stored.", counters.byte_count),
            ("failed_records", "Records given up.", counters.failed_record_count),
            ("requests", "Requests sent.", counters.request_count),
            ("retried_records", "Records sent again.", counters.retried_record_count),
        ):
            counter = CounterMetricFamily(f"streamd_producer_{name}", about, labels=["stream"])
            counter.add_metric(labels, value)
            yield counter
        latency = SummaryMetricFamily(
            "streamd_producer_latency_seconds", "From admission to answer.", labels=["stream"]
        )
        latency.add_metric(labels, count_value=counters.record_count, sum_value=counters.latency_s_sum)
        yield latency
        for name, about, value in (
            ("buffered_records", "Records admitted and not answered.", counters.buffered_record_count),
            ("buffered_bytes", "Memory of the records admitted and not answered.", counters.buffered_byte_count),
        ):
            gauge = GaugeMetricFamily(f"streamd_producer_{name}", about, labels=["stream"])
            gauge.add_metric(labels, value)
            yield gauge
