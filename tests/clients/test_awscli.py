"""The AWS CLI, as people type it: a whole session, files of records, iterators in quotes, waiters, pages, errors."""

import base64
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamd.kinesis.operations import HANDLER_BY_OPERATION
from tests.clients.conftest import SeenBy
from tests.clients.walk import Walked, kinesis_walk
from tests.conftest import DaemonFactory
from tests.daemons import Daemon

__all__: list[str] = []

_FIRST = "shardId-000000000000"
# The one of the test extra, beside the interpreter: another version, which takes data in base64, may be elsewhere.
_AWS = shutil.which("aws", path=str(Path(sys.executable).parent))

# It carries an older model of the service, and has no command for an operation that answers with events.
_UNKNOWN = frozenset({"SubscribeToShard", "UpdateStreamRecordDistributionStrategy"})

pytestmark = pytest.mark.skipif(_AWS is None, reason="the AWS CLI is not installed")


def _run(daemon: Daemon, *arguments: str, output: str = "json") -> subprocess.CompletedProcess[str]:
    assert _AWS is not None
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL_KINESIS": daemon.url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
    }
    return subprocess.run(
        [_AWS, "--output", output, "kinesis", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


Aws = Callable[..., Any]


def _noting(daemon: Daemon, seen_by: SeenBy) -> Aws:
    row = seen_by("AWS CLI v1", version=importlib.metadata.version("awscli"), transport="HTTP/1.1, JSON")

    def run(*arguments: str) -> Any:
        done = _run(daemon, *arguments)
        assert done.returncode == 0, done.stderr
        if arguments[0] != "wait":
            row.ran("".join(word.capitalize() for word in arguments[0].split("-")))
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


@pytest.fixture
def aws(daemon: Daemon, seen_by: SeenBy) -> Aws:
    """Give a function that runs a command which must succeed, and reads what it printed."""
    return _noting(daemon, seen_by)


def _command_of(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", operation).lower()


def _json_of(arguments: dict[str, Any]) -> str:
    # Version 1 takes data as text.
    return json.dumps(arguments, default=lambda data: data.decode())


# Some fifty commands, each of which starts Python and loads the service's model.
@pytest.mark.timeout(400)
def test_a_walk_through_every_operation(daemon_factory: DaemonFactory, seen_by: SeenBy) -> None:
    aws = _noting(daemon_factory(), seen_by)

    walked = Walked(kinesis_walk("walked"), unknown=_UNKNOWN)
    while walked.call is not None:
        answer = aws(_command_of(walked.call.operation), "--cli-input-json", _json_of(walked.call.arguments))
        for record in answer["Records"] if walked.call.operation == "GetRecords" else ():
            record["Data"] = base64.b64decode(record["Data"])
        walked.answered(answer)

    assert walked.operations == set(HANDLER_BY_OPERATION) - _UNKNOWN


def test_a_session_at_the_command_line(aws: Aws, stream_name: str, tmp_path: Path) -> None:
    named = ["--stream-name", stream_name]
    entries = tmp_path / "records.json"
    entries.write_text(json.dumps([{"Data": f"from a file {n}", "PartitionKey": "key"} for n in range(3)]))

    created = aws("create-stream", *named, "--shard-count", "1")
    aws("wait", "stream-exists", *named)
    put = aws("put-record", *named, "--partition-key", "key", "--data", "one")
    many = aws("put-records", *named, "--records", f"file://{entries}")
    place = aws("get-shard-iterator", *named, "--shard-id", _FIRST, "--shard-iterator-type", "TRIM_HORIZON")[
        "ShardIterator"
    ]
    got = aws("get-records", "--shard-iterator", f'"{place}"', "--limit", "10")
    summary = aws("describe-stream-summary", *named)["StreamDescriptionSummary"]
    arn = ["--stream-arn", summary["StreamARN"]]
    aws("register-stream-consumer", *arn, "--consumer-name", "c")
    aws("list-stream-consumers", *arn)
    aws("deregister-stream-consumer", *arn, "--consumer-name", "c")
    aws("add-tags-to-stream", *named, "--tags", "team=web")
    tags = aws("list-tags-for-stream", *named)["Tags"]
    aws("increase-stream-retention-period", *named, "--retention-period-hours", "48")
    aws("split-shard", *named, "--shard-to-split", _FIRST, "--new-starting-hash-key", "1000")
    aws("update-shard-count", *named, "--target-shard-count", "4", "--scaling-type", "UNIFORM_SCALING")
    aws("list-shards", *named)
    aws("list-streams")
    aws("delete-stream", *named)
    aws("wait", "stream-not-exists", *named)

    assert created is None
    assert put["ShardId"] == _FIRST
    assert many["FailedRecordCount"] == 0
    found = [base64.b64decode(record["Data"]) for record in got["Records"]]
    assert found == [b"one", b"from a file 0", b"from a file 1", b"from a file 2"]
    assert got["Records"][0]["SequenceNumber"] == put["SequenceNumber"]
    assert summary["StreamARN"] == f"arn:aws:kinesis:eu-west-1:000000000000:stream/{stream_name}"
    assert summary["StreamStatus"] == "ACTIVE"
    assert tags == [{"Key": "team", "Value": "web"}]


def test_times_and_pages_and_errors_at_the_command_line(daemon: Daemon, aws: Aws, stream_name: str) -> None:
    named = ["--stream-name", stream_name]
    aws("create-stream", *named, "--shard-count", "3")
    aws("put-record", *named, "--partition-key", "key", "--data", "a", "--explicit-hash-key", "0")

    place = aws(
        "get-shard-iterator",
        *named,
        "--shard-id",
        _FIRST,
        "--shard-iterator-type",
        "AT_TIMESTAMP",
        "--timestamp",
        "2025-01-01T00:00:00Z",
    )["ShardIterator"]
    records = aws("get-records", "--shard-iterator", place)["Records"]
    shards = aws("describe-stream", *named, "--page-size", "1")["StreamDescription"]["Shards"]
    missing = _run(daemon, "describe-stream", "--stream-name", "no-such-stream")
    table = _run(daemon, "list-shards", *named, output="text")

    assert [record["Data"] for record in records] == ["YQ=="]
    assert [shard["ShardId"] for shard in shards] == [f"shardId-{index:012d}" for index in range(3)]
    assert missing.returncode != 0
    assert "(ResourceNotFoundException) when calling the DescribeStream operation" in missing.stderr
    assert "Stream no-such-stream under account 000000000000 not found." in missing.stderr
    assert table.returncode == 0
    assert "shardId-000000000002" in table.stdout
