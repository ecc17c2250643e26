"""CreateStream, DescribeStream and DescribeStreamSummary, and how a stream is named."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.kinesis.calls import HELD_MS, committed_daemon, summary_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_ON_DEMAND = {"StreamMode": "ON_DEMAND"}
_NAMED = ["describe_stream", "describe_stream_summary", "delete_stream"]
_NEIGHBOUR_DISTANCE = 22300745198530623141535718272648361505980432


# CreateStream


def test_a_new_stream_is_described_as_aws_describes_it(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    description = kinesis.describe_stream(StreamName=stream_name)["StreamDescription"]

    (shard,) = description.pop("Shards")
    created = description.pop("StreamCreationTimestamp")
    assert created.microsecond == 0
    assert description == {
        "StreamName": stream_name,
        "StreamARN": stream_arn_of(stream_name),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "RetentionPeriodHours": 24,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
        "HasMoreShards": False,
    }
    assert shard.pop("SequenceNumberRange").keys() == {"StartingSequenceNumber"}
    assert shard == {
        "ShardId": "shardId-000000000000",
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str((1 << 128) - 1)},
    }


def test_the_ring_is_cut_evenly_and_the_last_shard_takes_the_rest(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=3)

    shards = kinesis.describe_stream(StreamName=stream_name)["StreamDescription"]["Shards"]

    ranges = [tuple(shard["HashKeyRange"].values()) for shard in shards]
    assert ranges == [
        ("0", "113427455640312821154458202477256070484"),
        ("113427455640312821154458202477256070485", "226854911280625642308916404954512140969"),
        ("226854911280625642308916404954512140970", "340282366920938463463374607431768211455"),
    ]
    first, second, third = (int(s["SequenceNumberRange"]["StartingSequenceNumber"]) for s in shards)
    assert second - first == third - second == _NEIGHBOUR_DISTANCE


@pytest.mark.parametrize("members", [{}, {"StreamModeDetails": _ON_DEMAND}])
def test_a_stream_has_four_shards_when_nobody_says_how_many(
    kinesis: Any, stream_name: str, members: dict[str, Any]
) -> None:
    kinesis.create_stream(StreamName=stream_name, **members)

    assert summary_of(kinesis, stream_name)["OpenShardCount"] == 4


def test_a_stream_is_made_with_all_its_settings(daemon_factory: DaemonFactory) -> None:
    client = committed_daemon(daemon_factory).client()

    client.create_stream(
        StreamName="stream",
        StreamModeDetails=_ON_DEMAND,
        Tags={"team": "blue", "empty": ""},
        WarmThroughputMiBps=7,
        MaxRecordSizeInKiB=2048,
        RecordDistributionStrategy="AUTO",
    )

    summary = summary_of(client, "stream")
    del summary["StreamCreationTimestamp"]
    assert summary == {
        "StreamName": "stream",
        "StreamARN": stream_arn_of("stream"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": _ON_DEMAND,
        "RetentionPeriodHours": 24,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
        "OpenShardCount": 7,
        "ConsumerCount": 0,
        "WarmThroughput": {"TargetMiBps": 7, "CurrentMiBps": 7},
        "MaxRecordSizeInKiB": 2048,
        "ChannelCount": 0,
        "RecordDistributionStrategy": "AUTO",
    }
    assert client.list_tags_for_stream(StreamName="stream")["Tags"] == [
        {"Key": "empty", "Value": ""},
        {"Key": "team", "Value": "blue"},
    ]


def test_a_name_is_given_once(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(kinesis.create_stream, StreamName=stream_name, ShardCount=1)

    assert fault == (
        "ResourceInUseException",
        f"Stream {stream_name} under account 000000000000 already exists.",
    )


def test_of_many_who_ask_for_one_name_at_once_one_gets_it(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--workers", "2").client()

    def create(number: int) -> bool:
        try:
            client.create_stream(StreamName="stream", ShardCount=number + 1)
        except client.exceptions.ResourceInUseException:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(create, range(8)))

    assert made.count(True) == 1
    assert summary_of(client, "stream")["OpenShardCount"] == made.index(True) + 1


def test_shards_beyond_the_quota_are_refused(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--shard-quota", "5").client()
    client.create_stream(StreamName="three", ShardCount=3)

    fault = refusal(client.create_stream, StreamName="stream", ShardCount=3)
    client.create_stream(StreamName="two", ShardCount=2)

    assert fault == (
        "LimitExceededException",
        (
            "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard "
            "count for the account: 3. Limit: 5. Number of additional shards that would have resulted from this "
            "request: 3. Refer to the AWS Service Limits page "
            "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to "
            "request higher limits."
        ),
    )


def test_on_demand_streams_beyond_the_quota_are_refused(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--on-demand-quota", "1").client()
    client.create_stream(StreamName="first", StreamModeDetails=_ON_DEMAND)

    code, sentence = refusal(client.create_stream, StreamName="stream", StreamModeDetails=_ON_DEMAND)

    assert code == "LimitExceededException"
    assert sentence.startswith(
        "This request would exceed the limit on the number of On-Demand streams for the account 000000000000 "
        "in us-east-1. Current On-Demand streams count: 1. Limit: 1."
    )


def test_five_streams_are_made_at_a_time_when_limits_are_on(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--limits", "aws", "--transition-ms", HELD_MS).client()

    faults = [_fault_of_creating(client, f"stream-{number}") for number in range(6)]

    assert faults == [None] * 5 + [
        (
            "LimitExceededException",
            "Only 5 streams can be in the CREATING state at the same time.",
        )
    ]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        (
            {"StreamModeDetails": _ON_DEMAND, "ShardCount": 2},
            (
                "InvalidArgumentException",
                "ShardCount must not be specified for a stream in ON_DEMAND mode.",
            ),
        ),
        (
            {"RecordDistributionStrategy": "AUTO"},
            (
                "InvalidArgumentException",
                "RecordDistributionStrategy AUTO is only supported for streams in ON_DEMAND mode.",
            ),
        ),
        (
            {"ShardCount": 0},
            (
                "ValidationException",
                (
                    "1 validation error detected: Value '0' at 'shardCount' failed to satisfy constraint: "
                    "Member must have value greater than or equal to 1"
                ),
            ),
        ),
        (
            {"MaxRecordSizeInKiB": 100},
            (
                "ValidationException",
                (
                    "1 validation error detected: Value '100' at 'maxRecordSizeInKiB' failed to satisfy "
                    "constraint: Member must have value greater than or equal to 1024"
                ),
            ),
        ),
        (
            {"Tags": {"color": "blue;red"}},
            (
                "InvalidArgumentException",
                (
                    "Some tags contain invalid characters. Valid characters: Unicode letters, digits, "
                    "white space, _ . / = + - % @ :."
                ),
            ),
        ),
    ],
)
def test_a_stream_that_cannot_be_made_as_asked_is_not_made(
    kinesis: Any, stream_name: str, members: dict[str, Any], fault: tuple[str, str]
) -> None:
    found = refusal(kinesis.create_stream, StreamName=stream_name, **members)

    assert found == fault
    assert refusal(kinesis.describe_stream, StreamName=stream_name)[0] == "ResourceNotFoundException"


def test_a_warm_stream_needs_the_commitment(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()

    fault = refusal(client.create_stream, StreamName="stream", StreamModeDetails=_ON_DEMAND, WarmThroughputMiBps=7)

    assert fault == (
        "ValidationException",
        "Account 000000000000 is not enabled for minimum throughput billing commitment",
    )


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 129])
def test_a_name_that_is_no_name_is_refused(kinesis: Any, name: str) -> None:
    code, sentence = refusal(kinesis.create_stream, StreamName=name, ShardCount=1)

    assert code == "ValidationException"
    assert f"Value '{name}' at 'streamName' failed to satisfy constraint: Member must " in sentence


def test_the_longest_name_works(kinesis: Any, stream_name: str) -> None:
    name = stream_name.ljust(128, ".")

    kinesis.create_stream(StreamName=name, ShardCount=1)

    assert summary_of(kinesis, name)["StreamName"] == name


# Names and ARNs


@pytest.mark.parametrize("operation", _NAMED)
def test_a_stream_is_named_by_name_by_arn_or_by_both(kinesis: Any, stream_name: str, operation: str) -> None:
    call = getattr(kinesis, operation)
    ways: list[dict[str, str]] = [
        {"StreamName": stream_name},
        {"StreamARN": stream_arn_of(stream_name)},
        {"StreamName": stream_name, "StreamARN": stream_arn_of(stream_name)},
    ]

    for way in ways:
        if operation == "delete_stream" or way is ways[0]:
            kinesis.create_stream(StreamName=stream_name, ShardCount=1)
        call(**way)

    assert refusal(call, StreamName=f"{stream_name}-other")[0] == "ResourceNotFoundException"


@pytest.mark.parametrize("operation", _NAMED)
def test_a_stream_that_is_not_there_is_told_by_its_name(kinesis: Any, stream_name: str, operation: str) -> None:
    call = getattr(kinesis, operation)

    by_name = refusal(call, StreamName=stream_name)
    by_arn = refusal(call, StreamARN=stream_arn_of(stream_name))
    by_foreign_arn = refusal(call, StreamARN=stream_arn_of(stream_name, account_id="123456789012"))

    sentence = f"Stream {stream_name} under account 000000000000 not found."
    assert by_name == by_arn == ("ResourceNotFoundException", sentence)
    assert by_foreign_arn == (
        "ResourceNotFoundException",
        f"Stream {stream_name} under account 123456789012 not found.",
    )


@pytest.mark.parametrize("operation", _NAMED)
def test_names_that_say_nothing_or_two_things_are_refused(kinesis: Any, stream_name: str, operation: str) -> None:
    call = getattr(kinesis, operation)

    neither = refusal(call)
    two = refusal(call, StreamName=stream_name, StreamARN=stream_arn_of("other"))
    malformed = refusal(call, StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/a/b")

    assert neither == (
        "InvalidArgumentException",
        "Stream arn and stream name can't be empty at the same time",
    )
    assert two == (
        "InvalidArgumentException",
        f"Input stream name {stream_name} doesn't match the inferred name in stream arn other",
    )
    assert malformed == (
        "InvalidArgumentException",
        "Invalid stream ARN: arn:aws:kinesis:us-east-1:000000000000:stream/a/b",
    )


def test_arns_carry_the_region_that_the_request_was_signed_for(daemon: Daemon, stream_name: str) -> None:
    client = daemon.client(region="eu-central-1")
    client.create_stream(StreamName=stream_name, ShardCount=1)

    description = client.describe_stream(StreamName=stream_name)["StreamDescription"]
    listed = client.list_streams(ExclusiveStartStreamName=stream_name[:-1], Limit=1)["StreamSummaries"]

    arn = stream_arn_of(stream_name, region="eu-central-1")
    assert description["StreamARN"] == summary_of(client, stream_name)["StreamARN"] == arn
    assert listed[0]["StreamARN"] == arn


def test_arns_carry_the_account_of_the_daemon(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--account-id", "123456789012").client()
    client.create_stream(StreamName="stream", ShardCount=1)

    summary = client.describe_stream_summary(StreamARN=stream_arn_of("stream", account_id="123456789012"))

    assert summary["StreamDescriptionSummary"]["StreamARN"] == stream_arn_of("stream", account_id="123456789012")
    assert refusal(client.describe_stream, StreamName="other") == (
        "ResourceNotFoundException",
        "Stream other under account 123456789012 not found.",
    )


# DescribeStream's pages


def test_shards_come_in_pages_of_100_at_most(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=130)

    first = kinesis.describe_stream(StreamName=stream_name, Limit=10_000)["StreamDescription"]
    second = kinesis.describe_stream(StreamName=stream_name, ExclusiveStartShardId=first["Shards"][-1]["ShardId"])[
        "StreamDescription"
    ]

    assert (len(first["Shards"]), first["HasMoreShards"]) == (100, True)
    assert (len(second["Shards"]), second["HasMoreShards"]) == (30, False)
    indexes = [int(shard["ShardId"][8:]) for shard in first["Shards"] + second["Shards"]]
    assert indexes == list(range(130))


def test_boto3_pages_through_the_shards(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=7)

    pages = kinesis.get_paginator("describe_stream").paginate(StreamName=stream_name, PaginationConfig={"PageSize": 3})

    assert [len(page["StreamDescription"]["Shards"]) for page in pages] == [3, 3, 1]


@pytest.mark.parametrize("limit", [0, 10_001])
def test_a_limit_out_of_range_is_refused(kinesis: Any, stream_name: str, limit: int) -> None:
    code, sentence = refusal(kinesis.describe_stream, StreamName=stream_name, Limit=limit)

    assert code == "ValidationException"
    assert f"Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value " in sentence


def _fault_of_creating(client: Any, name: str) -> tuple[str, str] | None:
    """Make a stream, again and again while AWS's call rate is what refuses it."""
    for _ in range(100_000):
        try:
            client.create_stream(StreamName=name, ShardCount=1)
        except client.exceptions.LimitExceededException as error:
            sentence = error.response["Error"]["Message"]
            if sentence.startswith("Rate exceeded for account"):
                continue
            return error.response["Error"]["Code"], sentence
        return None
    raise AssertionError("the call rate never let it through")
