"""Warm throughput and record distribution of on-demand streams."""

from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.kinesis.calls import HELD_MS, committed_daemon, held_daemon, records_of, summary_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

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


# Warm throughput


def test_a_stream_is_scaled_up_before_the_traffic_comes(committed: Any) -> None:
    committed.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)
    for number in range(40):
        committed.put_record(StreamName="stream", PartitionKey=str(number), Data=b"before")

    answer = committed.update_stream_warm_throughput(StreamName="stream", WarmThroughputMiBps=10)
    summary = summary_of(committed, "stream")
    committed.put_record(StreamName="stream", PartitionKey="key", Data=b"after")

    del answer["ResponseMetadata"]
    assert answer == {
        "StreamName": "stream",
        "StreamARN": stream_arn_of("stream"),
        "WarmThroughput": {"TargetMiBps": 10, "CurrentMiBps": 10},
    }
    assert summary["OpenShardCount"] == 10
    assert summary["StreamStatus"] == "ACTIVE"
    assert len(records_of(committed, "stream")) == 41


def test_capacity_is_given_back_down_to_four_shards(committed: Any) -> None:
    committed.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND, WarmThroughputMiBps=12)

    lower = committed.update_stream_warm_throughput(StreamARN=stream_arn_of("stream"), WarmThroughputMiBps=8)
    lowest = committed.update_stream_warm_throughput(
        StreamName="stream", StreamARN=stream_arn_of("stream"), WarmThroughputMiBps=0
    )

    assert lower["WarmThroughput"] == {"TargetMiBps": 8, "CurrentMiBps": 8}
    assert lowest["WarmThroughput"] == {"TargetMiBps": 0, "CurrentMiBps": 4}
    assert summary_of(committed, "stream")["OpenShardCount"] == 4


def test_a_stream_is_updating_while_it_warms_and_serves_on(
    daemon_factory: DaemonFactory,
) -> None:
    first = committed_daemon(daemon_factory)
    first.client().create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)
    first.stop()
    client = daemon_factory("--transition-ms", HELD_MS, data=first.data).client()

    answer = client.update_stream_warm_throughput(StreamName="stream", WarmThroughputMiBps=8)
    fault = refusal(client.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=4)
    client.put_record(StreamName="stream", PartitionKey="key", Data=b"meanwhile")

    assert answer["WarmThroughput"] == {"TargetMiBps": 8, "CurrentMiBps": 4}
    assert summary_of(client, "stream")["StreamStatus"] == "UPDATING"
    assert fault == _UPDATING
    assert [record["Data"] for record in records_of(client, "stream")] == [b"meanwhile"]


def test_warmth_needs_the_commitment(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()
    client.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)

    fault = refusal(client.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=8)

    assert fault == (
        "ValidationException",
        "Account 000000000000 is not enabled for minimum throughput billing commitment",
    )
    assert "WarmThroughput" not in summary_of(client, "stream")


def test_a_provisioned_stream_cannot_be_warmed(committed: Any) -> None:
    committed.create_stream(StreamName="stream", ShardCount=1)

    fault = refusal(committed.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=8)

    assert fault == ("ValidationException", "Warm throughput is only supported for ON_DEMAND streams")


def test_warmth_has_limits_of_its_own_and_of_the_account(committed: Any) -> None:
    committed.create_stream(StreamName="stream", StreamModeDetails=_ON_DEMAND)

    beyond_aws = refusal(committed.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=10241)
    beyond_quota = refusal(committed.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=51)
    negative = refusal(committed.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=-1)

    assert beyond_aws == (
        "LimitExceededException",
        "Warm throughput cannot be greater than 10240 MiBps. Requested: 10241 MiBps.",
    )
    assert beyond_quota[0] == "LimitExceededException"
    assert "Current shard count for the account: 4. Limit: 50. " in beyond_quota[1]
    assert "resulted from this request: 47." in beyond_quota[1]
    assert negative == (
        "ValidationException",
        (
            "1 validation error detected: Value '-1' at 'warmThroughputMiBps' failed to satisfy constraint: "
            "Member must have value greater than or equal to 0"
        ),
    )


def test_warmth_of_a_stream_that_is_not_there_is_refused(committed: Any) -> None:
    fault = refusal(committed.update_stream_warm_throughput, StreamName="stream", WarmThroughputMiBps=8)

    assert fault == _not_found("stream")


# Record distribution


def test_auto_spreads_records_of_one_key_and_the_key_brings_them_together_again(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails=_ON_DEMAND)
    arn = stream_arn_of(stream_name)

    kinesis.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="AUTO")
    spread = _shards_of_puts(kinesis, stream_name)
    strategy = summary_of(kinesis, stream_name)["RecordDistributionStrategy"]
    kinesis.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="USER_PARTITION_KEY")
    together = _shards_of_puts(kinesis, stream_name)

    assert len(spread) == 4
    assert strategy == "AUTO"
    assert len(together) == 1


def test_auto_asks_for_no_key_and_keeps_one_that_is_given(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails=_ON_DEMAND, RecordDistributionStrategy="AUTO")

    kinesis.put_record(StreamName=stream_name, Data=b"without")
    kinesis.put_record(StreamName=stream_name, Data=b"with", PartitionKey="key")

    keys = {record["Data"]: record.get("PartitionKey") for record in records_of(kinesis, stream_name)}
    assert keys == {b"without": None, b"with": "key"}


def test_a_provisioned_stream_cannot_spread_by_itself(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    arn = stream_arn_of(stream_name)

    fault = refusal(
        kinesis.update_stream_record_distribution_strategy, StreamARN=arn, RecordDistributionStrategy="AUTO"
    )
    kinesis.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="USER_PARTITION_KEY")

    assert fault == (
        "InvalidArgumentException",
        "RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode.",
    )


def test_the_strategy_changes_at_once_and_the_stream_stays_active(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", StreamModeDetails=_ON_DEMAND).client()

    client.update_stream_record_distribution_strategy(
        StreamARN=stream_arn_of("stream"), RecordDistributionStrategy="AUTO"
    )

    summary = summary_of(client, "stream")
    assert (summary["StreamStatus"], summary["RecordDistributionStrategy"]) == ("ACTIVE", "AUTO")


def test_the_strategy_of_a_stream_that_is_updating_is_not_changed(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", StreamModeDetails=_ON_DEMAND).client()

    client.update_max_record_size(StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=2048)
    fault = refusal(
        client.update_stream_record_distribution_strategy,
        StreamARN=stream_arn_of("stream"),
        RecordDistributionStrategy="AUTO",
    )

    assert fault == _UPDATING


def test_the_strategy_of_a_stream_that_is_not_there_is_refused(kinesis: Any, stream_name: str) -> None:
    fault = refusal(
        kinesis.update_stream_record_distribution_strategy,
        StreamARN=stream_arn_of(stream_name),
        RecordDistributionStrategy="AUTO",
    )

    assert fault == _not_found(stream_name)


def test_a_stream_that_becomes_provisioned_goes_by_the_key_again(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails=_ON_DEMAND, RecordDistributionStrategy="AUTO")

    kinesis.update_stream_mode(StreamARN=stream_arn_of(stream_name), StreamModeDetails=_PROVISIONED)

    assert len(_shards_of_puts(kinesis, stream_name)) == 1


def _not_found(name: str) -> tuple[str, str]:
    return "ResourceNotFoundException", f"Stream {name} under account 000000000000 not found."


def _shards_of_puts(client: Any, name: str) -> set[str]:
    """Put some records of one key, and of one explicit hash key; the shards they went to."""
    return {
        client.put_record(StreamName=name, PartitionKey="key", ExplicitHashKey="7", Data=b"data")["ShardId"]
        for _ in range(8)
    }
