"""boto3, as its user runs it: every operation that the server has, its paginators and waiters, also under TLS."""

import json
from contextlib import closing
from typing import Any

import boto3
import pytest

from streamd.kinesis.operations import HANDLER_BY_OPERATION
from tests.clients.botocore_rows import note_operations
from tests.clients.conftest import SeenBy, TlsDaemon

__all__: list[str] = []

_SHARD = "shardId-000000000000"
_KEY = {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}


@pytest.mark.parametrize(
    ("is_tls", "transport"), [(False, "HTTP/1.1, JSON"), (True, "HTTP/1.1 over TLS, JSON")], ids=["plain", "TLS"]
)
def test_every_operation_works_unmodified(
    tls_daemon: TlsDaemon, seen_by: SeenBy, stream_name: str, *, is_tls: bool, transport: str
) -> None:
    row = seen_by("boto3", version=boto3.__version__, transport=transport)
    client = boto3.client(
        "kinesis",
        endpoint_url=tls_daemon.url if is_tls else tls_daemon.daemon.url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        verify=str(tls_daemon.authority),
    )
    note_operations(client, row)

    arn = _create(client, stream_name)
    _put_and_read(client, stream_name, arn)
    _subscribe(client, arn)
    _change_settings(client, stream_name, arn)
    _reshard(client, stream_name)
    client.delete_stream(StreamName=stream_name, EnforceConsumerDeletion=True)
    client.get_waiter("stream_not_exists").wait(StreamName=stream_name, WaiterConfig={"Delay": 0, "MaxAttempts": 50})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_stream(StreamName=stream_name)

    assert set(row.operations) == set(HANDLER_BY_OPERATION)


def _create(client: Any, name: str) -> str:
    client.create_stream(StreamName=name, ShardCount=2, Tags={"team": "web"})
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 50})
    pages = client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
    assert name in [found for page in pages for found in page["StreamNames"]]
    pages = client.get_paginator("describe_stream").paginate(StreamName=name, PaginationConfig={"PageSize": 1})
    assert len([shard for page in pages for shard in page["StreamDescription"]["Shards"]]) == 2
    first = client.list_shards(StreamName=name, MaxResults=1)
    # Its paginator sends the name beside the token, which AWS refuses.
    second = client.list_shards(NextToken=first["NextToken"])
    assert [shard["ShardId"] for shard in first["Shards"] + second["Shards"]] == [_SHARD, "shardId-000000000001"]
    arn: str = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    return arn


def _put_and_read(client: Any, name: str, arn: str) -> None:
    put = client.put_record(StreamARN=arn, Data=b"one", PartitionKey="k", ExplicitHashKey="0")
    records = [{"Data": b"%d" % number, "PartitionKey": "k", "ExplicitHashKey": "0"} for number in range(500)]
    assert client.put_records(StreamName=name, Records=records)["FailedRecordCount"] == 0
    place = client.get_shard_iterator(StreamName=name, ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON")
    found = client.get_records(ShardIterator=place["ShardIterator"])["Records"]
    assert [record["Data"] for record in found] == [b"one", *(record["Data"] for record in records)]


def _subscribe(client: Any, arn: str) -> None:
    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
    described = client.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]
    assert described["ConsumerStatus"] == "ACTIVE"
    pages = client.get_paginator("list_stream_consumers").paginate(StreamARN=arn)
    assert [found["ConsumerName"] for page in pages for found in page["Consumers"]] == ["c"]
    answer = client.subscribe_to_shard(
        ConsumerARN=consumer["ConsumerARN"], ShardId=_SHARD, StartingPosition={"Type": "TRIM_HORIZON"}
    )
    with closing(answer["EventStream"]) as events:
        event = next(iter(events))["SubscribeToShardEvent"]
    assert len(event["Records"]) == 501
    client.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])


def _change_settings(client: Any, name: str, arn: str) -> None:
    client.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
    client.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=24)
    client.add_tags_to_stream(StreamName=name, Tags={"stage": "test"})
    client.remove_tags_from_stream(StreamName=name, TagKeys=["team"])
    assert client.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "stage", "Value": "test"}]
    client.tag_resource(ResourceARN=arn, Tags={"more": "1"})
    client.untag_resource(ResourceARN=arn, TagKeys=["stage"])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "more", "Value": "1"}]
    client.start_stream_encryption(StreamName=name, **_KEY)
    client.stop_stream_encryption(StreamName=name, **_KEY)
    client.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["ALL"])
    client.disable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["ALL"])
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                "Action": "kinesis:GetRecords",
                "Resource": arn,
            }
        ],
    }
    client.put_resource_policy(ResourceARN=arn, Policy=json.dumps(policy))
    assert json.loads(client.get_resource_policy(ResourceARN=arn)["Policy"]) == policy
    client.delete_resource_policy(ResourceARN=arn)
    client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    assert client.describe_limits()["ShardLimit"] > 0
    client.describe_account_settings()


def _reshard(client: Any, name: str) -> None:
    arn = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    client.split_shard(StreamName=name, ShardToSplit=_SHARD, NewStartingHashKey="1000")
    children = ["shardId-000000000002", "shardId-000000000003"]
    client.merge_shards(StreamName=name, ShardToMerge=children[0], AdjacentShardToMerge=children[1])
    client.update_shard_count(StreamName=name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    client.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    client.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="AUTO")
    client.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    client.update_stream_warm_throughput(StreamARN=arn, WarmThroughputMiBps=10)
    client.update_account_settings(MinimumThroughputBillingCommitment={"Status": "DISABLED"})
