"""Resource policies of streams and consumers, through boto3 and a real daemon."""

from typing import Any

import orjson
import pytest

from tests.conftest import DaemonFactory
from tests.kinesis.refusals import ACCOUNT_ID, consumer_arn_of, refusal, stream_arn_of

STATEMENT = {
    "Sid": "readers",
    "Effect": "Allow",
    "Principal": {"AWS": ["111122223333", "arn:aws:iam::444455556666:role/reader"]},
    "Action": ["kinesis:GetRecords", "kinesis:ListShards"],
    "Resource": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
}


def policy(**changes: Any) -> str:
    statement = {name: value for name, value in (STATEMENT | changes).items() if value is not None}
    return orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()


@pytest.fixture
def arn(kinesis: Any, stream_name: str) -> str:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_arn_of(stream_name)


def test_a_policy_is_answered_as_it_was_put(kinesis: Any, arn: str) -> None:
    spaced = policy().replace(",", ", ")

    kinesis.put_resource_policy(ResourceARN=arn, Policy=spaced)

    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == spaced


def test_putting_a_policy_replaces_the_one_before(kinesis: Any, arn: str) -> None:
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy())

    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy(Effect="Deny"))

    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == policy(Effect="Deny")


def test_a_resource_without_a_policy_answers_an_empty_one(kinesis: Any, arn: str) -> None:
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"


def test_a_deleted_policy_is_gone_and_cannot_be_deleted_again(kinesis: Any, arn: str) -> None:
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy())

    kinesis.delete_resource_policy(ResourceARN=arn)

    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"
    assert refusal(kinesis.delete_resource_policy, ResourceARN=arn) == (
        "ResourceNotFoundException",
        f"No resource policy found for resource ARN {arn}.",
    )


def test_a_consumer_has_a_policy_of_its_own(kinesis: Any, arn: str) -> None:
    registered = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")
    consumer_arn = registered["Consumer"]["ConsumerARN"]

    kinesis.put_resource_policy(ResourceARN=consumer_arn, Policy=policy())

    assert kinesis.get_resource_policy(ResourceARN=consumer_arn)["Policy"] == policy()
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"
    kinesis.delete_resource_policy(ResourceARN=consumer_arn)
    assert kinesis.get_resource_policy(ResourceARN=consumer_arn)["Policy"] == "{}"


@pytest.mark.parametrize(
    "accepted",
    [
        policy(Principal="*"),
        policy(Principal=None, NotPrincipal={"Service": "lambda.amazonaws.com"}),
        policy(Action="kinesis:*"),
        policy(Action=None, NotAction=["kinesis:PutRecord"]),
        policy(Resource=None, NotResource="*"),
        policy(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        orjson.dumps({"Statement": STATEMENT}).decode(),
        orjson.dumps({"Version": "2008-10-17", "Id": "old", "Statement": [STATEMENT, STATEMENT]}).decode(),
    ],
)
def test_forms_of_policies_that_iam_knows_are_accepted(kinesis: Any, arn: str, accepted: str) -> None:
    kinesis.put_resource_policy(ResourceARN=arn, Policy=accepted)

    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == accepted


@pytest.mark.parametrize("text", ["", "no json", '{"Version":', "[]", '"text"', "7"])
def test_what_is_not_a_json_object_is_refused(kinesis: Any, arn: str, text: str) -> None:
    refused = refusal(kinesis.put_resource_policy, ResourceARN=arn, Policy=text)

    assert refused == (
        "InvalidArgumentException",
        "Policy validation error: This policy contains invalid Json",
    )
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "The policy must have a Statement"),
        ('{"Statement": []}', "The policy must have a Statement"),
        ('{"Version": "2020-01-01", "Statement": []}', "Version must be one of 2008-10-17, 2012-10-17"),
        ('{"Statement": ["all"]}', "A Statement must be an object"),
        ('{"Statement": [], "Rules": 1}', "The policy has an unknown element Rules"),
        (policy(Effect="Perhaps"), "A Statement's Effect must be Allow or Deny"),
        (policy(Effect=None), "A Statement's Effect must be Allow or Deny"),
        (policy(Principal=None), "A Statement must have either Principal or NotPrincipal"),
        (policy(NotPrincipal="*"), "A Statement must have either Principal or NotPrincipal"),
        (policy(Principal="111122223333"), "A Statement's Principal is not valid"),
        (policy(Principal={}), "A Statement's Principal is not valid"),
        (policy(Principal={"AWS": []}), "A Statement's Principal is not valid"),
        (policy(Action=None), "A Statement must have either Action or NotAction"),
        (policy(Action=[]), "A Statement's Action is not valid"),
        (policy(Action=7), "A Statement's Action is not valid"),
        (policy(Resource=None), "A Statement must have either Resource or NotResource"),
        (policy(Resource=[""]), "A Statement's Resource is not valid"),
        (policy(Condition="always"), "A Statement's Condition must be an object"),
        (policy(Sid=7), "A Statement's Sid must be a string"),
        (policy(Effort="much"), "A Statement has an unknown element Effort"),
    ],
)
def test_what_iam_would_not_understand_is_refused(kinesis: Any, arn: str, text: str, reason: str) -> None:
    refused = refusal(kinesis.put_resource_policy, ResourceARN=arn, Policy=text)

    assert refused == ("InvalidArgumentException", f"Policy validation error: {reason}")


def test_a_policy_of_twenty_kib_is_taken_and_one_more_byte_is_not(kinesis: Any, arn: str) -> None:
    largest = policy().ljust(20 * 1024)

    kinesis.put_resource_policy(ResourceARN=arn, Policy=largest)

    assert refusal(kinesis.put_resource_policy, ResourceARN=arn, Policy=largest + " ") == (
        "InvalidArgumentException",
        "Policy validation error: This policy is larger than 20480 bytes",
    )


def test_policies_of_an_unknown_stream_are_not_found(kinesis: Any, stream_name: str) -> None:
    arn = stream_arn_of(stream_name)
    expected = ("ResourceNotFoundException", f"Stream {stream_name} under account {ACCOUNT_ID} not found.")

    assert refusal(kinesis.put_resource_policy, ResourceARN=arn, Policy="no json") == expected
    assert refusal(kinesis.get_resource_policy, ResourceARN=arn) == expected
    assert refusal(kinesis.delete_resource_policy, ResourceARN=arn) == expected


def test_policies_of_an_unknown_consumer_are_not_found(kinesis: Any, stream_name: str, arn: str) -> None:
    consumer_arn = consumer_arn_of(stream_name, "nobody", 7)
    expected = (
        "ResourceNotFoundException",
        f"Consumer nobody with creation timestamp 7 under stream: {stream_name}, account {ACCOUNT_ID} not found.",
    )

    assert refusal(kinesis.put_resource_policy, ResourceARN=consumer_arn, Policy=policy()) == expected
    assert refusal(kinesis.get_resource_policy, ResourceARN=consumer_arn) == expected
    assert refusal(kinesis.delete_resource_policy, ResourceARN=consumer_arn) == expected


def test_an_arn_of_something_else_is_refused(kinesis: Any) -> None:
    code, sentence = refusal(kinesis.get_resource_policy, ResourceARN="arn:aws:kinesis:us-east-1:000000000000:topic/x")

    assert code == "ValidationException"
    assert "at 'resourceARN' failed to satisfy constraint" in sentence


def test_a_policy_waits_until_stream_and_consumer_are_active(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--transition-ms", "1500")
    kinesis = daemon.client()
    kinesis.create_stream(StreamName="slow", ShardCount=1)
    arn = stream_arn_of("slow")

    creating = refusal(kinesis.put_resource_policy, ResourceARN=arn, Policy=policy())
    kinesis.get_waiter("stream_exists").wait(StreamName="slow", WaiterConfig={"Delay": 0, "MaxAttempts": 10_000})
    consumer_arn = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    registering = refusal(kinesis.put_resource_policy, ResourceARN=consumer_arn, Policy=policy())

    assert creating == (
        "ResourceInUseException",
        f"Stream slow under account {ACCOUNT_ID} not ACTIVE, instead in state CREATING",
    )
    assert registering == (
        "ResourceInUseException",
        (
            f"Consumer c with creation timestamp {consumer_arn.rpartition(':')[2]} "
            f"under stream slow and account {ACCOUNT_ID} is not in ACTIVE status."
        ),
    )
