"""Published versions and aliases, with boto3 against a real daemon."""

from typing import Any

import pytest

from tests.functions.lambdas import deploy, package
from tests.functions.refused import refusal_of

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000:function"


def versions_of(functions: Any, name: str) -> list[str]:
    return [each["Version"] for each in functions.list_versions_by_function(FunctionName=name)["Versions"]]


def test_a_version_keeps_what_latest_was(functions: Any, name: str) -> None:
    deploy(functions, name, Description="first")

    published = functions.publish_version(FunctionName=name)
    functions.update_function_configuration(FunctionName=name, Description="second", Timeout=9)

    assert published["FunctionArn"] == f"{ACCOUNT}:{name}:1"
    assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
    told = functions.get_function_configuration(FunctionName=name, Qualifier="1")
    assert (told["Version"], told["Description"], told["Timeout"]) == ("1", "first", 3)
    assert functions.get_function_configuration(FunctionName=name)["Timeout"] == 9


def test_publishing_what_did_not_change_gives_the_last_version_again(functions: Any, name: str) -> None:
    deploy(functions, name)

    numbers = [functions.publish_version(FunctionName=name, Description=text)["Version"] for text in ("a", "b")]
    functions.update_function_code(FunctionName=name, ZipFile=package("z = 1\n"))
    third = functions.publish_version(FunctionName=name)["Version"]

    assert (numbers, third) == (["1", "1"], "2")
    assert versions_of(functions, name) == ["$LATEST", "1", "2"]


@pytest.mark.parametrize("members", [{"Description": "second"}, {"Timeout": 3}])
def test_any_update_makes_the_next_version_another_one(functions: Any, name: str, members: dict[str, Any]) -> None:
    deploy(functions, name, Description="first", Timeout=3)
    functions.publish_version(FunctionName=name)

    functions.update_function_configuration(FunctionName=name, **members)
    numbers = [functions.publish_version(FunctionName=name)["Version"] for _ in range(2)]

    assert numbers == ["2", "2"]


def test_a_number_is_never_given_twice(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    functions.delete_function(FunctionName=name, Qualifier="1")

    functions.update_function_configuration(FunctionName=name, Timeout=8)

    assert functions.publish_version(FunctionName=name)["Version"] == "2"
    assert versions_of(functions, name) == ["$LATEST", "2"]


def test_publishing_another_hash_or_revision_is_refused(functions: Any, name: str) -> None:
    deploy(functions, name)

    other_hash = refusal_of(functions.publish_version, FunctionName=name, CodeSha256="x")
    other_revision = refusal_of(functions.publish_version, FunctionName=name, RevisionId="x")

    assert other_hash.code == "InvalidParameterValueException"
    assert other_hash.message.startswith("CodeSHA256 (x) is different from current CodeSHA256 in $LATEST (")
    assert other_revision.status == 412


def test_an_alias_stands_for_a_version(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)

    made = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="d")

    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert {key: made[key] for key in ("AliasArn", "Name", "FunctionVersion", "Description")} == {
        "AliasArn": f"{ACCOUNT}:{name}:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "d",
    }
    assert functions.get_alias(FunctionName=name, Name="live")["RevisionId"] == made["RevisionId"]
    assert functions.get_function_configuration(FunctionName=f"{name}:live")["Version"] == "1"


def test_an_alias_is_changed_at_the_revision_that_is_named(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    made = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    weights: dict[str, Any] = {"AdditionalVersionWeights": {}}
    changed = functions.update_alias(
        FunctionName=name, Name="live", Description="new", RoutingConfig=weights, RevisionId=made["RevisionId"]
    )
    late = refusal_of(functions.update_alias, FunctionName=name, Name="live", RevisionId=made["RevisionId"])

    assert (changed["Description"], changed["FunctionVersion"]) == ("new", "1")
    assert (late.status, late.code) == (412, "PreconditionFailedException")


def test_aliases_are_listed_by_the_version_they_stand_for(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="b", FunctionVersion="1")
    functions.create_alias(FunctionName=name, Name="a", FunctionVersion="$LATEST")

    every = functions.list_aliases(FunctionName=name)["Aliases"]
    of_one = functions.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]

    assert [each["Name"] for each in every] == ["a", "b"]
    assert [each["Name"] for each in of_one] == ["b"]


def test_a_deleted_alias_is_gone_and_deleting_it_again_is_no_error(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")

    statuses = [
        functions.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]["HTTPStatusCode"] for _ in range(2)
    ]

    assert statuses == [204, 204]
    assert refusal_of(functions.get_alias, FunctionName=name, Name="live") == (
        404,
        "ResourceNotFoundException",
        f"Cannot find alias arn: {ACCOUNT}:{name}:live",
    )


@pytest.mark.parametrize(
    ("members", "status", "sentence"),
    [
        ({"Name": "live", "FunctionVersion": "7"}, 404, f"Function not found: {ACCOUNT}:{{name}}:7"),
        ({"Name": "taken", "FunctionVersion": "1"}, 409, f"Alias already exists: {ACCOUNT}:{{name}}:taken"),
        (
            {
                "Name": "live",
                "FunctionVersion": "$LATEST",
                "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
            },
            400,
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        (
            {"Name": "live", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            400,
            "Invalid function version 1. Function version 1 is already included.",
        ),
    ],
)
def test_an_alias_of_what_is_not_there_is_refused(
    functions: Any, name: str, members: dict[str, Any], status: int, sentence: str
) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="taken", FunctionVersion="1")

    refusal = refusal_of(functions.create_alias, FunctionName=name, **members)

    assert (refusal.status, refusal.message) == (status, sentence.format(name=name))


def test_a_version_that_an_alias_stands_for_is_not_deleted(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    refusal = refusal_of(functions.delete_function, FunctionName=name, Qualifier="1")

    assert refusal.status == 409
    assert versions_of(functions, name) == ["$LATEST", "1"]


def test_a_qualifier_in_name_and_query_must_agree(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.publish_version(FunctionName=name)

    refusal = refusal_of(functions.get_function, FunctionName=f"{name}:1", Qualifier="$LATEST")

    assert refusal.message == ("The derived qualifier from the function name does not match the specified qualifier.")
