"""What Terraform's resources of functions ask for on create, plan, update and destroy, replayed with boto3.

Creating and reading a function, and all of the mapping, follow the provider's public source; the order of a function's
update, the alias and the permission were not checked against it. After each change the provider reads until it sees a
state it waits for, and takes any other state on the way for a failure. Changes take a while, so states show.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

import boto3
import pytest

from tests.clients.botocore_rows import note_operations
from tests.clients.conftest import SeenBy
from tests.conftest import DaemonFactory
from tests.functions.lambdas import ROLE, lambda_client, package

__all__: list[str] = []

_TRANSITION_MS = "200"
_LOOK_COUNT_MAX = 10_000
_GONE = ""


class FunctionProvider:
    """The provider's part that deals with one function, its alias and its permission."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.named = {"FunctionName": name}

    def create(self, *, reserved: int, **members: Any) -> None:
        """Make the function, then set what creating does not take."""
        self.client.create_function(
            **self.named,
            Description="",
            PackageType="Zip",
            Publish=True,
            Role=ROLE,
            Runtime="python3.11",
            Handler="app.handler",
            **members,
        )
        self.client.get_function(**self.named)
        self.wait("State", pending={"Pending"}, target={"Active"})
        self.client.put_function_concurrency(**self.named, ReservedConcurrentExecutions=reserved)

    def plan(self) -> dict[str, Any]:
        """Read everything that a plan compares."""
        told = self.client.get_function(**self.named)
        function = told["Configuration"]
        pages = self.client.get_paginator("list_versions_by_function").paginate(
            **self.named, PaginationConfig={"PageSize": 10_000}
        )
        latest = [version for page in pages for version in page["Versions"]][-1]
        signing = self.client.get_function_code_signing_config(**self.named)
        return {
            "arn": function["FunctionArn"],
            "architectures": function["Architectures"],
            "code_sha256": function["CodeSha256"],
            "code_signing_config_arn": signing["CodeSigningConfigArn"],
            "description": function["Description"],
            "environment": function.get("Environment", {}).get("Variables", {}),
            "ephemeral_storage": function["EphemeralStorage"]["Size"],
            "log_format": function["LoggingConfig"]["LogFormat"],
            "memory_size": function["MemorySize"],
            "package_type": function["PackageType"],
            "qualified_arn": latest["FunctionArn"],
            "reserved_concurrent_executions": told.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
            "tags": told.get("Tags", {}),
            "timeout": function["Timeout"],
            "tracing_mode": function["TracingConfig"]["Mode"],
            "version": latest["Version"],
        }

    def update(self, *, code: bytes | None = None, **members: Any) -> None:
        """Change the configuration, then the code, then publish, and wait after each."""
        if members:
            self.client.update_function_configuration(**self.named, **members)
            self.wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        if code is not None:
            self.client.update_function_code(**self.named, ZipFile=code)
            self.wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        version = self.client.publish_version(**self.named)["Version"]
        self.wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"}, Qualifier=version)

    def wait(self, member: str, *, pending: Collection[str], target: Collection[str], **query: str) -> list[str]:
        """Read the function until a member has a state it may end in."""

        def state() -> str:
            told = self.client.get_function(**self.named, **query)["Configuration"]
            return str(told[member])

        return _waited(state, pending=pending, target=target)


class MappingProvider:
    """The provider's part that deals with one event source mapping."""

    _SETTLED = frozenset({"Enabled", "Disabled"})

    def __init__(self, client: Any) -> None:
        self.client = client
        self.uuid = ""

    def create(self, **members: Any) -> list[str]:
        """Make the mapping; the states on the way."""
        self.uuid = self.client.create_event_source_mapping(**members)["UUID"]
        return _waited(self.state, pending={"Creating", "Enabling", "Disabling"}, target=self._SETTLED)

    def plan(self) -> dict[str, Any]:
        """Read everything that a plan compares."""
        told = self.client.get_event_source_mapping(UUID=self.uuid)
        tags = self.client.list_tags(Resource=told["EventSourceMappingArn"])["Tags"]
        compared = (
            "BatchSize",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "EventSourceArn",
            "FunctionArn",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "ParallelizationFactor",
            "StartingPosition",
            "State",
            "TumblingWindowInSeconds",
        )
        return {name: told[name] for name in compared} | {"filters": told.get("FilterCriteria"), "tags": tags}

    def update(self, **members: Any) -> list[str]:
        """Change the mapping; the states on the way."""
        self.client.update_event_source_mapping(UUID=self.uuid, **members)
        return _waited(self.state, pending={"Updating", "Enabling", "Disabling"}, target=self._SETTLED)

    def destroy(self) -> list[str]:
        """Delete the mapping; the states on the way."""
        self.client.delete_event_source_mapping(UUID=self.uuid)
        return _waited(self.state, pending={"Deleting"}, target={_GONE})

    def state(self) -> str:
        """Read its state."""
        try:
            return str(self.client.get_event_source_mapping(UUID=self.uuid)["State"])
        except self.client.exceptions.ResourceNotFoundException:
            return _GONE


def _waited(look: Callable[[], str], *, pending: Collection[str], target: Collection[str]) -> list[str]:
    states: list[str] = []
    for _ in range(_LOOK_COUNT_MAX):
        states.append(look())
        if states[-1] in target:
            return states
        assert states[-1] in pending
    raise AssertionError(states[-1])


@pytest.fixture
def clients(daemon_factory: DaemonFactory, seen_by: SeenBy) -> tuple[Any, Any]:
    """Give the provider's client of Lambda, and one of Kinesis, of a daemon whose changes take a while."""
    daemon = daemon_factory("--transition-ms", _TRANSITION_MS)
    client = lambda_client(daemon, validate=True)
    version = f"boto3 {boto3.__version__}"
    note_operations(client, seen_by("Terraform's calls for aws_lambda_function", version=version, transport="HTTP/1.1"))
    return client, daemon.client()


def test_a_function_is_created_planned_updated_and_destroyed(clients: tuple[Any, Any]) -> None:
    client, _ = clients
    provider = FunctionProvider(client, "orders")

    provider.create(
        reserved=2,
        Code={"ZipFile": package("def handler(e, c):\n    return 1\n")},
        Environment={"Variables": {"STAGE": "test"}},
        MemorySize=128,
        Timeout=3,
        Tags={"team": "web"},
        TracingConfig={"Mode": "Active"},
    )
    made = provider.plan()
    assert made == provider.plan()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:orders"
    assert made == {
        "arn": arn,
        "architectures": ["x86_64"],
        "code_sha256": made["code_sha256"],
        "code_signing_config_arn": "",
        "description": "",
        "environment": {"STAGE": "test"},
        "ephemeral_storage": 512,
        "log_format": "Text",
        "memory_size": 128,
        "package_type": "Zip",
        "qualified_arn": f"{arn}:1",
        "reserved_concurrent_executions": 2,
        "tags": {"team": "web"},
        "timeout": 3,
        "tracing_mode": "Active",
        "version": "1",
    }

    provider.update(
        code=package("def handler(e, c):\n    return 2\n"),
        MemorySize=256,
        Timeout=9,
        Environment={"Variables": {}},
        LoggingConfig={"LogFormat": "JSON"},
    )
    client.delete_function_concurrency(**provider.named)
    client.untag_resource(Resource=arn, TagKeys=["team"])
    client.tag_resource(Resource=arn, Tags={"stage": "test"})
    changed = provider.plan()
    assert changed["code_sha256"] != made["code_sha256"]
    assert changed == made | {
        "code_sha256": changed["code_sha256"],
        "environment": {},
        "log_format": "JSON",
        "memory_size": 256,
        "qualified_arn": f"{arn}:2",
        "reserved_concurrent_executions": -1,
        "tags": {"stage": "test"},
        "timeout": 9,
        "version": "2",
    }

    client.delete_function(**provider.named)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(**provider.named)


def test_an_alias_and_a_permission_come_and_go(clients: tuple[Any, Any]) -> None:
    client, _ = clients
    provider = FunctionProvider(client, "orders")
    provider.create(reserved=1, Code={"ZipFile": package()}, Timeout=3)
    alias = {**provider.named, "Name": "live"}

    made = client.create_alias(**alias, Description="", FunctionVersion="1")
    read = client.get_alias(**alias)
    updated = client.update_alias(**alias, Description="what users see", FunctionVersion="1")
    permission = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "StatementId": "s3"}
    client.add_permission(**provider.named, **permission, Qualifier="live", SourceArn="arn:aws:s3:::bucket")
    policy = json.loads(client.get_policy(**provider.named, Qualifier="live")["Policy"])
    client.remove_permission(**provider.named, StatementId="s3", Qualifier="live")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(**provider.named, Qualifier="live")
    client.delete_alias(**alias)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_alias(**alias)

    assert read["AliasArn"] == made["AliasArn"]
    assert updated["Description"] == "what users see"
    (statement,) = policy["Statement"]
    assert (statement["Sid"], statement["Resource"]) == ("s3", made["AliasArn"])
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}}


def test_a_mapping_is_created_planned_updated_and_destroyed(clients: tuple[Any, Any], stream_name: str) -> None:
    client, kinesis = clients
    function = FunctionProvider(client, "orders")
    function.create(reserved=1, Code={"ZipFile": package()}, Timeout=3)
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream_name, WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["StreamARN"]
    provider = MappingProvider(client)
    filters = {"Filters": [{"Pattern": '{"data":{"a":[1]}}'}]}

    provider.create(
        **function.named,
        EventSourceArn=arn,
        Enabled=True,
        StartingPosition="TRIM_HORIZON",
        FilterCriteria=filters,
        Tags={"team": "web"},
    )
    made = provider.plan()
    assert made == provider.plan()
    assert made == {
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "EventSourceArn": arn,
        "FunctionArn": function.plan()["arn"],
        "FunctionResponseTypes": [],
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "TRIM_HORIZON",
        "State": "Enabled",
        "TumblingWindowInSeconds": 0,
        "filters": filters,
        "tags": {"team": "web"},
    }

    # A filter that is left out stays; an empty one takes it away.
    changes = {"BatchSize": 10, "MaximumRetryAttempts": 3, "ParallelizationFactor": 2}
    provider.update(**changes, FilterCriteria={}, FunctionResponseTypes=["ReportBatchItemFailures"])
    responses = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
    assert provider.plan() == made | changes | responses | {"filters": None}
    provider.update(Enabled=False)
    assert provider.plan()["State"] == "Disabled"
    assert provider.destroy()[-1] == _GONE
