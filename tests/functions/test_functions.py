"""Functions made, told of, changed and deleted, with boto3 against a real daemon."""

import json
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.daemons import Daemon
from tests.functions.lambdas import ROLE, deploy, lambda_client, package
from tests.functions.refused import refusal_of

SAMPLES = Path(__file__).parent / "samples"
ACCOUNT = "arn:aws:lambda:us-east-1:000000000000"


def bare(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def create(client: Any, name: str, **settings: Any) -> Any:
    members = {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": package()},
    }
    return client.create_function(**{**members, **settings})


def test_a_new_function_is_told_as_aws_tells_it(functions: Any, name: str) -> None:
    content = package()

    answer = create(functions, name, Code={"ZipFile": content})

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert bare(answer) == {
        "FunctionName": name,
        "FunctionArn": f"{ACCOUNT}:function:{name}",
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(content),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": answer["LastModified"],
        "CodeSha256": b64encode(sha256(content).digest()).decode(),
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": answer["RevisionId"],
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:streamd"},
    }
    assert answer["LastModified"].endswith("+0000")


def test_a_function_becomes_active_with_another_revision(functions: Any, name: str) -> None:
    made = create(functions, name, Tags={"team": "web"})

    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    told = functions.get_function(FunctionName=name)

    assert told["Configuration"]["State"] == "Active"
    assert told["Configuration"]["LastUpdateStatus"] == "Successful"
    assert told["Configuration"]["RevisionId"] != made["RevisionId"]
    assert told["Tags"] == {"team": "web"}
    assert functions.get_function_configuration(FunctionName=name)["State"] == "Active"


def test_states_are_held_for_testers_of_waiters(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory("--transition-ms", "1500")
    client = lambda_client(daemon)
    create(client, "slow")

    assert client.get_function_configuration(FunctionName="slow")["State"] == "Pending"
    assert refusal_of(client.invoke, FunctionName="slow").code == "ResourceConflictException"
    updating = refusal_of(client.update_function_configuration, FunctionName="slow", Timeout=5)
    assert updating.code == "ResourceConflictException"
    assert updating.message == (
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {ACCOUNT}:function:slow"
    )
    client.get_waiter("function_active").wait(FunctionName="slow", WaiterConfig={"Delay": 1})
    changed = client.update_function_configuration(FunctionName="slow", Timeout=5)
    assert (changed["State"], changed["LastUpdateStatus"]) == ("Active", "InProgress")
    client.get_waiter("function_updated").wait(FunctionName="slow", WaiterConfig={"Delay": 1})


def test_the_code_can_be_fetched_from_the_address_it_is_told(functions: Any, name: str) -> None:
    content = package("x = 1\n")
    create(functions, name, Code={"ZipFile": content})

    location = functions.get_function(FunctionName=name)["Code"]["Location"]

    with urllib.request.urlopen(location, timeout=10) as answer:
        assert answer.read() == content
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(location[:-1] + "x", timeout=10)
    assert caught.value.code == 403
    caught.value.close()


def test_functions_and_versions_survive_kill_9(daemon_factory: Callable[..., Daemon], tmp_path: Path) -> None:
    first = daemon_factory(data=tmp_path / "kept")
    client = lambda_client(first)
    create(client, "kept", Environment={"Variables": {"AB": "b"}})
    client.publish_version(FunctionName="kept")
    client.create_alias(FunctionName="kept", Name="live", FunctionVersion="1")
    client.put_function_concurrency(FunctionName="kept", ReservedConcurrentExecutions=1)
    before = bare(client.get_function_configuration(FunctionName="kept"))

    first.kill()
    again = lambda_client(daemon_factory(data=tmp_path / "kept"))

    assert bare(again.get_function_configuration(FunctionName="kept")) == before
    assert again.get_function_configuration(FunctionName="kept:live")["Version"] == "1"
    assert again.get_function_concurrency(FunctionName="kept")["ReservedConcurrentExecutions"] == 1
    with urllib.request.urlopen(again.get_function(FunctionName="kept")["Code"]["Location"], timeout=10) as answer:
        assert answer.read() == package()


@pytest.mark.parametrize(
    "identifier",
    [
        "{name}",
        "function:{name}",
        "000000000000:function:{name}",
        f"{ACCOUNT}:function:{{name}}",
        f"{ACCOUNT}:function:{{name}}:$LATEST",
        "{name}:$LATEST",
    ],
)
def test_a_function_is_found_by_every_form_of_its_name(functions: Any, name: str, identifier: str) -> None:
    create(functions, name)

    told = functions.get_function_configuration(FunctionName=identifier.format(name=name))

    assert told["FunctionName"] == name


def test_the_members_of_an_update_are_changed_and_the_others_stay(functions: Any, name: str) -> None:
    create(functions, name, Description="before", Environment={"Variables": {"AA": "1"}})

    answer = functions.update_function_configuration(
        FunctionName=name,
        MemorySize=256,
        Timeout=7,
        Environment={"Variables": {"BB": "2"}},
        EphemeralStorage={"Size": 1024},
        TracingConfig={"Mode": "Active"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    told = functions.get_function_configuration(FunctionName=name)

    assert answer["LastUpdateStatus"] == "InProgress"
    assert told["Description"] == "before"
    assert (told["MemorySize"], told["Timeout"], told["EphemeralStorage"]["Size"]) == (256, 7, 1024)
    assert told["Environment"] == {"Variables": {"BB": "2"}}
    assert told["TracingConfig"] == {"Mode": "Active"}
    assert told["VpcConfig"]["SubnetIds"] == ["subnet-1"]


def test_new_code_has_another_hash_and_a_dry_run_changes_nothing(functions: Any, name: str) -> None:
    made = create(functions, name)

    tried = functions.update_function_code(FunctionName=name, ZipFile=package("y = 2\n"), DryRun=True)
    after_trial = functions.get_function_configuration(FunctionName=name)
    functions.update_function_code(FunctionName=name, ZipFile=package("y = 2\n"))
    told = functions.get_function_configuration(FunctionName=name)

    assert after_trial["CodeSha256"] == made["CodeSha256"] != tried["CodeSha256"]
    assert told["CodeSha256"] == tried["CodeSha256"]


def test_a_revision_that_is_not_the_present_one_is_refused(functions: Any, name: str) -> None:
    create(functions, name)
    present = functions.get_function_configuration(FunctionName=name)["RevisionId"]

    functions.update_function_configuration(FunctionName=name, Timeout=4, RevisionId=present)
    refusal = refusal_of(functions.update_function_configuration, FunctionName=name, Timeout=5, RevisionId=present)

    assert (refusal.status, refusal.code) == (412, "PreconditionFailedException")


def test_functions_are_listed_in_pages(daemon_factory: Callable[..., Daemon]) -> None:
    client = lambda_client(daemon_factory())
    names = [f"f{number}" for number in range(7)]
    for each in names:
        create(client, each)
    client.publish_version(FunctionName="f3")

    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    every = client.list_functions(FunctionVersion="ALL")["Functions"]

    assert [len(page["Functions"]) for page in pages] == [3, 3, 1]
    assert [each["FunctionName"] for page in pages for each in page["Functions"]] == names
    assert "State" not in pages[0]["Functions"][0]
    assert [(each["FunctionName"], each["Version"]) for each in every][3:5] == [("f3", "$LATEST"), ("f3", "1")]
    assert refusal_of(client.list_functions, Marker="bm9uZQ==").code == "InvalidParameterValueException"


def test_a_deleted_function_is_gone_and_its_name_is_free(functions: Any, name: str) -> None:
    create(functions, name)
    functions.publish_version(FunctionName=name)

    answer = functions.delete_function(FunctionName=name)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    refusal = refusal_of(functions.get_function, FunctionName=name)
    assert refusal == (404, "ResourceNotFoundException", f"Function not found: {ACCOUNT}:function:{name}")
    create(functions, name)
    assert [each["Version"] for each in functions.list_versions_by_function(FunctionName=name)["Versions"]] == [
        "$LATEST"
    ]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (
            {"Runtime": None},
            (
                400,
                "InvalidParameterValueException",
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ),
        ),
        (
            {"Code": {}},
            (400, "InvalidParameterValueException", "Please provide a source for function code."),
        ),
        (
            {"Code": {"ZipFile": b"no zip"}},
            (
                400,
                "InvalidParameterValueException",
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
        ),
        (
            {"Timeout": 901},
            (
                400,
                "ValidationException",
                (
                    "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
                    "Member must have value less than or equal to 900"
                ),
            ),
        ),
        (
            {"MemorySize": 64},
            (
                400,
                "ValidationException",
                (
                    "1 validation error detected: Value '64' at 'memorySize' failed to satisfy constraint: "
                    "Member must have value greater than or equal to 128"
                ),
            ),
        ),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            (
                400,
                "InvalidParameterValueException",
                (
                    "Lambda was unable to configure your environment variables because the environment variables you "
                    "have provided contains reserved keys that are currently not supported for modification. "
                    "Reserved keys used in this request: AWS_REGION"
                ),
            ),
        ),
        (
            {"PackageType": "Image"},
            (
                400,
                "InvalidParameterValueException",
                "PackageType Image is not supported by streamd: send the code as ZipFile.",
            ),
        ),
        (
            {"Layers": [f"{ACCOUNT}:layer:none:1"]},
            (
                400,
                "InvalidParameterValueException",
                f"Layer version {ACCOUNT}:layer:none:1 does not exist.",
            ),
        ),
    ],
)
def test_what_cannot_be_a_function_is_refused_and_leaves_nothing(
    functions: Any, name: str, changes: dict[str, Any], refusal: tuple[int, str, str]
) -> None:
    members = {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": package()},
        **changes,
    }
    members = {key: value for key, value in members.items() if value is not None}

    assert refusal_of(functions.create_function, **members) == refusal
    assert refusal_of(functions.get_function, FunctionName=name).status == 404


def test_a_second_function_of_one_name_is_refused(functions: Any, name: str) -> None:
    create(functions, name)

    assert refusal_of(lambda: create(functions, name)) == (
        409,
        "ResourceConflictException",
        f"Function already exist: {name}",
    )


def test_too_many_variables_are_told_in_the_words_of_the_service(functions: Any, name: str) -> None:
    variables = {f"V{number}": "x" * 100 for number in range(50)}

    refusal = refusal_of(lambda: create(functions, name, Environment={"Variables": variables}))

    measured = json.dumps(variables, separators=(",", ":"))
    assert refusal.message.endswith(f"exceeded the 4KB limit. String measured: {measured}")


def test_the_command_line_of_aws_waits_for_what_it_made(functions: Any, name: str) -> None:
    deploy(functions, name)

    functions.get_waiter("function_exists").wait(FunctionName=name)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
