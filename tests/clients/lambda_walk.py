"""A walk through every operation of the Lambda API, as one user might go, for any client that can be told what to call.

It begins with a stream that is there, and ends with nothing left but the stream. Data is bytes in the arguments; the
answer's payload is told as bytes too, and a stream of events as the list of them.
"""

from collections.abc import Generator
from typing import Any, Final

import orjson

from tests.clients.walk import Call
from tests.functions.lambdas import ROLE, package

__all__ = ["lambda_walk"]

_FIRST: Final = "def handler(event, context):\n    print('seen')\n    return {'first': event}\n"
_SECOND: Final = "def handler(event, context):\n    return {'second': event}\n"
_LOOK_COUNT_MAX: Final = 10_000

_Walk = Generator[Call, Any, None]
_Answer = Generator[Call, Any, Any]


def lambda_walk(name: str, stream_arn: str) -> Generator[Call, Any, None]:
    """Give the steps, with a name for the function and the layer, and a stream that feeds the function.

    What a client may not know (events, and operations newer than it) is looked at only where it answered.
    """
    yield from _account()
    arn = yield from _creation(name)
    yield from _invocations(name)
    yield from _changes(name)
    yield from _versions(name)
    yield from _mappings(name, stream_arn)
    yield from _event_settings(name)
    yield from _concurrency(name)
    yield from _permissions(name, arn)
    yield from _tags(arn)
    yield from _layers(name)
    yield from _what_tools_read(name)
    yield from _end(name)


def _ask(operation: str, **arguments: Any) -> _Answer:
    return (yield Call(operation, arguments))


def _until(operation: str, member: str, wanted: object, **arguments: Any) -> _Answer:
    answer: Any = None
    for _ in range(_LOOK_COUNT_MAX):
        answer = yield from _ask(operation, **arguments)
        if answer[member] == wanted:
            return answer
    raise AssertionError(answer)


def _account() -> _Walk:
    settings = yield from _ask("GetAccountSettings")

    assert settings["AccountLimit"]["ConcurrentExecutions"] > 0
    assert settings["AccountUsage"]["FunctionCount"] == 0


def _creation(name: str) -> _Answer:
    made = yield from _ask(
        "CreateFunction",
        FunctionName=name,
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": package(_FIRST)},
        Environment={"Variables": {"STAGE": "test"}},
        Tags={"team": "web"},
    )
    active = yield from _until("GetFunctionConfiguration", "State", "Active", FunctionName=name)
    told = yield from _ask("GetFunction", FunctionName=name)
    listed = yield from _ask("ListFunctions")

    assert made["State"] == "Pending"
    assert told["Configuration"]["RevisionId"] == active["RevisionId"] != made["RevisionId"]
    assert told["Code"]["RepositoryType"] == "S3"
    assert told["Tags"] == {"team": "web"}
    assert [each["FunctionName"] for each in listed["Functions"]] == [name]
    return made["FunctionArn"]


def _invocations(name: str) -> _Walk:
    answered = yield from _ask("Invoke", FunctionName=name, LogType="Tail", Payload=b'{"a":1}')
    kept = yield from _ask("Invoke", FunctionName=name, InvocationType="Event", Payload=b"{}")
    looked = yield from _ask("Invoke", FunctionName=name, InvocationType="DryRun")
    old = yield from _ask("InvokeAsync", FunctionName=name, InvokeArgs=b"{}")
    streamed = yield from _ask("InvokeWithResponseStream", FunctionName=name, Payload=b'{"a":2}')

    assert orjson.loads(answered["Payload"]) == {"first": {"a": 1}}
    assert (answered["StatusCode"], answered["ExecutedVersion"]) == (200, "$LATEST")
    assert answered["LogResult"]
    assert (kept["StatusCode"], looked["StatusCode"], old["Status"]) == (202, 204, 202)
    if streamed is not None:
        chunks = [event["PayloadChunk"]["Payload"] for event in streamed["EventStream"] if "PayloadChunk" in event]
        assert orjson.loads(b"".join(chunks)) == {"first": {"a": 2}}
        assert streamed["EventStream"][-1] == {"InvokeComplete": {}}


def _changes(name: str) -> _Walk:
    changed = yield from _ask("UpdateFunctionConfiguration", FunctionName=name, Timeout=7, MemorySize=256)
    yield from _until("GetFunctionConfiguration", "LastUpdateStatus", "Successful", FunctionName=name)
    code = yield from _ask("UpdateFunctionCode", FunctionName=name, ZipFile=package(_SECOND))
    yield from _until("GetFunctionConfiguration", "LastUpdateStatus", "Successful", FunctionName=name)
    answered = yield from _ask("Invoke", FunctionName=name, Payload=b"{}")

    assert (changed["Timeout"], changed["MemorySize"], changed["LastUpdateStatus"]) == (7, 256, "InProgress")
    assert code["CodeSha256"] != changed["CodeSha256"]
    assert orjson.loads(answered["Payload"]) == {"second": {}}


def _versions(name: str) -> _Walk:
    first = yield from _ask("PublishVersion", FunctionName=name, Description="one")
    yield from _ask("UpdateFunctionConfiguration", FunctionName=name, Environment={"Variables": {}})
    yield from _until("GetFunctionConfiguration", "LastUpdateStatus", "Successful", FunctionName=name)
    second = yield from _ask("PublishVersion", FunctionName=name)
    versions = yield from _ask("ListVersionsByFunction", FunctionName=name)
    made = yield from _ask("CreateAlias", FunctionName=name, Name="live", FunctionVersion=first["Version"])
    weights = {"AdditionalVersionWeights": {second["Version"]: 0.5}}
    updated = yield from _ask("UpdateAlias", FunctionName=name, Name="live", RoutingConfig=weights)
    told = yield from _ask("GetAlias", FunctionName=name, Name="live")
    yield from _ask("CreateAlias", FunctionName=name, Name="spare", FunctionVersion=first["Version"])
    yield from _ask("DeleteAlias", FunctionName=name, Name="spare")
    listed = yield from _ask("ListAliases", FunctionName=name)

    assert [each["Version"] for each in versions["Versions"]] == ["$LATEST", "1", "2"]
    assert made["AliasArn"].endswith(f":function:{name}:live")
    assert updated["RoutingConfig"] == told["RoutingConfig"] == weights
    assert [each["Name"] for each in listed["Aliases"]] == ["live"]


def _mappings(name: str, stream_arn: str) -> _Walk:
    made = yield from _ask(
        "CreateEventSourceMapping",
        FunctionName=f"{name}:live",
        EventSourceArn=stream_arn,
        StartingPosition="LATEST",
        FilterCriteria={"Filters": [{"Pattern": '{"data":{"a":[1]}}'}]},
    )
    mapping = made["UUID"]
    yield from _until("GetEventSourceMapping", "State", "Enabled", UUID=mapping)
    changed = yield from _ask("UpdateEventSourceMapping", UUID=mapping, BatchSize=7, Enabled=False)
    told = yield from _until("GetEventSourceMapping", "State", "Disabled", UUID=mapping)
    listed = yield from _ask("ListEventSourceMappings", EventSourceArn=stream_arn)
    deleted = yield from _ask("DeleteEventSourceMapping", UUID=mapping)
    yield from _until("ListEventSourceMappings", "EventSourceMappings", [], EventSourceArn=stream_arn)

    assert (made["State"], changed["State"], deleted["State"]) == ("Creating", "Disabling", "Deleting")
    assert (told["BatchSize"], told["FilterCriteria"]) == (7, made["FilterCriteria"])
    assert [each["UUID"] for each in listed["EventSourceMappings"]] == [mapping]


def _event_settings(name: str) -> _Walk:
    put = yield from _ask("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)
    yield from _ask("UpdateFunctionEventInvokeConfig", FunctionName=name, MaximumEventAgeInSeconds=120)
    told = yield from _ask("GetFunctionEventInvokeConfig", FunctionName=name)
    listed = yield from _ask("ListFunctionEventInvokeConfigs", FunctionName=name)
    yield from _ask("DeleteFunctionEventInvokeConfig", FunctionName=name)
    after = yield from _ask("ListFunctionEventInvokeConfigs", FunctionName=name)

    assert put["MaximumRetryAttempts"] == 1
    assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (1, 120)
    assert len(listed["FunctionEventInvokeConfigs"]) == 1
    assert after["FunctionEventInvokeConfigs"] == []


def _concurrency(name: str) -> _Walk:
    yield from _ask("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=2)
    told = yield from _ask("GetFunctionConcurrency", FunctionName=name)
    yield from _ask("DeleteFunctionConcurrency", FunctionName=name)
    at = {"FunctionName": name, "Qualifier": "2"}
    yield from _ask("PutProvisionedConcurrencyConfig", **at, ProvisionedConcurrentExecutions=1)
    yield from _until("GetProvisionedConcurrencyConfig", "Status", "READY", **at)
    listed = yield from _ask("ListProvisionedConcurrencyConfigs", FunctionName=name)
    yield from _ask("DeleteProvisionedConcurrencyConfig", **at)
    after = yield from _ask("ListProvisionedConcurrencyConfigs", FunctionName=name)

    assert told["ReservedConcurrentExecutions"] == 2
    assert len(listed["ProvisionedConcurrencyConfigs"]) == 1
    assert after["ProvisionedConcurrencyConfigs"] == []


def _permissions(name: str, arn: str) -> _Walk:
    for sid in ("web", "more"):
        yield from _ask(
            "AddPermission",
            FunctionName=name,
            StatementId=sid,
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn="arn:aws:s3:::bucket",
        )
    yield from _ask("RemovePermission", FunctionName=name, StatementId="more")
    told = yield from _ask("GetPolicy", FunctionName=name)
    yield from _ask("PutResourcePolicy", ResourceArn=arn, Policy=told["Policy"])
    whole = yield from _ask("GetResourcePolicy", ResourceArn=arn)
    yield from _ask("DeleteResourcePolicy", ResourceArn=arn)

    statements = orjson.loads(told["Policy"])["Statement"]
    assert [each["Sid"] for each in statements] == ["web"]
    assert whole is None or orjson.loads(whole["Policy"])["Statement"] == statements


def _tags(arn: str) -> _Walk:
    yield from _ask("TagResource", Resource=arn, Tags={"stage": "test"})
    yield from _ask("UntagResource", Resource=arn, TagKeys=["team", "none"])
    told = yield from _ask("ListTags", Resource=arn)

    assert told["Tags"] == {"stage": "test"}


def _layers(name: str) -> _Walk:
    layer = f"{name}-layer"
    content = {"ZipFile": package("value = 42\n", "python/shared_layer.py")}
    made = yield from _ask("PublishLayerVersion", LayerName=layer, Content=content)
    told = yield from _ask("GetLayerVersion", LayerName=layer, VersionNumber=made["Version"])
    by_arn = yield from _ask("GetLayerVersionByArn", Arn=made["LayerVersionArn"])
    layers = yield from _ask("ListLayers")
    versions = yield from _ask("ListLayerVersions", LayerName=layer)
    yield from _ask("DeleteLayerVersion", LayerName=layer, VersionNumber=made["Version"])
    after = yield from _ask("ListLayerVersions", LayerName=layer)

    assert told["Content"]["CodeSha256"] == by_arn["Content"]["CodeSha256"] == made["Content"]["CodeSha256"]
    assert [each["LayerName"] for each in layers["Layers"]] == [layer]
    assert [each["Version"] for each in versions["LayerVersions"]] == [1]
    assert after["LayerVersions"] == []


def _what_tools_read(name: str) -> _Walk:
    signing = yield from _ask("GetFunctionCodeSigningConfig", FunctionName=name)
    yield from _ask("PutRuntimeManagementConfig", FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    runtime = yield from _ask("GetRuntimeManagementConfig", FunctionName=name)
    yield from _ask("PutFunctionRecursionConfig", FunctionName=name, RecursiveLoop="Allow")
    recursion = yield from _ask("GetFunctionRecursionConfig", FunctionName=name)

    assert signing["FunctionName"] == name
    assert runtime["UpdateRuntimeOn"] == "FunctionUpdate"
    assert recursion["RecursiveLoop"] == "Allow"


def _end(name: str) -> _Walk:
    yield from _ask("DeleteFunction", FunctionName=name)
    listed = yield from _ask("ListFunctions")

    assert listed["Functions"] == []
