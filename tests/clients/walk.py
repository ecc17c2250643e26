"""A walk through every operation of Kinesis, as one user might go, for any client that can be told what to call.

`Walked` says which call comes next and is told the client's answer, which it checks. Who drives it decides how a call
is made: at once, awaited, or as a command. It knows nothing of a client but the names of its service's shapes.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import orjson

__all__ = ["Call", "Walked", "kinesis_walk"]

_FIRST: Final = "shardId-000000000000"


@dataclass(frozen=True, slots=True)
class Call:
    """An operation, in AWS's spelling, and its arguments."""

    operation: str
    arguments: dict[str, Any]


_Walk = Generator[Call, Any, None]
_Answer = Generator[Call, Any, Any]


class Walked:
    """One walk, and how far it has come; it needs an account of its own."""

    def __init__(self, steps: Generator[Call, Any, None], *, unknown: frozenset[str] = frozenset()) -> None:
        """Begin with the first step, which every client must know.

        Operations that are ``unknown`` to the client are left out: nothing later may rest on their answers.
        """
        self._steps = steps
        self._unknown = unknown
        self.operations: set[str] = set()
        self.call: Call | None = next(steps)

    def answered(self, answer: Any) -> None:
        """Check the answer to the call, and go on to the next one; there is none at the end."""
        assert self.call is not None
        self.operations.add(self.call.operation)
        try:
            self.call = self._steps.send(answer)
            while self.call.operation in self._unknown:
                self.call = self._steps.send(None)
        except StopIteration:
            self.call = None


def kinesis_walk(stream: str) -> Generator[Call, Any, None]:
    """Give the steps, with a name for the stream that is made, changed in every way, and deleted at the end."""
    yield from _account()
    arn = yield from _creation(stream)
    yield from _records(stream, arn)
    yield from _tags(stream, arn)
    yield from _consumers(arn)
    yield from _policies(arn)
    yield from _settings(stream, arn)
    yield from _shards(stream)
    yield from _modes(stream, arn)
    yield from _end(stream)


def _ask(operation: str, **arguments: Any) -> _Answer:
    answer = yield Call(operation, arguments)
    return answer


def _summary(stream: str) -> _Answer:
    answer = yield from _ask("DescribeStreamSummary", StreamName=stream)
    return answer["StreamDescriptionSummary"]


def _account() -> _Walk:
    limits = yield from _ask("DescribeLimits")
    before = yield from _ask("DescribeAccountSettings")
    committed = yield from _ask("UpdateAccountSettings", MinimumThroughputBillingCommitment={"Status": "ENABLED"})

    assert limits["OpenShardCount"] == 0
    assert before["MinimumThroughputBillingCommitment"]["Status"] == "DISABLED"
    assert committed["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED"


def _creation(stream: str) -> _Answer:
    yield from _ask("CreateStream", StreamName=stream, ShardCount=2, Tags={"from": "creation"})
    listed = yield from _ask("ListStreams")
    described = (yield from _ask("DescribeStream", StreamName=stream))["StreamDescription"]
    summary = yield from _summary(stream)

    assert listed["StreamNames"] == [stream]
    assert [shard["ShardId"] for shard in described["Shards"]] == [_FIRST, "shardId-000000000001"]
    assert described["StreamStatus"] == summary["StreamStatus"] == "ACTIVE"
    assert described["StreamARN"] == summary["StreamARN"]
    assert summary["OpenShardCount"] == 2
    return summary["StreamARN"]


def _records(stream: str, arn: str) -> _Walk:
    one = yield from _ask("PutRecord", StreamName=stream, Data=b"one", PartitionKey="key", ExplicitHashKey="0")
    entries = [{"Data": b"%d" % number, "PartitionKey": "key", "ExplicitHashKey": "1"} for number in range(3)]
    many = yield from _ask("PutRecords", StreamARN=arn, Records=entries)
    place = yield from _ask(
        "GetShardIterator",
        StreamName=stream,
        ShardId=_FIRST,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=one["SequenceNumber"],
    )
    got = yield from _ask("GetRecords", ShardIterator=place["ShardIterator"], Limit=10)

    assert one["ShardId"] == _FIRST
    assert many["FailedRecordCount"] == 0
    assert [record["Data"] for record in got["Records"]] == [b"one", b"0", b"1", b"2"]
    put = [one["SequenceNumber"], *(record["SequenceNumber"] for record in many["Records"])]
    assert [record["SequenceNumber"] for record in got["Records"]] == put


def _tags(stream: str, arn: str) -> _Walk:
    yield from _ask("AddTagsToStream", StreamName=stream, Tags={"a": "1", "b": "2"})
    yield from _ask("RemoveTagsFromStream", StreamName=stream, TagKeys=["a"])
    yield from _ask("TagResource", ResourceARN=arn, Tags={"c": "3"})
    yield from _ask("UntagResource", ResourceARN=arn, TagKeys=["from"])
    of_stream = yield from _ask("ListTagsForStream", StreamName=stream)
    of_resource = yield from _ask("ListTagsForResource", ResourceARN=arn)

    assert {tag["Key"]: tag["Value"] for tag in of_stream["Tags"]} == {"b": "2", "c": "3"}
    assert of_resource["Tags"] == of_stream["Tags"]


def _consumers(arn: str) -> _Walk:
    registered = (yield from _ask("RegisterStreamConsumer", StreamARN=arn, ConsumerName="reader"))["Consumer"]
    described = yield from _ask("DescribeStreamConsumer", ConsumerARN=registered["ConsumerARN"])
    listed = yield from _ask("ListStreamConsumers", StreamARN=arn)
    yield from _ask("DeregisterStreamConsumer", StreamARN=arn, ConsumerName="reader")
    after = yield from _ask("ListStreamConsumers", StreamARN=arn)

    assert described["ConsumerDescription"]["StreamARN"] == arn
    assert [consumer["ConsumerARN"] for consumer in listed["Consumers"]] == [registered["ConsumerARN"]]
    assert after["Consumers"] == []


def _policies(arn: str) -> _Walk:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "111122223333"},
        "Action": ["kinesis:GetRecords"],
        "Resource": arn,
    }
    policy = orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()

    yield from _ask("PutResourcePolicy", ResourceARN=arn, Policy=policy)
    kept = yield from _ask("GetResourcePolicy", ResourceARN=arn)
    yield from _ask("DeleteResourcePolicy", ResourceARN=arn)

    assert kept["Policy"] == policy


def _settings(stream: str, arn: str) -> _Walk:
    yield from _ask("IncreaseStreamRetentionPeriod", StreamName=stream, RetentionPeriodHours=72)
    yield from _ask("UpdateMaxRecordSize", StreamARN=arn, MaxRecordSizeInKiB=2048)
    yield from _ask("StartStreamEncryption", StreamName=stream, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    watched = yield from _ask("EnableEnhancedMonitoring", StreamName=stream, ShardLevelMetrics=["ALL"])
    changed = yield from _summary(stream)
    yield from _ask("DecreaseStreamRetentionPeriod", StreamName=stream, RetentionPeriodHours=48)
    yield from _ask("StopStreamEncryption", StreamName=stream, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    yield from _ask("DisableEnhancedMonitoring", StreamName=stream, ShardLevelMetrics=["ALL"])
    back = yield from _summary(stream)

    assert len(watched["DesiredShardLevelMetrics"]) > 1
    assert (changed["RetentionPeriodHours"], back["RetentionPeriodHours"]) == (72, 48)
    assert (changed["EncryptionType"], back["EncryptionType"]) == ("KMS", "NONE")
    assert changed["MaxRecordSizeInKiB"] == 2048
    assert back["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]


def _shards(stream: str) -> _Walk:
    yield from _ask("SplitShard", StreamName=stream, ShardToSplit=_FIRST, NewStartingHashKey=str(1 << 126))
    split = yield from _ask("ListShards", StreamName=stream, ShardFilter={"Type": "AT_LATEST"})
    children = [shard["ShardId"] for shard in split["Shards"] if shard.get("ParentShardId") == _FIRST]
    yield from _ask("MergeShards", StreamName=stream, ShardToMerge=children[0], AdjacentShardToMerge=children[1])
    merged = yield from _ask("ListShards", StreamName=stream, ShardFilter={"Type": "AT_LATEST"})
    scaled = yield from _ask("UpdateShardCount", StreamName=stream, TargetShardCount=4, ScalingType="UNIFORM_SCALING")

    assert (len(split["Shards"]), len(children), len(merged["Shards"])) == (3, 2, 2)
    assert (scaled["CurrentShardCount"], scaled["TargetShardCount"]) == (2, 4)


def _modes(stream: str, arn: str) -> _Walk:
    yield from _ask("UpdateStreamMode", StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    warm = yield from _ask("UpdateStreamWarmThroughput", StreamARN=arn, WarmThroughputMiBps=6)
    yield from _ask("UpdateStreamRecordDistributionStrategy", StreamARN=arn, RecordDistributionStrategy="AUTO")
    summary = yield from _summary(stream)

    assert warm["WarmThroughput"]["TargetMiBps"] == 6
    assert summary["StreamModeDetails"]["StreamMode"] == "ON_DEMAND"
    assert summary["OpenShardCount"] == 6


def _end(stream: str) -> _Walk:
    yield from _ask("DeleteStream", StreamName=stream)
    listed = yield from _ask("ListStreams")

    assert listed["StreamNames"] == []
