"""Retention, capacity mode and record size of streams."""

from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.kinesis.calls import committed_daemon, held_daemon, records_of, summary_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_RETENTION = ["increase_stream_retention_period", "decrease_stream_retention_period"]
_ON_DEMAND = {"StreamMode": "ON_DEMAND"}
_PROVISIONED = {"StreamMode": "PROVISIONED"}
_UPDATING = (
    "ResourceInUseException",
    "Stream stream under account 000000000000 not ACTIVE, instead in state UPDATING",
)


@pytest.fixture
def committed(daemon_factory: DaemonFactory) -> Any:
    """Give a client of an account that committed itself and may have 50 shards."""
    return committed_daemon(daemon_factory, "--shard-quota", "50").client()


# Retention


def test_retention_is_raised_and_lowered(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    kinesis.increase_stream_retention_period(StreamName=stream_name, RetentionPeriodHours=8760)
    raised = summary_of(kinesis, stream_name)["RetentionPeriodHours"]
    kinesis.decrease_stream_retention_period(StreamARN=stream_arn_of(stream_name), RetentionPeriodHours=25)
    lowered = summary_of(kinesis, stream_name)["RetentionPeriodHours"]

    assert (raised, lowered) == (8760, 25)


@pytest.mark.parametrize("operation", _RETENTION)
def test_the_present_retention_is_no_fault_and_no_change(daemon_factory: DaemonFactory, operation: str) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    getattr(client, operation)(StreamName="stream", RetentionPeriodHours=24)

    assert summary_of(client, "stream")["StreamStatus"] == "ACTIVE"


@pytest.mark.parametrize("operation", _RETENTION)
@pytest.mark.parametrize("hours", [23, 0, -1])
def test_too_short_a_retention_is_refused(kinesis: Any, stream_name: str, operation: str, hours: int) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, RetentionPeriodHours=hours)

    assert fault == (
        "InvalidArgumentException",
        f"Minimum allowed retention period is 24 hours. Requested retention period ({hours} hours) is too short.",
    )


@pytest.mark.parametrize("operation", _RETENTION)
def test_too_long_a_retention_is_refused(kinesis: Any, stream_name: str, operation: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, RetentionPeriodHours=8761)

    assert fault == (
        "InvalidArgumentException",
        "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long.",
    )


def test_an_increase_does_not_lower_the_retention(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.increase_stream_retention_period(StreamName=stream_name, RetentionPeriodHours=48)

    fault = refusal(kinesis.increase_stream_retention_period, StreamName=stream_name, RetentionPeriodHours=24)

    assert fault == (
        "InvalidArgumentException",
        (
            f"Requested retention period (24 hours) for stream {stream_name} can not be shorter than existing "
            "retention period (48 hours). Use DecreaseRetentionPeriod API."
        ),
    )


def test_a_decrease_does_not_raise_the_retention(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(kinesis.decrease_stream_retention_period, StreamName=stream_name, RetentionPeriodHours=48)

    assert fault == (
        "InvalidArgumentException",
        (
            f"Requested retention period (48 hours) for stream {stream_name} can not be longer than existing "
            "retention period (24 hours). Use IncreaseRetentionPeriod API."
        ),
    )


@pytest.mark.parametrize("operation", _RETENTION)
def test_retention_of_a_stream_that_is_not_there_is_refused(kinesis: Any, stream_name: str, operation: str) -> None:
    # Before the hours are looked at.
    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, RetentionPeriodHours=1)

    assert fault == _not_found(stream_name)


def test_a_new_retention_makes_the_stream_updating(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.increase_stream_retention_period(StreamName="stream", RetentionPeriodHours=48)
    fault = refusal(client.decrease_stream_retention_period, StreamName="stream", RetentionPeriodHours=24)

    assert summary_of(client, "stream")["StreamStatus"] == "UPDATING"
    assert fault == _UPDATING


# Capacity mode


def test_the_mode_changes_and_the_shards_stay(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)

    kinesis.update_stream_mode(StreamARN=stream_arn_of(stream_name), StreamModeDetails=_ON_DEMAND)
    summary = summary_of(kinesis, stream_name)
    kinesis.update_stream_mode(StreamARN=stream_arn_of(stream_name), StreamModeDetails=_PROVISIONED)
    again = summary_of(kinesis, stream_name)

    assert summary["StreamModeDetails"] == _ON_DEMAND
    assert summary["OpenShardCount"] == 2
    assert again["StreamModeDetails"] == _PROVISIONED
    assert "RecordDistributionStrategy" not in again


def test_the_present_mode_is_no_fault_and_no_change(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_PROVISIONED)

    assert summary_of(client, "stream")["StreamStatus"] == "ACTIVE"


def test_another_mode_makes_the_stream_updating(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND)
    fault = refusal(client.update_stream_mode, StreamARN=stream_arn_of("stream"), StreamModeDetails=_PROVISIONED)

    assert summary_of(client, "stream")["StreamStatus"] == "UPDATING"
    assert fault == _UPDATING


def test_the_mode_changes_twice_a_day_when_limits_are_on(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--limits", "aws").client()
    client.create_stream(StreamName="stream", ShardCount=1)
    client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND)
    client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND)
    client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_PROVISIONED)

    fault = refusal(client.update_stream_mode, StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND)

    assert fault == ("LimitExceededException", "Rate exceeded for stream stream under account 000000000000.")


def test_a_third_change_of_mode_is_only_counted_in_shadow(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--limits", "shadow")
    client = daemon.client()
    client.create_stream(StreamName="stream", ShardCount=1)

    for mode in (_ON_DEMAND, _PROVISIONED, _ON_DEMAND):
        client.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=mode)

    counted = 'streamd_shadow_throttles_total{kind="daily-changes",stream="stream"} 1.0'
    assert counted in daemon.page("/metrics").body.decode()
    assert summary_of(client, "stream")["StreamModeDetails"] == _ON_DEMAND


def test_the_mode_changes_at_will_when_limits_are_off(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    for mode in [_ON_DEMAND, _PROVISIONED] * 3:
        kinesis.update_stream_mode(StreamARN=stream_arn_of(stream_name), StreamModeDetails=mode)

    assert summary_of(kinesis, stream_name)["StreamModeDetails"] == _PROVISIONED


def test_the_quota_of_on_demand_streams_holds_for_mode_changes(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--on-demand-quota", "1").client()
    client.create_stream(StreamName="first", StreamModeDetails=_ON_DEMAND)
    client.create_stream(StreamName="stream", ShardCount=1)

    code, sentence = refusal(client.update_stream_mode, StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND)
    client.update_stream_mode(StreamARN=stream_arn_of("first"), StreamModeDetails=_ON_DEMAND)

    assert code == "LimitExceededException"
    assert sentence.startswith(
        "This request would exceed the limit on the number of On-Demand streams for the account 000000000000 "
        "in us-east-1. Current On-Demand streams count: 1. Limit: 1."
    )


def test_a_provisioned_stream_has_20_consumers_at_most(committed: Any) -> None:
    committed.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)
    for number in range(21):
        committed.register_stream_consumer(StreamARN=stream_arn_of("stream"), ConsumerName=f"consumer-{number}")

    fault = refusal(committed.update_stream_mode, StreamARN=stream_arn_of("stream"), StreamModeDetails=_PROVISIONED)

    assert fault == (
        "LimitExceededException",
        (
            "Stream stream under account 000000000000 has 21 registered consumers. "
            "A stream in PROVISIONED mode can have 20."
        ),
    )


def test_a_stream_becomes_on_demand_and_warm_in_one_call(committed: Any) -> None:
    committed.create_stream(StreamName="stream", ShardCount=1)

    committed.update_stream_mode(StreamARN=stream_arn_of("stream"), StreamModeDetails=_ON_DEMAND, WarmThroughputMiBps=6)

    summary = summary_of(committed, "stream")
    assert summary["OpenShardCount"] == 6
    assert summary["WarmThroughput"] == {"TargetMiBps": 6, "CurrentMiBps": 6}
    assert summary["StreamStatus"] == "ACTIVE"


def test_warmth_comes_with_a_change_to_on_demand_only(committed: Any) -> None:
    committed.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)

    same = refusal(
        committed.update_stream_mode,
        StreamARN=stream_arn_of("stream"),
        StreamModeDetails=_ON_DEMAND,
        WarmThroughputMiBps=6,
    )
    back = refusal(
        committed.update_stream_mode,
        StreamARN=stream_arn_of("stream"),
        StreamModeDetails=_PROVISIONED,
        WarmThroughputMiBps=6,
    )

    assert same == (
        "ValidationException",
        "WarmThroughputMiBps is only valid when the stream mode is being updated to ON_DEMAND",
    )
    assert back == ("ValidationException", "Warm throughput is only supported for ON_DEMAND streams")


def test_the_mode_of_a_stream_that_is_not_there_is_refused(kinesis: Any, stream_name: str) -> None:
    fault = refusal(kinesis.update_stream_mode, StreamARN=stream_arn_of(stream_name), StreamModeDetails=_ON_DEMAND)

    assert fault == _not_found(stream_name)


def test_a_mode_needs_the_arn_and_one_of_two_values(kinesis: Any, stream_name: str) -> None:
    missing = refusal(kinesis.update_stream_mode, StreamModeDetails=_ON_DEMAND)
    unknown = refusal(
        kinesis.update_stream_mode, StreamARN=stream_arn_of(stream_name), StreamModeDetails={"StreamMode": "BOTH"}
    )

    assert missing == (
        "ValidationException",
        "1 validation error detected: Value null at 'streamARN' failed to satisfy constraint: Member must not be null",
    )
    assert unknown[0] == "ValidationException"
    assert "Value 'BOTH' at 'streamModeDetails.streamMode' failed to satisfy" in unknown[1]


# Record size


def test_a_larger_record_is_taken_after_the_size_was_raised(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    data = b"x" * (2 * 1024 * 1024)

    code, _ = refusal(kinesis.put_record, StreamName=stream_name, PartitionKey="key", Data=data)
    kinesis.update_max_record_size(StreamARN=stream_arn_of(stream_name), MaxRecordSizeInKiB=10240)
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=data)

    assert code == "ValidationException"
    assert summary_of(kinesis, stream_name)["MaxRecordSizeInKiB"] == 10240


def test_a_lower_size_leaves_what_is_there_readable(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1, MaxRecordSizeInKiB=4096)
    data = b"x" * (2 * 1024 * 1024)
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=data)

    kinesis.update_max_record_size(StreamARN=stream_arn_of(stream_name), MaxRecordSizeInKiB=1024)
    code, _ = refusal(kinesis.put_record, StreamName=stream_name, PartitionKey="key", Data=data)

    assert code == "ValidationException"
    assert [record["Data"] for record in records_of(kinesis, stream_name)] == [data]


@pytest.mark.parametrize(
    ("size_kib", "bound"), [(1023, "greater than or equal to 1024"), (10241, "less than or equal to 10240")]
)
def test_a_size_out_of_range_is_refused(kinesis: Any, stream_name: str, size_kib: int, bound: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(kinesis.update_max_record_size, StreamARN=stream_arn_of(stream_name), MaxRecordSizeInKiB=size_kib)

    assert fault == (
        "ValidationException",
        (
            f"1 validation error detected: Value '{size_kib}' at 'maxRecordSizeInKiB' failed to satisfy "
            f"constraint: Member must have value {bound}"
        ),
    )


def test_the_size_of_a_stream_that_is_not_there_or_not_named_is_refused(kinesis: Any, stream_name: str) -> None:
    absent = refusal(kinesis.update_max_record_size, StreamARN=stream_arn_of(stream_name), MaxRecordSizeInKiB=2048)
    unnamed = refusal(kinesis.update_max_record_size, MaxRecordSizeInKiB=2048)

    assert absent == _not_found(stream_name)
    assert unnamed == (
        "InvalidArgumentException",
        "Stream arn and stream name can't be empty at the same time",
    )


def test_another_size_makes_the_stream_updating_and_the_present_one_does_not(
    daemon_factory: DaemonFactory,
) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.update_max_record_size(StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=1024)
    before = summary_of(client, "stream")["StreamStatus"]
    client.update_max_record_size(StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=2048)
    fault = refusal(client.update_max_record_size, StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=1024)

    assert before == "ACTIVE"
    assert fault == _UPDATING


def _not_found(name: str) -> tuple[str, str]:
    return "ResourceNotFoundException", f"Stream {name} under account 000000000000 not found."
