"""What Terraform's aws_kinesis_stream asks for on create, plan, update and destroy, replayed with boto3.

The order and the members are those of the provider's public source: it describes the stream until it has the state it
waits for after each change, and reads everything again for each plan. Changes take a while, so that states show.
"""

from typing import Any

import boto3
import pytest

from tests.clients.botocore_rows import note_operations
from tests.clients.conftest import SeenBy
from tests.conftest import DaemonFactory

__all__: list[str] = []

_TRANSITION_MS = "200"
_LOOK_COUNT_MAX = 10_000
_KEY = {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}


class Provider:
    """The provider's part that deals with one stream."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.statuses: list[str] = []

    def create(self, *, shard_count: int, tags: dict[str, str]) -> None:
        """Make the stream, then set what creating does not take."""
        mode = {"StreamMode": "PROVISIONED"}
        self.client.create_stream(StreamName=self.name, ShardCount=shard_count, StreamModeDetails=mode)
        self.wait_until("ACTIVE")
        self.client.add_tags_to_stream(StreamName=self.name, Tags=tags)
        # With the period that the stream has already, too.
        self.client.increase_stream_retention_period(StreamName=self.name, RetentionPeriodHours=24)
        self.wait_until("ACTIVE")

    def plan(self) -> dict[str, Any]:
        """Read everything that a plan compares."""
        summary = self.client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
        pages = self.client.get_paginator("describe_stream").paginate(StreamName=self.name)
        shards = [shard for page in pages for shard in page["StreamDescription"]["Shards"]]
        assert self.client.describe_limits()["ShardLimit"] > 0
        tags = self.client.list_tags_for_stream(StreamName=self.name)["Tags"]
        assert tags == self.client.list_tags_for_resource(ResourceARN=summary["StreamARN"])["Tags"]
        open_count = sum("EndingSequenceNumber" not in shard["SequenceNumberRange"] for shard in shards)
        assert open_count == summary["OpenShardCount"]
        return {
            "arn": summary["StreamARN"],
            "shard_count": open_count,
            "retention_period": summary["RetentionPeriodHours"],
            "shard_level_metrics": sorted(summary["EnhancedMonitoring"][0]["ShardLevelMetrics"]),
            "encryption_type": summary["EncryptionType"],
            "kms_key_id": summary.get("KeyId", ""),
            "stream_mode": summary["StreamModeDetails"]["StreamMode"],
            "max_record_size_in_kib": summary["MaxRecordSizeInKiB"],
            "tags": {tag["Key"]: tag["Value"] for tag in tags},
        }

    def wait_until(self, wanted: str) -> None:
        """Describe the stream until it has a state; every state on the way is kept."""
        for _ in range(_LOOK_COUNT_MAX):
            try:
                summary = self.client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]
                status = summary["StreamStatus"]
            except self.client.exceptions.ResourceNotFoundException:
                status = "DESTROYED"
            self.statuses.append(status)
            if status == wanted:
                return
        raise AssertionError(self.statuses[-1])

    def change(self, operation: str, **members: Any) -> None:
        """Call an operation that changes the stream, and wait until it is done."""
        getattr(self.client, operation)(**members)
        self.wait_until("ACTIVE")

    def destroy(self, *, enforces_consumer_deletion: bool) -> None:
        """Delete the stream."""
        self.client.delete_stream(StreamName=self.name, EnforceConsumerDeletion=enforces_consumer_deletion)
        self.wait_until("DESTROYED")


@pytest.fixture
def provider(daemon_factory: DaemonFactory, stream_name: str, seen_by: SeenBy) -> Provider:
    """Give the provider, beside a daemon whose changes take a while."""
    daemon = daemon_factory("--transition-ms", _TRANSITION_MS)
    client = daemon.client()
    row = seen_by(
        "Terraform's calls for aws_kinesis_stream", version=f"boto3 {boto3.__version__}", transport="HTTP/1.1"
    )
    note_operations(client, row)
    return Provider(client, stream_name)


def test_create_plan_update_destroy(provider: Provider) -> None:
    name = {"StreamName": provider.name}

    provider.create(shard_count=2, tags={"team": "web", "Name": "orders"})
    made = provider.plan()
    assert made == provider.plan()
    assert "CREATING" in provider.statuses
    assert made == {
        "arn": f"arn:aws:kinesis:us-east-1:000000000000:stream/{provider.name}",
        "shard_count": 2,
        "retention_period": 24,
        "shard_level_metrics": [],
        "encryption_type": "NONE",
        "kms_key_id": "",
        "stream_mode": "PROVISIONED",
        "max_record_size_in_kib": 1024,
        "tags": {"team": "web", "Name": "orders"},
    }

    provider.statuses.clear()
    provider.change("update_shard_count", **name, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    assert "UPDATING" in provider.statuses
    provider.change("increase_stream_retention_period", **name, RetentionPeriodHours=168)
    provider.change("enable_enhanced_monitoring", **name, ShardLevelMetrics=["IncomingBytes", "OutgoingBytes"])
    provider.change("start_stream_encryption", **name, **_KEY)
    provider.change("update_max_record_size", StreamARN=made["arn"], MaxRecordSizeInKiB=2048)
    provider.client.remove_tags_from_stream(**name, TagKeys=["team"])
    provider.client.add_tags_to_stream(**name, Tags={"stage": "test"})
    assert provider.plan() == made | {
        "shard_count": 4,
        "retention_period": 168,
        "shard_level_metrics": ["IncomingBytes", "OutgoingBytes"],
        "encryption_type": "KMS",
        "kms_key_id": "alias/aws/kinesis",
        "max_record_size_in_kib": 2048,
        "tags": {"Name": "orders", "stage": "test"},
    }

    provider.change("decrease_stream_retention_period", **name, RetentionPeriodHours=24)
    # Older providers ask for the period that the stream has whenever anything else changes.
    provider.change("decrease_stream_retention_period", **name, RetentionPeriodHours=24)
    provider.change("disable_enhanced_monitoring", **name, ShardLevelMetrics=["IncomingBytes"])
    provider.change("stop_stream_encryption", **name, **_KEY)
    on_demand = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    provider.change("update_stream_mode", StreamARN=made["arn"], **on_demand)
    changed = provider.plan()
    assert (changed["retention_period"], changed["encryption_type"]) == (24, "NONE")
    assert (changed["shard_level_metrics"], changed["stream_mode"]) == (["OutgoingBytes"], "ON_DEMAND")

    provider.statuses.clear()
    provider.destroy(enforces_consumer_deletion=False)
    assert "DELETING" in provider.statuses


def test_consumers_and_policies_come_and_go_with_their_stream(provider: Provider) -> None:
    provider.create(shard_count=1, tags={"team": "web"})
    arn = provider.plan()["arn"]
    client = provider.client

    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
    statuses = [consumer["ConsumerStatus"]]
    while statuses[-1] != "ACTIVE":
        described = client.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]
        statuses.append(described["ConsumerStatus"])
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Sid":"read","Effect":"Allow",'
        f'"Principal":{{"AWS":"arn:aws:iam::111122223333:root"}},"Action":"kinesis:GetRecords","Resource":"{arn}"}}]}}'
    )
    client.put_resource_policy(ResourceARN=arn, Policy=policy)
    read = client.get_resource_policy(ResourceARN=arn)["Policy"]
    client.delete_resource_policy(ResourceARN=arn)
    with pytest.raises(client.exceptions.ResourceInUseException):
        provider.destroy(enforces_consumer_deletion=False)
    client.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    provider.destroy(enforces_consumer_deletion=True)

    assert statuses[0] == "CREATING"
    assert read == policy
