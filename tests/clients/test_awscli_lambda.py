"""The AWS CLI with functions, as people type it: deploy, wait, invoke, version, alias, map, tear down; each command."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from tests.clients.client_table import LAMBDA_OPERATIONS, ClientRow
from tests.clients.conftest import SeenBy
from tests.clients.lambda_walk import lambda_walk
from tests.clients.walk import Call, Walked
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.functions.lambdas import ROLE, package

__all__: list[str] = []

_AWS = shutil.which("aws", path=str(Path(sys.executable).parent))

# It carries an older model of the service, and has no command for an operation that answers with events.
_UNKNOWN = frozenset({"DeleteResourcePolicy", "GetResourcePolicy", "InvokeWithResponseStream", "PutResourcePolicy"})

pytestmark = pytest.mark.skipif(_AWS is None, reason="the AWS CLI is not installed")


def run(daemon: Daemon, *arguments: str, row: ClientRow | None = None) -> Any:
    """Run one command of the CLI, and note it in its row; what it printed, as JSON."""
    assert _AWS is not None
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": daemon.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
    }
    ended = subprocess.run(
        [_AWS, "--output", "json", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert ended.returncode == 0, ended.stderr
    if row is not None:
        row.ran("".join(word.capitalize() for word in arguments[1].split("-")))
    return json.loads(ended.stdout) if ended.stdout.strip() else None


def walked_call(daemon: Daemon, call: Call, folder: Path, row: ClientRow) -> Any:
    """Make a call of the walk as a command: what is data in it goes by a file, and lists and maps as documents."""
    members, out = dict(call.arguments), folder / "out"
    flags: list[str] = []
    content = members.pop("Code", None) or members.pop("Content", None) or {}
    for flag, data in {
        "--zip-file": content.get("ZipFile") or members.pop("ZipFile", None),
        "--payload": members.pop("Payload", None),
        "--invoke-args": members.pop("InvokeArgs", None),
    }.items():
        if data is not None:
            (folder / "data").write_bytes(data)
            # What calls for a file of its own takes its bare name.
            flags += [flag, f"{folder}/data" if flag == "--invoke-args" else f"fileb://{folder}/data"]
    for name, value in members.items():
        flag = xform_name(name, "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", value if isinstance(value, str) else json.dumps(value)]
    if call.operation == "Invoke":
        flags.append(str(out))
    answer = run(daemon, "lambda", xform_name(call.operation, "-"), *flags, row=row) or {}
    return answer | ({"Payload": out.read_bytes()} if call.operation == "Invoke" else {})


# Some eighty commands, each of which starts Python and loads the service's model.
@pytest.mark.timeout(400)
def test_a_walk_through_every_operation(
    daemon_factory: DaemonFactory, seen_by: SeenBy, stream_name: str, tmp_path: Path
) -> None:
    row = seen_by("AWS CLI v1, lambda", version=importlib.metadata.version("awscli"), transport="HTTP/1.1")
    daemon = daemon_factory()
    kinesis = daemon.client()
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["StreamARN"]

    walked = Walked(lambda_walk("walked", arn), unknown=_UNKNOWN)
    while walked.call is not None:
        walked.answered(walked_call(daemon, walked.call, tmp_path, row))

    assert walked.operations == set(row.operations) == LAMBDA_OPERATIONS - _UNKNOWN


def test_a_function_from_its_zip_to_its_end(daemon: Daemon, stream_name: str, tmp_path: Path) -> None:
    name = f"cli-{stream_name}"
    first, second, out = tmp_path / "first.zip", tmp_path / "second.zip", tmp_path / "out.json"
    first.write_bytes(package("def handler(event, context):\n    return {'first': event}\n"))
    second.write_bytes(package("def handler(event, context):\n    return {'second': event}\n"))
    function = ("--function-name", name)

    made = run(
        daemon,
        *("lambda", "create-function", *function, "--runtime", "python3.11", "--role", ROLE),
        *("--handler", "app.handler", "--zip-file", f"fileb://{first}", "--environment", "Variables={STAGE=test}"),
    )
    run(daemon, "lambda", "wait", "function-active-v2", *function)
    invoked = run(daemon, "lambda", "invoke", *function, "--payload", '{"a": 1}', str(out))
    answered = json.loads(out.read_text())
    run(daemon, "lambda", "update-function-code", *function, "--zip-file", f"fileb://{second}")
    run(daemon, "lambda", "wait", "function-updated", *function)
    published = run(daemon, "lambda", "publish-version", *function)
    run(daemon, "lambda", "create-alias", *function, "--name", "live", "--function-version", published["Version"])
    run(daemon, "lambda", "invoke", *function, "--qualifier", "live", str(out))
    run(daemon, "kinesis", "create-stream", "--stream-name", stream_name, "--shard-count", "1")
    arn = run(daemon, "kinesis", "describe-stream-summary", "--stream-name", stream_name)["StreamDescriptionSummary"][
        "StreamARN"
    ]
    mapped = run(
        daemon,
        *("lambda", "create-event-source-mapping", "--function-name", f"{name}:live", "--event-source-arn", arn),
        *("--starting-position", "LATEST", "--batch-size", "10"),
    )
    listed = run(daemon, "lambda", "list-event-source-mappings", "--event-source-arn", arn)
    run(daemon, "lambda", "delete-event-source-mapping", "--uuid", mapped["UUID"])
    run(daemon, "lambda", "delete-function", *function)
    run(daemon, "kinesis", "delete-stream", "--stream-name", stream_name)

    assert made["State"] == "Pending"
    assert (invoked["StatusCode"], answered) == (200, {"first": {"a": 1}})
    assert json.loads(out.read_text()) == {"second": {}}
    assert [each["UUID"] for each in listed["EventSourceMappings"]] == [mapped["UUID"]]
    assert run(daemon, "lambda", "list-functions", "--query", f"Functions[?FunctionName=='{name}']") == []
