"""Events pushed by HTTP, from the socket to the function."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.workers.wire import until

SETTINGS = """
[[push_route]]
name = "photos"
function = "seen"
format = "s3"
auth = "token"
token = "Bearer sesame"
"""
NOTIFICATION = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "photos/cat 1.png",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2026-11-23T03:20:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": "photos", "arn": "arn:aws:s3:::photos"},
                "object": {"key": "cat+1.png", "size": 7, "eTag": "abc", "sequencer": "17"},
            },
        }
    ],
}


def push(daemon: Daemon, token: str, method: str = "POST") -> int:
    request = urllib.request.Request(
        f"{daemon.url}/_push/photos",
        data=json.dumps(NOTIFICATION).encode() if method == "POST" else None,
        method=method,
    )
    request.add_header("Authorization", token)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_pushed_event_reaches_its_function(
    daemon_factory: Callable[..., Daemon], tmp_path: Path, workers: str
) -> None:
    settings = tmp_path / "functions.toml"
    settings.write_text(SETTINGS)
    daemon = daemon_factory("--functions-config", str(settings), "--workers", workers)
    client = lambda_client(daemon)
    deploy(client, "seen", "def handler(e, c):\n    r = e['Records'][0]\n    print(r['eventSource'], r['eventName'])\n")

    status = push(daemon, "Bearer sesame")

    logs = lambda_client(daemon, "logs")
    until(
        lambda: any(
            event["message"].strip() == "aws:s3 ObjectCreated:Put"
            for event in logs.filter_log_events(logGroupName="/aws/lambda/seen")["events"]
        )
    )
    assert status == 200
    assert push(daemon, "", "HEAD") == 200
    with pytest.raises(HTTPError) as caught:
        push(daemon, "Bearer other")
    assert caught.value.code == 403
    caught.value.close()
