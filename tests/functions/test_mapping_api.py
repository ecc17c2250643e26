"""Event source mappings by the API: documents, defaults, refusals, states; with boto3 against a real daemon."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functions.lambdas import deploy
from tests.functions.refused import refusal_of
from tests.workers.wire import until

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000"


@pytest.fixture
def source(kinesis: Any, stream_name: str) -> Iterator[str]:
    """Give the ARN of a stream of two shards."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    yield kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.delete_stream(StreamName=stream_name, EnforceConsumerDeletion=True)


def create(client: Any, name: str, source: str, **members: Any) -> Any:
    return client.create_event_source_mapping(
        **{"FunctionName": name, "EventSourceArn": source, "StartingPosition": "LATEST", **members}
    )


def bare(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def settled(client: Any, mapping: str) -> Any:
    def is_settled() -> bool:
        return client.get_event_source_mapping(UUID=mapping)["State"] in ("Enabled", "Disabled")

    until(is_settled)
    return client.get_event_source_mapping(UUID=mapping)


def test_a_new_mapping_is_told_with_all_defaults(functions: Any, name: str, source: str) -> None:
    deploy(functions, name)

    answer = create(functions, name, source)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert bare(answer) == {
        "UUID": answer["UUID"],
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "EventSourceArn": source,
        "EventSourceMappingArn": f"{ACCOUNT}:event-source-mapping:{answer['UUID']}",
        "FunctionArn": f"{ACCOUNT}:function:{name}",
        "FunctionResponseTypes": [],
        "LastModified": answer["LastModified"],
        "LastProcessingResult": "No records processed",
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST",
        "State": "Creating",
        "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
    }
    assert str(uuid.UUID(answer["UUID"])) == answer["UUID"]
    assert settled(functions, answer["UUID"])["State"] == "Enabled"


def test_every_parameter_is_kept_and_told(functions: Any, name: str, source: str) -> None:
    deploy(functions, name)
    members = {
        "BatchSize": 7,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumBatchingWindowInSeconds": 3,
        "MaximumRecordAgeInSeconds": 60,
        "MaximumRetryAttempts": 4,
        "ParallelizationFactor": 5,
        "TumblingWindowInSeconds": 30,
        "FilterCriteria": {"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]},
        "DestinationConfig": {"OnFailure": {"Destination": source}},
        "MetricsConfig": {"Metrics": ["EventCount"]},
        "Tags": {"team": "web"},
    }

    made = create(functions, name, source, **members)

    told = functions.get_event_source_mapping(UUID=made["UUID"])
    tags = members.pop("Tags")
    assert {key: told[key] for key in members} == members
    assert functions.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == tags
    functions.untag_resource(Resource=made["EventSourceMappingArn"], TagKeys=["team"])
    assert functions.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {}


def test_mappings_are_listed_by_source_and_by_function(functions: Any, name: str, source: str, kinesis: Any) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    plain = create(functions, name, source)["UUID"]
    by_alias = create(functions, f"{name}:live", source)["UUID"]

    of_source = functions.list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]
    of_function = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    of_alias = functions.list_event_source_mappings(FunctionName=f"{name}:live")["EventSourceMappings"]
    pages = list(
        functions.get_paginator("list_event_source_mappings").paginate(
            EventSourceArn=source, PaginationConfig={"PageSize": 1}
        )
    )

    assert {each["UUID"] for each in of_source} == {plain, by_alias} == {each["UUID"] for each in of_function}
    assert [each["UUID"] for each in of_alias] == [by_alias]
    assert of_alias[0]["FunctionArn"] == f"{ACCOUNT}:function:{name}:live"
    assert [len(page["EventSourceMappings"]) for page in pages] == [1, 1]


def test_a_mapping_is_stopped_started_and_changed(functions: Any, name: str, source: str) -> None:
    deploy(functions, name)
    mapping = create(functions, name, source)["UUID"]
    settled(functions, mapping)

    stopping = functions.update_event_source_mapping(UUID=mapping, Enabled=False)["State"]
    stopped = settled(functions, mapping)["State"]
    starting = functions.update_event_source_mapping(UUID=mapping, Enabled=True)["State"]
    started = settled(functions, mapping)["State"]
    changing = functions.update_event_source_mapping(UUID=mapping, BatchSize=9)
    changed = settled(functions, mapping)

    assert (stopping, stopped, starting, started) == ("Disabling", "Disabled", "Enabling", "Enabled")
    assert (changing["State"], changing["BatchSize"]) == ("Updating", 9)
    assert (changed["State"], changed["BatchSize"]) == ("Enabled", 9)


def test_a_deleted_mapping_is_gone(functions: Any, name: str, source: str) -> None:
    deploy(functions, name)
    mapping = create(functions, name, source)["UUID"]

    deleting = functions.delete_event_source_mapping(UUID=mapping)

    def is_gone() -> bool:
        try:
            functions.get_event_source_mapping(UUID=mapping)
        except functions.exceptions.ResourceNotFoundException:
            return True
        return False

    until(is_gone)
    assert (deleting["ResponseMetadata"]["HTTPStatusCode"], deleting["State"]) == (202, "Deleting")
    assert refusal_of(functions.get_event_source_mapping, UUID=mapping) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


def test_the_same_function_and_source_twice_are_refused(functions: Any, name: str, source: str) -> None:
    deploy(functions, name)
    first = create(functions, name, source)["UUID"]

    refusal = refusal_of(lambda: create(functions, name, source))

    assert refusal == (
        409,
        "ResourceConflictException",
        (
            f'The event source arn (" {source} ") and function (" {name} ") provided mapping already exists. '
            f"Please update or delete the existing mapping with UUID {first}"
        ),
    )


NO_STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/none"


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"EventSourceArn": NO_STREAM}, "InvalidParameterValueException", f"Stream not found: {NO_STREAM}"),
        (
            {"StartingPosition": "invalid"},
            "ValidationException",
            (
                "1 validation error detected: Value 'invalid' at 'startingPosition' failed to satisfy constraint: "
                "Member must satisfy enum value set: [TRIM_HORIZON, LATEST, AT_TIMESTAMP]"
            ),
        ),
        (
            {"StartingPosition": None},
            "ValidationException",
            (
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null."
            ),
        ),
        (
            {"BatchSize": 10_001},
            "ValidationException",
            (
                "1 validation error detected: Value '10001' at 'batchSize' failed to satisfy constraint: "
                "Member must have value less than or equal to 10000"
            ),
        ),
        (
            {"FilterCriteria": {"Filters": [{"Pattern": '{"data": "text"}'}]}},
            "InvalidParameterValueException",
            "Invalid filter pattern definition.",
        ),
        (
            {"DestinationConfig": {"OnSuccess": {"Destination": NO_STREAM}}},
            "InvalidParameterValueException",
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        ({"ProvisionedPollerConfig": {"MinimumPollers": 1}}, "InvalidParameterValueException", None),
        ({"MaximumRecordAgeInSeconds": 30}, "ValidationException", None),
        ({"ParallelizationFactor": 11}, "ValidationException", None),
        ({"MaximumBatchingWindowInSeconds": 301}, "ValidationException", None),
        ({"TumblingWindowInSeconds": 901}, "ValidationException", None),
        ({"StartingPosition": "AT_TIMESTAMP"}, "InvalidParameterValueException", None),
        (
            {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 4_000_000_000},
            "InvalidParameterValueException",
            None,
        ),
        ({"FunctionName": "none"}, "ResourceNotFoundException", f"Function not found: {ACCOUNT}:function:none"),
        (
            {"EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:queue"},
            "InvalidParameterValueException",
            None,
        ),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:queue"}}},
            "InvalidParameterValueException",
            None,
        ),
    ],
)
def test_what_cannot_be_a_mapping_is_refused(
    functions: Any, name: str, source: str, members: dict[str, Any], code: str, message: str | None
) -> None:
    deploy(functions, name)
    given = {"FunctionName": name, "EventSourceArn": source, "StartingPosition": "LATEST", **members}

    refusal = refusal_of(
        functions.create_event_source_mapping, **{key: value for key, value in given.items() if value is not None}
    )

    assert refusal.code == code
    assert message is None or refusal.message == message
    assert functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []


def test_a_function_that_is_deleted_leaves_its_mapping(functions: Any, name: str, source: str, kinesis: Any) -> None:
    deploy(functions, name)
    mapping = create(functions, name, source)["UUID"]
    settled(functions, mapping)
    functions.delete_function(FunctionName=name)

    kinesis.put_record(StreamName=source.rpartition("/")[2], Data=b"x", PartitionKey="k")

    def has_problem() -> bool:
        told = functions.get_event_source_mapping(UUID=mapping)
        return bool(told["LastProcessingResult"].startswith("PROBLEM: Function not found"))

    until(has_problem)
    assert functions.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"
    deploy(functions, name)
    until(lambda: functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK")
