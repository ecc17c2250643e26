"""The AWS CLI, as people type it: a whole session, files of records, iterators in quotes, waiters, pages, errors."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon

__all__: list[str] = []

_FIRST = "shardId-000000000000"
# The one of the test extra, beside the interpreter: another version, which takes data in base64, may be elsewhere.
_AWS = shutil.which("aws", path=str(Path(sys.executable).parent))

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


def _aws(daemon: Daemon, *arguments: str) -> Any:
    done = _run(daemon, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_a_session_at_the_command_line(daemon: Daemon, stream_name: str, tmp_path: Path) -> None:
    named = ["--stream-name", stream_name]
    entries = tmp_path / "records.json"
    entries.write_text(json.dumps([{"Data": f"from a file {n}", "PartitionKey": "key"} for n in range(3)]))

    created = _aws(daemon, "create-stream", *named, "--shard-count", "1")
    _aws(daemon, "wait", "stream-exists", *named)
    put = _aws(daemon, "put-record", *named, "--partition-key", "key", "--data", "one")
    many = _aws(daemon, "put-records", *named, "--records", f"file://{entries}")
    place = _aws(daemon, "get-shard-iterator", *named, "--shard-id", _FIRST, "--shard-iterator-type", "TRIM_HORIZON")[
        "ShardIterator"
    ]
    got = _aws(daemon, "get-records", "--shard-iterator", f'"{place}"', "--limit", "10")
    summary = _aws(daemon, "describe-stream-summary", *named)["StreamDescriptionSummary"]
    _aws(daemon, "delete-stream", *named)
    _aws(daemon, "wait", "stream-not-exists", *named)

    assert created is None
    assert put["ShardId"] == _FIRST
    assert many["FailedRecordCount"] == 0
    found = [base64.b64decode(record["Data"]) for record in got["Records"]]
    assert found == [b"one", b"from a file 0", b"from a file 1", b"from a file 2"]
    assert got["Records"][0]["SequenceNumber"] == put["SequenceNumber"]
    assert summary["StreamARN"] == f"arn:aws:kinesis:eu-west-1:000000000000:stream/{stream_name}"
    assert summary["StreamStatus"] == "ACTIVE"


def test_times_and_pages_and_errors_at_the_command_line(daemon: Daemon, stream_name: str) -> None:
    named = ["--stream-name", stream_name]
    _aws(daemon, "create-stream", *named, "--shard-count", "3")
    _aws(daemon, "put-record", *named, "--partition-key", "key", "--data", "a", "--explicit-hash-key", "0")

    place = _aws(
        daemon,
        "get-shard-iterator",
        *named,
        "--shard-id",
        _FIRST,
        "--shard-iterator-type",
        "AT_TIMESTAMP",
        "--timestamp",
        "2025-01-01T00:00:00Z",
    )["ShardIterator"]
    records = _aws(daemon, "get-records", "--shard-iterator", place)["Records"]
    shards = _aws(daemon, "describe-stream", *named, "--page-size", "1")["StreamDescription"]["Shards"]
    missing = _run(daemon, "describe-stream", "--stream-name", "no-such-stream")
    table = _run(daemon, "list-shards", *named, output="text")

    assert [record["Data"] for record in records] == ["YQ=="]
    assert [shard["ShardId"] for shard in shards] == [f"shardId-{index:012d}" for index in range(3)]
    assert missing.returncode != 0
    assert "(ResourceNotFoundException) when calling the DescribeStream operation" in missing.stderr
    assert "Stream no-such-stream under account 000000000000 not found." in missing.stderr
    assert table.returncode == 0
    assert "shardId-000000000002" in table.stdout
