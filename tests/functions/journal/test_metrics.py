"""What is measured of functions, as Prometheus sees it, and the metrics that functions print."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from streamd.core.embedded_metrics import EmbeddedMetric, embedded_metrics
from streamd.core.mapping import EventSourceMapping
from streamd.core.mapping_steps import MappingCounters
from streamd.functions.journal.counting import Counting, MappingCounting
from streamd.functions.journal.printed_metrics import PrintedMetrics
from streamd.functions.journal.usage import Usage
from streamd.metrics import FunctionMetric, Metrics
from tests.clocks import START_MS
from tests.functions.journal.finished import INVOCATION, RUNNABLE, finished
from tests.storage.stores import open_bench

__all__: list[str] = []


_WORKER = """
import os
from streamd.metrics import FunctionMetric, Metrics, expose
metrics = Metrics()
metrics.function(FunctionMetric.INVOCATIONS, "f")
metrics.function(FunctionMetric.EMF, "f", "n", "m", "", amount=1.5)
metrics.change_function(FunctionMetric.EMF_SUM, "f", "n", "m", "", amount=1.5)
print(expose(os.environ["PROMETHEUS_MULTIPROC_DIR"], []).decode())
"""


def _emf(**values: object) -> bytes:
    names = [{"Name": name, "Unit": "Count"} for name in values]
    directive = {"Namespace": "shop", "Dimensions": [["service"]], "Metrics": names}
    return orjson.dumps(
        {"_aws": {"Timestamp": START_MS, "CloudWatchMetrics": [directive]}, "service": "cart", **values}
    )


def _sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    registry: CollectorRegistry = metrics._registry
    return registry.get_sample_value(f"streamd_function_{name}", labels)


async def test_invocations_are_counted_by_function(tmp_path: Path) -> None:
    metrics = Metrics()
    async with open_bench(tmp_path) as bench:
        counting = Counting(Usage(bench.store, bench.clock), metrics)
        counting.count(RUNNABLE, INVOCATION, finished(at_ms=START_MS, ms=250.0, init_ms=100.0, peak_mb=64))
        counting.count(RUNNABLE, INVOCATION, finished(at_ms=START_MS, ms=750.0, error="Unhandled"))
        counting.count(RUNNABLE, INVOCATION, None)
        counting.note_concurrency({"f": 2, "g": 1})
        counting.note_concurrency({"f": 1})
        counting.note_sandbox("bwrap")
        counting.event_taken(RUNNABLE.arn, age_s=-0.5)
        counting.event_dropped(f"{RUNNABLE.arn}:live")
        counting.dead_letter_failed(RUNNABLE.arn)
        counting.delivery_failed(RUNNABLE.arn)
        counting.lines_dropped("f", 7)

    assert _sample(metrics, "concurrent_executions", function="g") == 0
    assert _sample(metrics, "sandbox_info", tier="bwrap") == 1
    assert {
        name: _sample(metrics, name, function="f")
        for name in (
            "invocations_total",
            "errors_total",
            "throttles_total",
            "duration_seconds_sum",
            "duration_seconds_count",
            "init_duration_seconds_sum",
            "memory_used_bytes",
            "concurrent_executions",
            "async_event_age_seconds_count",
            "async_events_dropped_total",
            "dead_letter_errors_total",
            "destination_delivery_failures_total",
            "log_lines_dropped_total",
        )
    } == {
        "invocations_total": 2,
        "errors_total": 1,
        "throttles_total": 1,
        "duration_seconds_sum": 1.0,
        "duration_seconds_count": 2,
        "init_duration_seconds_sum": 0.1,
        "memory_used_bytes": 36 << 20,
        "concurrent_executions": 1,
        "async_event_age_seconds_count": 1,
        "async_events_dropped_total": 1,
        "dead_letter_errors_total": 1,
        "destination_delivery_failures_total": 1,
        "log_lines_dropped_total": 7,
    }


def test_records_of_a_mapping_are_counted_from_source_to_end() -> None:
    metrics = Metrics()
    counting = MappingCounting(metrics)
    mapping = EventSourceMapping(
        uuid="u", source_arn="", function_arn="arn:aws:lambda:us-east-1:000000000000:function:f:live", members={}
    )

    counters = MappingCounters(polled=100, filtered_out=40, invoked=60, failed_invoke=60)
    counting.count(mapping, counters)
    counting.count(mapping, MappingCounters(invoked=60, dropped=5, on_failure_delivered=5))
    counting.note_age(mapping, 1500)
    counting.note_depth(mapping, waiting_count=7, lag_count=9)

    names = (
        "polled_events_total",
        "filtered_out_events_total",
        "invoked_events_total",
        "failed_invoke_events_total",
        "dropped_events_total",
        "on_failure_delivered_events_total",
        "iterator_age_seconds",
        "lane_depth",
        "checkpoint_lag_records",
    )
    found = [_sample(metrics, f"mapping_{name}", function="f", mapping="u") for name in names]
    assert found == [100, 40, 120, 60, 5, 5, 1.5, 7, 9]


def test_every_metric_of_functions_can_be_written() -> None:
    metrics = Metrics()

    for metric in FunctionMetric:
        if metric.kind == "sum":
            metrics.change_function(metric, *metric.labels, amount=1)
        else:
            metrics.function(metric, *metric.labels)

    assert _sample(metrics, "sandbox_info", tier="tier") == 1


def test_all_processes_of_a_daemon_are_shown_as_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    pages = [subprocess.check_output([sys.executable, "-c", _WORKER], env=environment) for _ in range(2)]

    samples = {
        (sample.name, sample.labels["function"]): sample.value
        for family in text_string_to_metric_families(pages[-1].decode())
        for sample in family.samples
        if "function" in sample.labels
    }
    assert samples["streamd_function_invocations_total", "f"] == 2
    assert samples["streamd_function_emf_sum", "f"] == 3
    assert samples["streamd_function_emf", "f"] == 1.5


def test_more_labels_than_are_kept_share_one() -> None:
    metrics = Metrics()

    for number in range(5000):
        metrics.function(FunctionMetric.INVOCATIONS, f"f{number}")

    assert _sample(metrics, "invocations_total", function="f0") == 1
    assert _sample(metrics, "invocations_total", function="f4999") is None
    assert _sample(metrics, "invocations_total", function="_other") == 5000 - 4096


def test_printed_metrics_are_shown_with_their_last_value_sum_and_count() -> None:
    metrics = Metrics()
    printed = PrintedMetrics(metrics)

    printed.take("f", _emf(orders=3, price=[1.5, 2.5, -1]))
    printed.take("f", _emf(orders=4))
    printed.take("f", b"[INFO] nothing to see")

    labels = {"function": "f", "namespace": "shop", "dimensions": "service=cart"}
    assert _sample(metrics, "emf", metric="orders", **labels) == 4
    assert _sample(metrics, "emf_sum", metric="orders", **labels) == 7
    assert _sample(metrics, "emf_values_total", metric="price", **labels) == 3
    assert _sample(metrics, "emf_sum", metric="price", **labels) == 3
    assert _sample(metrics, "emf", metric="price", **labels) == -1


@pytest.mark.parametrize(
    "line",
    [
        b'{"_aws":{"CloudWatchMetrics":',
        b'{"_aws":{"CloudWatchMetrics":7}}',
        b'{"_aws":[],"x":{"CloudWatchMetrics":[]}}',
        b'{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Metrics":[{"Name":"m"}],"Dimensions":[["gone"]]}]},"m":1}',
        b'{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Metrics":[{"Name":"m"}]}]},"m":"text"}',
        b'{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Metrics":[{"Name":"m"}]}]},"m":true}',
        b'{"_aws":{"CloudWatchMetrics":[{"Namespace":7,"Metrics":[{"Name":"m"}]}]},"m":1}',
    ],
)
def test_malformed_metrics_are_counted_and_not_shown(line: bytes) -> None:
    metrics = Metrics()

    PrintedMetrics(metrics).take("f", line)

    assert _sample(metrics, "emf_refused_total", function="f", reason="malformed") == 1
    assert _sample(metrics, "emf", function="f", namespace="n", metric="m", dimensions="") is None


def test_a_function_that_invents_metrics_has_so_many_and_no_more() -> None:
    metrics = Metrics()
    printed = PrintedMetrics(metrics)

    for number in range(150):
        printed.take("f", _emf(**{f"m{number}": 1}))
    printed.take("g", _emf(m=1))

    labels = {"namespace": "shop", "dimensions": "service=cart"}
    assert _sample(metrics, "emf_refused_total", function="f", reason="too_many") == 50
    assert _sample(metrics, "emf", function="f", metric="m149", **labels) is None
    assert _sample(metrics, "emf", function="g", metric="m", **labels) == 1


def test_a_declared_metric_without_a_value_is_passed_over() -> None:
    line = b'{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Metrics":[{"Name":"a"},{"Name":"b"}]}]},"b":2}'

    assert embedded_metrics(line) == [EmbeddedMetric("n", "b", "", (2.0,))]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["Namespace", "Metrics", "Dimensions", "Name"]), inner)
        ),
    )
)
def test_no_document_does_worse_than_be_malformed(directives: object) -> None:
    line = b'{"_aws":{"CloudWatchMetrics":' + orjson.dumps(directives) + b'},"m":1}'

    try:
        found = embedded_metrics(line)
    except ValueError:
        found = []

    assert isinstance(found, list)
