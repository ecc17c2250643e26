"""``/metrics``, ``/healthz`` and ``/readyz``: what they say, summed over the workers whichever of them is asked."""

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamd.metrics import Metrics
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.calls import records_of
from tests.server.pages import counted, samples_of
from tests.workers.wire import pinned

__all__: list[str] = []

_FIRST = "shardId-000000000000"


def _entries(count: int, *, byte_count: int = 10) -> list[dict[str, Any]]:
    return [{"Data": bytes(byte_count), "PartitionKey": "key"} for _ in range(count)]


def test_health_pages_answer_in_json(daemon: Daemon) -> None:
    health, readiness = daemon.page("/healthz"), daemon.page("/readyz")

    assert (health.status, health.json()) == (200, {"status": "ok"})
    assert (readiness.status, readiness.json()["status"]) == (200, "ready")
    assert "sandbox" in readiness.json()["functions"]
    assert health.headers["content-type"] == readiness.headers["content-type"] == "application/json"


def test_the_page_is_in_the_form_and_by_the_conventions_of_prometheus(daemon: Daemon, kinesis: Any) -> None:
    kinesis.list_streams()

    answer = daemon.page("/metrics")
    families = list(text_string_to_metric_families(answer.body.decode()))

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert len({family.name for family in families}) == len(families)
    assert all(re.fullmatch(r"streamd_[a-z_]+", family.name) for family in families)
    assert all(family.documentation for family in families)
    units = {family.name for family in families if "seconds" in family.name or "bytes" in family.name}
    assert all(name.endswith(("_seconds", "_bytes")) for name in units)


def test_what_went_in_and_out_is_counted_by_stream(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    kinesis.put_records(StreamName=stream_name, Records=_entries(20))
    kinesis.put_record(StreamName=stream_name, Data=bytes(100), PartitionKey="é")
    records = records_of(kinesis, stream_name)

    page = samples_of(daemon)

    here = {"stream": stream_name}
    byte_count = 20 * 13 + 102
    assert len(records) == 21
    assert counted(page, "streamd_incoming_records_total", **here) == 21
    assert counted(page, "streamd_incoming_bytes_total", **here) == byte_count
    assert counted(page, "streamd_outgoing_records_total", **here) == 21
    assert counted(page, "streamd_outgoing_bytes_total", **here) == byte_count
    assert counted(page, "streamd_stored_records", **here) == 21
    assert counted(page, "streamd_stored_bytes", **here) == byte_count
    assert counted(page, "streamd_open_shards", **here) == 2
    assert ("streamd_iterator_age_seconds", frozenset(here.items())) in page


def test_requests_are_counted_by_operation_and_error(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    for _ in range(3):
        raw(daemon.url, "DescribeLimits", {})
    raw(daemon.url, "DescribeStream", {"StreamName": "no-such-stream"})
    raw(daemon.url, "DescribeStream", b"{")
    raw(daemon.url, "CreateQueue", {})
    for number in range(5):
        raw(daemon.url, f"Invented{number}", {})

    page = samples_of(daemon)

    requests = {
        (dict(labels)["operation"], dict(labels)["error"]): value
        for (name, labels), value in page.items()
        if name == "streamd_requests_total"
    }
    assert requests == {
        ("DescribeLimits", ""): 3,
        ("DescribeStream", "ResourceNotFoundException"): 1,
        ("DescribeStream", "SerializationException"): 1,
        ("CreateQueue", "UnsupportedOperationException"): 1,
        ("Unknown", "UnknownOperationException"): 5,
    }
    assert counted(page, "streamd_request_duration_seconds_count", operation="DescribeLimits") == 3
    assert counted(page, "streamd_request_duration_seconds_bucket", operation="DescribeLimits", le="+Inf") == 3


def test_commits_are_counted_by_size_and_time(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="posts", ShardCount=1)
    for _ in range(4):
        client.put_records(StreamName="posts", Records=_entries(10, byte_count=1000))

    page = samples_of(daemon)

    assert counted(page, "streamd_commit_bytes_sum") >= 4 * 10 * 1003
    assert counted(page, "streamd_commit_bytes_count") >= 4
    assert counted(page, "streamd_commit_duration_seconds_count") >= 4
    assert counted(page, "streamd_commit_duration_seconds_sum") > 0
    assert counted(page, "streamd_streams") == 1
    assert 0 < counted(page, "streamd_store_used_bytes") <= counted(page, "streamd_store_file_bytes")
    assert counted(page, "streamd_store_limit_bytes") == 1 << 40


def test_any_worker_answers_for_all_of_them(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "3")
    daemon.client().create_stream(StreamName="posts", ShardCount=1)

    wires = pinned(daemon)
    for wire in wires.values():
        for _ in range(5):
            wire.ask("PutRecord", StreamName="posts", Data="YWJjZA==", PartitionKey="k")
    pages = [samples_of(daemon) for _ in range(12)]
    for wire in wires.values():
        wire.close()

    assert len(wires) == 3
    for page in pages:
        assert counted(page, "streamd_incoming_records_total", stream="posts") == 15
        assert counted(page, "streamd_incoming_bytes_total", stream="posts") == 75
        assert counted(page, "streamd_requests_total", operation="PutRecord", error="") == 15
        assert counted(page, "streamd_stored_records", stream="posts") == 15
        memory = {
            dict(labels)["pid"]: value
            for (name, labels), value in page.items()
            if name == "streamd_worker_resident_memory_bytes"
        }
        assert set(memory) == {str(pid) for pid in daemon.worker_pids()}
        assert min(memory.values()) > 1 << 20


def test_only_known_paths_are_pages(daemon: Daemon) -> None:
    answers = [daemon.page(path) for path in ("/metrics/", "/health", "/", "/metrics?name=x")]

    assert [answer.status for answer in answers] == [403, 403, 403, 200]


def test_a_stream_that_is_gone_shows_no_present_figures(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, Data=b"x", PartitionKey="k")
    kinesis.delete_stream(StreamName=stream_name)

    page = samples_of(daemon)

    here = frozenset({("stream", stream_name)})
    assert ("streamd_open_shards", here) not in page
    assert ("streamd_stored_records", here) not in page
    assert page["streamd_incoming_records_total", here] == 1


def test_requests_that_were_answered_together_count_as_so_many() -> None:
    together, one_by_one = Metrics(), Metrics()
    durations_s = [0.0005, 0.003, 0.0031, 20.0, 0.003, 0.0]

    together.answered("PutRecord", error="", durations_s=durations_s)
    for duration_s in durations_s:
        one_by_one._requests.labels("PutRecord", "").inc()
        one_by_one._request_seconds.labels("PutRecord").observe(duration_s)

    assert _values_of(together) == pytest.approx(_values_of(one_by_one))


def _values_of(metrics: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in metrics._registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
