"""EnableEnhancedMonitoring and DisableEnhancedMonitoring, and the series of shards that they switch."""

import re
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.kinesis.calls import held_daemon, records_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_ALL = [
    "IncomingBytes",
    "OutgoingRecords",
    "IteratorAgeMilliseconds",
    "IncomingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
    "OutgoingBytes",
]
_BOTH = ["EnableEnhancedMonitoring", "DisableEnhancedMonitoring"]


def test_metrics_are_added_and_answered_as_they_were_and_as_they_will_be(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.enable_enhanced_monitoring(StreamName=stream_name, ShardLevelMetrics=["OutgoingBytes"])

    answer = kinesis.enable_enhanced_monitoring(
        StreamName=stream_name, ShardLevelMetrics=["IncomingRecords", "IncomingBytes", "IncomingRecords"]
    )

    del answer["ResponseMetadata"]
    assert answer == {
        "StreamName": stream_name,
        "StreamARN": stream_arn_of(stream_name),
        "CurrentShardLevelMetrics": ["OutgoingBytes"],
        "DesiredShardLevelMetrics": ["IncomingBytes", "IncomingRecords", "OutgoingBytes"],
    }
    assert _metrics(kinesis, stream_name) == ["IncomingBytes", "IncomingRecords", "OutgoingBytes"]


def test_all_stands_for_the_seven_metrics(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    enabled = kinesis.enable_enhanced_monitoring(StreamName=stream_name, ShardLevelMetrics=["ALL"])
    disabled = kinesis.disable_enhanced_monitoring(StreamARN=stream_arn_of(stream_name), ShardLevelMetrics=["ALL"])

    assert enabled["DesiredShardLevelMetrics"] == _ALL
    assert disabled["CurrentShardLevelMetrics"] == _ALL
    assert disabled["DesiredShardLevelMetrics"] == []
    assert _metrics(kinesis, stream_name) == []


def test_metrics_are_removed_and_those_that_were_not_there_are_no_fault(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.enable_enhanced_monitoring(StreamName=stream_name, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])

    answer = kinesis.disable_enhanced_monitoring(
        StreamName=stream_name,
        StreamARN=stream_arn_of(stream_name),
        ShardLevelMetrics=["IncomingBytes", "IteratorAgeMilliseconds"],
    )

    assert answer["DesiredShardLevelMetrics"] == ["OutgoingBytes"]


@pytest.mark.parametrize("operation", _BOTH)
def test_an_unknown_metric_is_refused(daemon: Daemon, kinesis: Any, stream_name: str, operation: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    code, sentence = refusal(
        _method(kinesis, operation), StreamName=stream_name, ShardLevelMetrics=["IncomingRecords", "Everything"]
    )

    assert code == "ValidationException"
    assert "Value '[IncomingRecords, Everything]' at 'shardLevelMetrics' failed to satisfy" in sentence


@pytest.mark.parametrize("operation", _BOTH)
def test_a_stream_that_is_not_there_is_refused(kinesis: Any, stream_name: str, operation: str) -> None:
    fault = refusal(_method(kinesis, operation), StreamName=stream_name, ShardLevelMetrics=["ALL"])

    assert fault == (
        "ResourceNotFoundException",
        f"Stream {stream_name} under account 000000000000 not found.",
    )


@pytest.mark.parametrize("operation", _BOTH)
def test_a_stream_must_be_named(kinesis: Any, operation: str) -> None:
    fault = refusal(_method(kinesis, operation), ShardLevelMetrics=["ALL"])

    assert fault == (
        "InvalidArgumentException",
        "Stream arn and stream name can't be empty at the same time",
    )


@pytest.mark.parametrize("operation", _BOTH)
def test_a_stream_that_is_changed_is_not_changed_again(daemon_factory: DaemonFactory, operation: str) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.enable_enhanced_monitoring(StreamName="stream", ShardLevelMetrics=["ALL"])
    fault = refusal(_method(client, operation), StreamName="stream", ShardLevelMetrics=["ALL"])

    assert fault == (
        "ResourceInUseException",
        "Stream stream under account 000000000000 not ACTIVE, instead in state UPDATING",
    )


def test_a_change_to_the_same_metrics_leaves_the_stream_active(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.disable_enhanced_monitoring(StreamName="stream", ShardLevelMetrics=["ALL"])

    assert client.describe_stream(StreamName="stream")["StreamDescription"]["StreamStatus"] == "ACTIVE"


def test_series_of_a_shard_appear_only_while_its_metrics_are_on(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=b"before")
    before = _series(daemon, stream_name)

    kinesis.enable_enhanced_monitoring(StreamName=stream_name, ShardLevelMetrics=["ALL"])
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=b"while")
    records_of(kinesis, stream_name)
    during = _series(daemon, stream_name)
    kinesis.disable_enhanced_monitoring(StreamName=stream_name, ShardLevelMetrics=["IncomingRecords"])
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=b"after")
    after = _series(daemon, stream_name)

    assert before == {}
    assert during == {
        "streamd_shard_incoming_records_total": 1,
        "streamd_shard_incoming_bytes_total": len("key" + "while"),
        "streamd_shard_outgoing_records_total": 2,
        "streamd_shard_outgoing_bytes_total": len("key" + "before" + "key" + "while"),
        "streamd_shard_iterator_age_seconds": 0,
    }
    assert after["streamd_shard_incoming_records_total"] == 1
    assert after["streamd_shard_incoming_bytes_total"] == len("key" + "while" + "key" + "after")


def test_throttles_are_counted_for_shards_whose_metrics_are_on(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "aws")
    client = daemon.client()
    client.create_stream(StreamName="stream", ShardCount=1)
    client.enable_enhanced_monitoring(
        StreamName="stream",
        ShardLevelMetrics=["WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded"],
    )
    place = client.get_shard_iterator(
        StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    # Of twenty of them some fall into one second, however slow the machine is.
    records = [{"Data": b"x" * 400_000, "PartitionKey": "key"}] * 20
    refused = client.put_records(StreamName="stream", Records=records)["FailedRecordCount"]
    reads = [_is_throttled(client, place) for _ in range(20)]

    assert refused > 0
    assert _series(daemon, "stream") == {
        "streamd_shard_write_throttles_total": refused,
        "streamd_shard_read_throttles_total": sum(reads),
    }


def _method(client: Any, operation: str) -> Any:
    return getattr(client, re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower())


def _metrics(client: Any, name: str) -> list[str]:
    (monitoring,) = client.describe_stream(StreamName=name)["StreamDescription"]["EnhancedMonitoring"]
    metrics: list[str] = monitoring["ShardLevelMetrics"]
    return metrics


def _is_throttled(client: Any, place: str) -> bool:
    try:
        client.get_records(ShardIterator=place)
    except client.exceptions.ProvisionedThroughputExceededException:
        return True
    return False


def _series(daemon: Daemon, name: str) -> dict[str, float]:
    """Give the values of the series of a stream's shards, by series."""
    found = {}
    for line in daemon.page("/metrics").body.decode().splitlines():
        matched = re.fullmatch(r"(streamd_shard_\w+)\{(.*)\} (\S+)", line)
        if matched and f'stream="{name}"' in matched[2] and "_created" not in matched[1]:
            assert 'shard="shardId-000000000000"' in matched[2]
            found[matched[1]] = float(matched[3])
    return found
