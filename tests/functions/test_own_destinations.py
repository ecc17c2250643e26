"""Destinations that AWS does not have, told by its API: a folder of this machine, a webhook."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from tests.conftest import DaemonFactory
from tests.functions.lambdas import deploy, lambda_client
from tests.functions.targets.webhooks import answer, open_webhook
from tests.workers.wire import until

__all__: list[str] = []

_STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
_FAILING = "def handler(event, context):\n    raise ValueError('no')\n"


def _fail(functions: Any, kinesis: Any, cause: str, destination: str) -> None:
    """Have an invocation end in a destination, by an event or by a record of a stream."""
    config = {"OnFailure": {"Destination": destination}}
    if cause == "event":
        functions.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0, DestinationConfig=config)
        functions.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"n": 1}')
        return
    kinesis.create_stream(StreamName="s", ShardCount=1)
    functions.create_event_source_mapping(
        FunctionName="f",
        EventSourceArn=_STREAM_ARN,
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=0,
        DestinationConfig=config,
    )
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"x")


@pytest.mark.parametrize(("cause", "condition"), [("event", "RetriesExhausted"), ("record", "RetryAttemptsExhausted")])
def test_what_failed_comes_to_a_folder(
    daemon_factory: DaemonFactory, tmp_path: Path, cause: str, condition: str
) -> None:
    folder = tmp_path / "failures"
    settings = tmp_path / "functions.toml"
    settings.write_text(f'[destinations]\nfolders = ["{folder}"]\n')
    daemon = daemon_factory("--functions-config", str(settings))
    functions = lambda_client(daemon)
    deploy(functions, "f", _FAILING)

    _fail(functions, daemon.client(), cause, f"file://{folder}/of-f")
    until(lambda: any(folder.rglob("*.json")))

    (path,) = folder.rglob("*.json")
    assert orjson.loads(path.read_bytes())["requestContext"]["condition"] == condition


@pytest.mark.parametrize(("cause", "condition"), [("event", "RetriesExhausted"), ("record", "RetryAttemptsExhausted")])
async def test_what_failed_comes_to_a_webhook(daemon_factory: DaemonFactory, cause: str, condition: str) -> None:
    daemon = daemon_factory()
    functions = lambda_client(daemon)
    deploy(functions, "f", _FAILING)

    async with open_webhook(answer(200)) as hook:
        await asyncio.to_thread(_fail, functions, daemon.client(), cause, f"{hook.url}/failed")
        await asyncio.to_thread(until, lambda: bool(hook.heard))

    assert (hook.heard[0].method, hook.heard[0].target) == ("POST", "/failed")
    assert orjson.loads(hook.heard[0].body)["requestContext"]["condition"] == condition


def test_what_is_no_destination_is_refused_in_awss_words(daemon_factory: DaemonFactory) -> None:
    functions = lambda_client(daemon_factory())
    deploy(functions, "f", _FAILING)

    for destination, sentence in (
        ("ftp://a/b", "1 validation error detected: Value 'ftp://a/b' at 'destinationConfig.onFailure.destination'"),
        ("file:///etc", "is not allowed as a destination"),
    ):
        with pytest.raises(ClientError, match=sentence):
            functions.put_function_event_invoke_config(
                FunctionName="f", DestinationConfig={"OnFailure": {"Destination": destination}}
            )
