"""What belongs to a function beside its code: policies, tags, concurrency, event invoke settings, and fixed answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from streamd.functions.model import load_model
from streamd.functions.operations import REFUSED_FEATURE_BY_NAME
from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client, package
from tests.functions.refused import refusal_of

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000:function"


def test_a_statement_is_written_as_aws_writes_it(functions: Any, name: str) -> None:
    deploy(functions, name)

    answer = functions.add_permission(
        FunctionName=name,
        StatementId="from-s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::photos",
        SourceAccount="000000000000",
    )
    told = functions.get_policy(FunctionName=name)

    statement = {
        "Sid": "from-s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ACCOUNT}:{name}",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"},
        },
    }
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert json.loads(answer["Statement"]) == statement
    assert json.loads(told["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert told["RevisionId"]


def test_statements_are_removed_one_by_one_and_the_policy_with_the_last(functions: Any, name: str) -> None:
    deploy(functions, name)
    allow = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "123456789012"}
    functions.add_permission(StatementId="a", **allow)

    doubled = refusal_of(functions.add_permission, StatementId="a", **allow)
    missing = refusal_of(functions.remove_permission, FunctionName=name, StatementId="b")
    functions.remove_permission(FunctionName=name, StatementId="a")
    gone = refusal_of(functions.get_policy, FunctionName=name)

    assert (doubled.status, doubled.code) == (409, "ResourceConflictException")
    assert missing == (404, "ResourceNotFoundException", "Statement b is not found in resource policy.")
    assert gone == (404, "ResourceNotFoundException", "The resource you requested does not exist.")


def test_a_whole_policy_is_put_told_and_removed(functions: Any, name: str) -> None:
    deploy(functions, name)
    arn = f"{ACCOUNT}:{name}"
    statement = {"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": arn}

    put = functions.put_resource_policy(
        ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    told = functions.get_resource_policy(ResourceArn=arn)
    functions.delete_resource_policy(ResourceArn=arn)

    assert json.loads(told["Policy"])["Statement"] == [statement]
    assert put["RevisionId"] == told["RevisionId"]
    assert refusal_of(functions.get_resource_policy, ResourceArn=arn).status == 404


def test_tags_are_set_told_and_removed(functions: Any, name: str) -> None:
    arn = deploy(functions, name, Tags={"a": "1"})["FunctionArn"]

    functions.tag_resource(Resource=arn, Tags={"b": "2", "a": "3"})
    told = functions.list_tags(Resource=arn)["Tags"]
    functions.untag_resource(Resource=arn, TagKeys=["a", "none"])

    assert told == {"a": "3", "b": "2"}
    assert functions.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert refusal_of(functions.tag_resource, Resource=f"{arn}:1", Tags={"a": "1"}).status == 400
    assert refusal_of(functions.tag_resource, Resource=arn, Tags={"aws:x": "1"}).status == 400


def test_concurrency_is_reserved_told_and_given_back(daemon_factory: Callable[..., Daemon]) -> None:
    functions = lambda_client(daemon_factory("--function-concurrency", "10"))
    deploy(functions, "f")
    deploy(functions, "g")

    before = functions.get_function_concurrency(FunctionName="f")
    functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=6)
    settings = functions.get_account_settings()
    too_many = refusal_of(functions.put_function_concurrency, FunctionName="g", ReservedConcurrentExecutions=4)
    functions.delete_function_concurrency(FunctionName="f")

    assert "ReservedConcurrentExecutions" not in before
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 10
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 4
    assert settings["AccountUsage"] == {"TotalCodeSize": 2 * len(package()), "FunctionCount": 2}
    assert too_many.message == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [1]."
    )
    assert "ReservedConcurrentExecutions" not in functions.get_function_concurrency(FunctionName="f")


def test_event_settings_are_put_merged_told_and_removed(functions: Any, name: str) -> None:
    deploy(functions, name)

    put = functions.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60
    )
    merged = functions.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    listed = functions.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    put_again = functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    functions.delete_function_event_invoke_config(FunctionName=name)

    assert put["FunctionArn"] == f"{ACCOUNT}:{name}:$LATEST"
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert (merged["MaximumRetryAttempts"], merged["MaximumEventAgeInSeconds"]) == (0, 60)
    assert len(listed) == 1
    assert "MaximumEventAgeInSeconds" not in put_again
    assert refusal_of(functions.get_function_event_invoke_config, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"The function {ACCOUNT}:{name}:$LATEST doesn't have an EventInvokeConfig",
    )
    assert refusal_of(functions.put_function_event_invoke_config, FunctionName=name).status == 400


def test_what_tools_read_on_every_refresh_is_answered(functions: Any, name: str) -> None:
    deploy(functions, name)

    assert functions.get_function_code_signing_config(FunctionName=name)["CodeSigningConfigArn"] == ""
    assert functions.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    put = functions.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert put["UpdateRuntimeOn"] == "FunctionUpdate"
    assert functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert functions.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"


@pytest.mark.parametrize("operation", sorted(REFUSED_FEATURE_BY_NAME))
def test_an_operation_that_is_not_there_is_refused_by_its_name(daemon: Daemon, functions: Any, operation: str) -> None:
    method = functions.meta.method_to_api_mapping
    call = getattr(functions, next(python for python, api in method.items() if api == operation))
    members = {
        name: "x"
        for name, (place, _) in load_model().operations[operation].places.items()
        if place == "uri" and name != "VersionNumber"
    }
    if "VersionNumber" in load_model().operations[operation].places:
        members["VersionNumber"] = "1"

    refusal = refusal_of(call, **members)

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert operation in refusal.message
