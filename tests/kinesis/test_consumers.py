"""Registered consumers, through boto3 and a real daemon."""

from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, client_of, raw
from tests.kinesis.refusals import ACCOUNT_ID, consumer_arn_of, refusal, stream_arn_of

IDENTIFY = ("InvalidArgumentException", "Specify ConsumerARN or both StreamARN and ConsumerName.")
DISAGREE = (
    "InvalidArgumentException",
    "ConsumerARN, ConsumerName and StreamARN must identify the same consumer.",
)


@pytest.fixture
def arn(kinesis: Any, stream_name: str) -> str:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_arn_of(stream_name)


def test_a_registered_consumer_is_creating_in_the_answer_and_then_active(kinesis: Any, arn: str) -> None:
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]

    described = kinesis.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]

    created_s = int(consumer["ConsumerCreationTimestamp"].timestamp())
    assert consumer["ConsumerARN"] == f"{arn}/consumer/c:{created_s}"
    assert consumer["ConsumerStatus"] == "CREATING"
    assert "StreamARN" not in consumer
    assert described == consumer | {"ConsumerStatus": "ACTIVE", "StreamARN": arn}


def test_a_consumer_is_described_by_arn_by_names_and_by_both(kinesis: Any, arn: str) -> None:
    consumer_arn = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]

    by_arn = kinesis.describe_stream_consumer(ConsumerARN=consumer_arn)
    by_names = kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="c")
    by_all = kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="c", ConsumerARN=consumer_arn)

    assert by_arn["ConsumerDescription"] == by_names["ConsumerDescription"] == by_all["ConsumerDescription"]


def test_names_that_do_not_identify_one_consumer_are_refused(kinesis: Any, arn: str) -> None:
    consumer_arn = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]

    for operation in (kinesis.describe_stream_consumer, kinesis.deregister_stream_consumer):
        assert refusal(operation) == IDENTIFY
        assert refusal(operation, StreamARN=arn) == IDENTIFY
        assert refusal(operation, ConsumerName="c") == IDENTIFY
        assert refusal(operation, ConsumerARN=consumer_arn, ConsumerName="d") == DISAGREE
        assert refusal(operation, ConsumerARN=consumer_arn, StreamARN=arn + "x") == DISAGREE


def test_an_unknown_consumer_is_not_found(kinesis: Any, stream_name: str, arn: str) -> None:
    by_name = (
        "ResourceNotFoundException",
        f"Consumer nobody under stream: {stream_name}, account {ACCOUNT_ID} not found.",
    )
    by_arn = (
        "ResourceNotFoundException",
        (
            f"Consumer nobody with creation timestamp 1628505164 under stream: {stream_name}, "
            f"account {ACCOUNT_ID} not found."
        ),
    )
    consumer_arn = consumer_arn_of(stream_name, "nobody", 1628505164)

    for operation in (kinesis.describe_stream_consumer, kinesis.deregister_stream_consumer):
        assert refusal(operation, StreamARN=arn, ConsumerName="nobody") == by_name
        assert refusal(operation, ConsumerARN=consumer_arn) == by_arn


def test_consumers_of_an_unknown_stream_are_not_found(kinesis: Any, stream_name: str) -> None:
    arn = stream_arn_of(stream_name)
    expected = ("ResourceNotFoundException", f"Stream {stream_name} under account {ACCOUNT_ID} not found.")

    assert refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="c") == expected
    assert refusal(kinesis.describe_stream_consumer, StreamARN=arn, ConsumerName="c") == expected
    assert refusal(kinesis.deregister_stream_consumer, StreamARN=arn, ConsumerName="c") == expected
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn) == expected


def test_a_deregistered_consumer_is_gone_and_its_name_is_free(kinesis: Any, arn: str) -> None:
    consumer_arn = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]

    kinesis.deregister_stream_consumer(ConsumerARN=consumer_arn)

    assert refusal(kinesis.describe_stream_consumer, ConsumerARN=consumer_arn)[0] == "ResourceNotFoundException"
    assert kinesis.list_stream_consumers(StreamARN=arn)["Consumers"] == []
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")
    assert kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="c")["ConsumerDescription"]


def test_deregistering_answers_an_empty_body(daemon: Daemon, kinesis: Any, arn: str) -> None:
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")

    answer = raw(daemon.url, "DeregisterStreamConsumer", {"StreamARN": arn, "ConsumerName": "c"})

    assert (answer.status, answer.body) == (200, b"")


def test_a_name_is_registered_once_for_each_stream(kinesis: Any, stream_name: str, arn: str) -> None:
    kinesis.create_stream(StreamName=f"{stream_name}-2", ShardCount=1)
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")

    kinesis.register_stream_consumer(StreamARN=f"{arn}-2", ConsumerName="c")

    assert refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="c") == (
        "ResourceInUseException",
        f"Consumer c under stream: {stream_name}, account {ACCOUNT_ID} already exists.",
    )


def test_the_twenty_first_consumer_is_refused(kinesis: Any, stream_name: str, arn: str) -> None:
    for number in range(20):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"c{number}")

    refused = refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="one-more")

    assert refused == (
        "LimitExceededException",
        f"Stream {stream_name} already has the maximum of 20 registered consumers.",
    )
    kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="c7")
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="one-more")


def test_an_on_demand_stream_of_a_committed_account_takes_fifty(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory().client()
    kinesis.create_stream(StreamName="d", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    kinesis.create_stream(StreamName="p", ShardCount=1)
    for number in range(20):
        kinesis.register_stream_consumer(StreamARN=stream_arn_of("d"), ConsumerName=f"c{number}")
        kinesis.register_stream_consumer(StreamARN=stream_arn_of("p"), ConsumerName=f"c{number}")
    before = refusal(kinesis.register_stream_consumer, StreamARN=stream_arn_of("d"), ConsumerName="c20")
    kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})

    for number in range(20, 50):
        kinesis.register_stream_consumer(StreamARN=stream_arn_of("d"), ConsumerName=f"c{number}")

    on_demand = refusal(kinesis.register_stream_consumer, StreamARN=stream_arn_of("d"), ConsumerName="c50")
    provisioned = refusal(kinesis.register_stream_consumer, StreamARN=stream_arn_of("p"), ConsumerName="c50")
    assert before[1] == "Stream d already has the maximum of 20 registered consumers."
    assert on_demand[1] == "Stream d already has the maximum of 50 registered consumers."
    assert provisioned[1] == "Stream p already has the maximum of 20 registered consumers."


def test_consumers_are_listed_page_by_page_in_order_of_name(kinesis: Any, arn: str) -> None:
    for name in ("d", "a", "c", "b", "e"):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name)

    first = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=2)
    second = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=2, NextToken=first["NextToken"])
    third = kinesis.list_stream_consumers(StreamARN=arn, NextToken=second["NextToken"])

    pages = [[consumer["ConsumerName"] for consumer in page["Consumers"]] for page in (first, second, third)]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert "NextToken" not in third
    assert set(first["Consumers"][0]) == {
        "ConsumerName",
        "ConsumerARN",
        "ConsumerStatus",
        "ConsumerCreationTimestamp",
    }


def test_boto3_pages_through_consumers(kinesis: Any, arn: str) -> None:
    for number in range(5):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"c{number}")

    pages = kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=arn, PaginationConfig={"PageSize": 2})

    assert [len(page["Consumers"]) for page in pages] == [2, 2, 1]


def test_a_consumer_page_token_of_another_listing_is_refused(kinesis: Any, stream_name: str, arn: str) -> None:
    kinesis.create_stream(StreamName=f"{stream_name}-2", ShardCount=2)
    for name in ("a", "b"):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name)
    token = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=1)["NextToken"]
    shards_token = kinesis.list_shards(StreamName=f"{stream_name}-2", MaxResults=1)["NextToken"]

    invalid = ("InvalidArgumentException", "Invalid NextToken.")
    assert refusal(kinesis.list_stream_consumers, StreamARN=f"{arn}-2", NextToken=token) == invalid
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn, NextToken=shards_token) == invalid
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn, NextToken="bm8gdG9rZW4=") == invalid
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn, NextToken="%") == invalid


def test_a_creation_time_tells_streams_of_one_name_apart(kinesis: Any, stream_name: str, arn: str) -> None:
    created = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"][
        "StreamCreationTimestamp"
    ]

    kinesis.list_stream_consumers(StreamARN=arn, StreamCreationTimestamp=created)

    assert refusal(kinesis.list_stream_consumers, StreamARN=arn, StreamCreationTimestamp=1_400_000_000) == (
        "ResourceNotFoundException",
        f"Stream {stream_name} under account {ACCOUNT_ID} not found.",
    )
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn, StreamCreationTimestamp=created, NextToken="x") == (
        "InvalidArgumentException",
        "NextToken and StreamCreationTimestamp cannot be provided together.",
    )


def test_arns_of_consumers_use_the_region_of_the_request(daemon: Daemon, stream_name: str) -> None:
    kinesis = client_of(daemon.url, region="eu-central-1")
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    arn = stream_arn_of(stream_name, region="eu-central-1")

    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]

    assert consumer["ConsumerARN"].startswith(f"{arn}/consumer/c:")


def test_an_arn_with_no_stream_in_it_is_refused(kinesis: Any) -> None:
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/a:b"

    refused = refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="c")

    assert refused == ("InvalidArgumentException", f"Invalid stream ARN: {arn}")


def test_a_stream_with_consumers_is_deleted_only_when_asked_to(kinesis: Any, stream_name: str, arn: str) -> None:
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")

    refused = refusal(kinesis.delete_stream, StreamName=stream_name)
    kinesis.delete_stream(StreamName=stream_name, EnforceConsumerDeletion=True)

    assert refused[0] == "ResourceInUseException"
    assert refusal(kinesis.list_stream_consumers, StreamARN=arn)[0] == "ResourceNotFoundException"


def test_the_summary_counts_registered_consumers(kinesis: Any, stream_name: str, arn: str) -> None:
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")
    kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="d")
    kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="c")

    summary = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]

    assert summary["ConsumerCount"] == 1


def test_states_are_held_and_a_sixth_consumer_waits_for_the_first_five(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--transition-ms", "2000").client()
    arn = stream_arn_of("slow")
    kinesis.create_stream(StreamName="slow", ShardCount=1)
    creating = refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="early")
    kinesis.get_waiter("stream_exists").wait(StreamName="slow", WaiterConfig={"Delay": 0, "MaxAttempts": 10_000})

    for number in range(5):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"c{number}")
    sixth = refusal(kinesis.register_stream_consumer, StreamARN=arn, ConsumerName="c5")
    statuses = [consumer["ConsumerStatus"] for consumer in kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]]

    assert creating == (
        "ResourceInUseException",
        f"Stream slow under account {ACCOUNT_ID} not ACTIVE, instead in state CREATING",
    )
    assert sixth == (
        "LimitExceededException",
        "Only five consumers can be in the CREATING state at the same time.",
    )
    assert statuses == ["CREATING"] * 5
    wait_for_status(kinesis, arn, "c4", "ACTIVE")
    kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="c4")
    kinesis.deregister_stream_consumer(StreamARN=arn, ConsumerName="c4")
    assert status_of(kinesis, arn, "c4") == "DELETING"
    wait_for_status(kinesis, arn, "c4", None)


def status_of(kinesis: Any, arn: str, name: str) -> str | None:
    consumers = kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]
    return next((consumer["ConsumerStatus"] for consumer in consumers if consumer["ConsumerName"] == name), None)


def wait_for_status(kinesis: Any, arn: str, name: str, wanted: str | None) -> None:
    assert any(status_of(kinesis, arn, name) == wanted for _ in range(20_000))
