"""DeleteStream, and the states of a stream from CREATING to gone."""

from typing import Any

from tests.conftest import DaemonFactory
from tests.kinesis.calls import HELD_MS, held_daemon, records_of, summary_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

# A waiter that asks again at once, for longer than any state is held.
_AT_ONCE = {"Delay": 0, "MaxAttempts": 100_000}


# DeleteStream


def test_a_deleted_stream_is_gone_and_its_name_is_free(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    kinesis.put_record(StreamName=stream_name, PartitionKey="key", Data=b"old")

    kinesis.delete_stream(StreamName=stream_name)
    absent = refusal(kinesis.describe_stream, StreamName=stream_name)
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)

    assert absent == (
        "ResourceNotFoundException",
        f"Stream {stream_name} under account 000000000000 not found.",
    )
    assert records_of(kinesis, stream_name) == []


def test_a_stream_with_consumers_is_deleted_by_force_only(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.register_stream_consumer(StreamARN=stream_arn_of(stream_name), ConsumerName="consumer")

    unforced = refusal(kinesis.delete_stream, StreamName=stream_name)
    refused = refusal(kinesis.delete_stream, StreamName=stream_name, EnforceConsumerDeletion=False)
    kinesis.delete_stream(StreamName=stream_name, EnforceConsumerDeletion=True)

    assert unforced == refused
    assert unforced == (
        "ResourceInUseException",
        (
            f"DeleteStream can't delete {stream_arn_of(stream_name)} because there are consumers associated with this "
            f"data stream. To delete {stream_name} anyway, set the EnforceConsumerDeletion parameter to true to "
            "force the deletion of all the consumers that are associated with it."
        ),
    )
    assert refusal(kinesis.describe_stream, StreamName=stream_name)[0] == "ResourceNotFoundException"


def test_streams_and_their_settings_survive_a_kill(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory()
    first.client().create_stream(StreamName="stream", ShardCount=3, Tags={"team": "blue"})
    first.client().increase_stream_retention_period(StreamName="stream", RetentionPeriodHours=48)
    first.client().create_stream(StreamName="gone", ShardCount=1)
    first.client().delete_stream(StreamName="gone")
    described = first.client().describe_stream(StreamName="stream")["StreamDescription"]

    first.kill()
    client = daemon_factory(data=first.data).client()

    assert client.describe_stream(StreamName="stream")["StreamDescription"] == described
    assert client.list_tags_for_stream(StreamName="stream")["Tags"] == [{"Key": "team", "Value": "blue"}]
    assert client.list_streams()["StreamNames"] == ["stream"]


# States


def test_a_stream_that_is_being_made_has_no_shards_and_takes_no_records(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--transition-ms", HELD_MS).client()
    client.create_stream(StreamName="stream", ShardCount=3)

    description = client.describe_stream(StreamName="stream")["StreamDescription"]
    summary = summary_of(client, "stream")
    put = refusal(client.put_record, StreamName="stream", PartitionKey="key", Data=b"early")
    again = refusal(client.create_stream, StreamName="stream", ShardCount=3)
    change = refusal(client.update_max_record_size, StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=2048)

    assert description["StreamStatus"] == "CREATING"
    assert (description["Shards"], description["HasMoreShards"]) == ([], False)
    assert (summary["StreamStatus"], summary["OpenShardCount"]) == ("CREATING", 0)
    assert client.list_streams()["StreamSummaries"][0]["StreamStatus"] == "CREATING"
    assert put == ("ResourceNotFoundException", "Stream stream under account 000000000000 not found.")
    assert again[0] == "ResourceInUseException"
    assert change == (
        "ResourceInUseException",
        "Stream stream under account 000000000000 not ACTIVE, instead in state CREATING",
    )


def test_a_stream_that_is_being_deleted_is_still_described_and_its_name_still_taken(
    daemon_factory: DaemonFactory,
) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=2).client()
    client.delete_stream(StreamName="stream")

    description = client.describe_stream(StreamName="stream")["StreamDescription"]
    put = refusal(client.put_record, StreamName="stream", PartitionKey="key", Data=b"late")
    create = refusal(client.create_stream, StreamName="stream", ShardCount=1)
    change = refusal(client.update_max_record_size, StreamARN=stream_arn_of("stream"), MaxRecordSizeInKiB=2048)
    client.delete_stream(StreamName="stream")

    assert description["StreamStatus"] == "DELETING"
    assert client.list_streams()["StreamSummaries"][0]["StreamStatus"] == "DELETING"
    assert put[0] == "ResourceNotFoundException"
    assert create == ("ResourceInUseException", "Stream stream under account 000000000000 already exists.")
    assert change == (
        "ResourceInUseException",
        "Stream stream under account 000000000000 not ACTIVE, instead in state DELETING",
    )


def test_waiters_see_a_stream_come_change_and_go(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--transition-ms", "300").client()

    client.create_stream(StreamName="stream", ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName="stream", WaiterConfig=_AT_ONCE)
    shards = client.describe_stream(StreamName="stream")["StreamDescription"]["Shards"]
    client.increase_stream_retention_period(StreamName="stream", RetentionPeriodHours=48)
    client.get_waiter("stream_exists").wait(StreamName="stream", WaiterConfig=_AT_ONCE)
    client.decrease_stream_retention_period(StreamName="stream", RetentionPeriodHours=24)
    client.delete_stream(StreamName="stream")
    client.get_waiter("stream_not_exists").wait(StreamName="stream", WaiterConfig=_AT_ONCE)
    client.create_stream(StreamName="stream", ShardCount=1)

    assert len(shards) == 2
    assert summary_of(client, "stream")["StreamName"] == "stream"


def test_a_held_state_ends_after_a_restart_too(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory("--transition-ms", "300")
    first.client().create_stream(StreamName="stream", ShardCount=2)
    first.kill()

    client = daemon_factory("--transition-ms", "300", data=first.data).client()
    client.get_waiter("stream_exists").wait(StreamName="stream", WaiterConfig=_AT_ONCE)

    assert summary_of(client, "stream")["OpenShardCount"] == 2
