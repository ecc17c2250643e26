"""Functions that cause themselves: a real daemon, functions that pass their trace on as the AWS SDKs do, a real SDK."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.functions.lambdas import deploy
from tests.functions.witness import PATIENCE_S, Stage
from tests.workers.wire import until

# What a function sends goes through this: an SDK adds the trace by itself, urllib does not.
CALLING = """
import json, os, time, urllib.request
from base64 import b64encode

def call(path, body, headers):
    headers = {"X-Amzn-Trace-Id": os.environ["_X_AMZN_TRACE_ID"], "Authorization": AUTHORIZATION, **headers}
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + path, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        reply.read()

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=any/20261127/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
)

def put(stream, text):
    document = {"StreamName": stream, "PartitionKey": "-", "Data": b64encode(text.encode()).decode()}
    target = {"X-Amz-Target": "Kinesis_20131202.PutRecord", "Content-Type": "application/x-amz-json-1.1"}
    call("/", json.dumps(document).encode(), target)

"""
FEEDS_ITSELF = (
    CALLING
    + """
def handler(event, context):
    lineage = os.environ["_X_AMZN_TRACE_ID"].rpartition("Lineage=")[2].partition(":")[0]
    put(os.environ["SEEN"], lineage)
    put(os.environ["SOURCE"], lineage)
"""
)
INVOKES_ITSELF = (
    CALLING
    + """
def handler(event, context):
    put(os.environ["SEEN"], json.dumps(event))
    headers = {"X-Amz-Invocation-Type": "Event"}
    call(f"/2015-03-31/functions/{context.function_name}/invocations", json.dumps(event + 1).encode(), headers)
"""
)
TELLS = (
    CALLING
    + """
def handler(event, context):
    put(os.environ["SEEN"], json.dumps(event))
    put(os.environ["SOURCE"], "told")
"""
)
PUTS_WITH_BOTO3 = """
import boto3, sys
boto3.client("kinesis").put_record(StreamName=sys.argv[1], PartitionKey="-", Data=sys.argv[2].encode())
"""


@pytest.fixture
def stage(daemon: Daemon, stream_name: str) -> Iterator[Stage]:
    """Give a stage on the shared daemon, with its streams."""
    made = Stage(daemon, stream_name)
    made.build()
    yield made
    made.clear()


def texts(stage: Stage, stream: str) -> list[str]:
    return [row.text for shard in stage.shards(stream) for row in shard]


def deploy_caller(stage: Stage, name: str, code: str, **settings: Any) -> str:
    own = f"{stage.stream}-{name}"
    stage.names.add(own)
    variables = {"SEEN": stage.seen_stream, "SOURCE": stage.stream}
    deploy(stage.functions, own, code, Environment={"Variables": variables}, Timeout=30, **settings)
    return own


def put_with_boto3(stage: Stage, text: str, *, depth: int) -> None:
    """Put a record from where an SDK thinks that a function runs, so deep in a chain."""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "_X_AMZN_TRACE_ID": f"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0;Lineage={depth}:a87bd80c:0",
        "AWS_ENDPOINT_URL": stage.daemon.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-c", PUTS_WITH_BOTO3, stage.stream, text]
    subprocess.run(command, env=environment, check=True, timeout=PATIENCE_S)


def test_a_function_that_feeds_its_own_stream_runs_sixteen_times_and_what_it_did_then_is_told(stage: Stage) -> None:
    function = deploy_caller(stage, "f", FEEDS_ITSELF)
    stage.create_stream(failed := f"{stage.stream}-failed")
    destination = {"OnFailure": {"Destination": stage.arn_of(failed)}}
    mapping = stage.map(function, BatchSize=1, DestinationConfig=destination)

    stage.put(("key", "first"))
    until(lambda: bool(texts(stage, failed)), patience_s=PATIENCE_S)

    assert texts(stage, stage.seen_stream) == [str(number) for number in range(1, 17)]
    (failure,) = [json.loads(text) for text in texts(stage, failed)]
    assert failure["requestContext"]["condition"] == "RecursiveInvocation"
    assert [record["kinesis"]["data"] for record in failure["payload"]["Records"]] == ["MTY="]
    status = stage.wait_until_done(mapping)
    assert status["counters"] | {"polled": 17, "invoked": 16, "dropped": 1} == status["counters"]
    assert "recursive loop" in status["last_result"]
    # Nothing is blocked: what nobody caused goes through as ever.
    stage.put(("key", "second"))
    until(lambda: len(texts(stage, failed)) == 2, patience_s=PATIENCE_S)
    assert len(texts(stage, stage.seen_stream)) == 32


def test_a_function_that_is_told_of_a_loop_runs_once_even_if_it_feeds_the_loop(stage: Stage) -> None:
    function = deploy_caller(stage, "f", FEEDS_ITSELF)
    teller = deploy_caller(stage, "told", TELLS)
    arn = stage.functions.get_function(FunctionName=teller)["Configuration"]["FunctionArn"]
    mapping = stage.map(function, BatchSize=1, DestinationConfig={"OnFailure": {"Destination": arn}})

    stage.put(("key", "first"))
    # The sixteen, the first that was stopped, and what the function put that was told of it.
    until(lambda: stage.status(mapping)["counters"]["dropped"] == 2, patience_s=PATIENCE_S)

    found = texts(stage, stage.seen_stream)
    assert found[:16] == [str(number) for number in range(1, 17)]
    assert [json.loads(text)["requestContext"]["condition"] for text in found[16:]] == ["RecursiveInvocation"]
    assert texts(stage, stage.stream)[-1] == "told"


def test_a_function_that_may_run_in_a_loop_does(stage: Stage) -> None:
    function = deploy_caller(stage, "f", FEEDS_ITSELF)
    stage.functions.put_function_recursion_config(FunctionName=function, RecursiveLoop="Allow")
    mapping = stage.map(function, BatchSize=1)

    stage.put(("key", "first"))
    until(lambda: len(texts(stage, stage.seen_stream)) > 40, patience_s=PATIENCE_S)

    stage.functions.put_function_recursion_config(FunctionName=function, RecursiveLoop="Terminate")
    until(lambda: stage.status(mapping)["counters"]["dropped"] == 1, patience_s=PATIENCE_S)


def test_a_function_that_invokes_itself_is_stopped_and_the_event_goes_where_failures_go(stage: Stage) -> None:
    stage.create_stream(failed := f"{stage.stream}-failed")
    function = deploy_caller(stage, "f", INVOKES_ITSELF)
    stage.functions.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnFailure": {"Destination": stage.arn_of(failed)}}
    )

    stage.functions.invoke(FunctionName=function, InvocationType="Event", Payload=b"0")
    until(lambda: bool(texts(stage, failed)), patience_s=PATIENCE_S)

    assert texts(stage, stage.seen_stream) == [str(number) for number in range(16)]
    (failure,) = [json.loads(text) for text in texts(stage, failed)]
    assert failure["requestPayload"] == 16
    assert failure["requestContext"]["condition"] == "RecursiveInvocation"


def test_a_call_of_a_function_from_too_deep_in_a_chain_is_refused_in_awss_words(stage: Stage) -> None:
    function = deploy_caller(stage, "f", TELLS)
    client = stage.functions

    def add_trace(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=16:a87bd80c:0"

    client.meta.events.register("before-send.lambda.Invoke", add_trace)
    with pytest.raises(client.exceptions.RecursiveInvocationException) as refused:
        client.invoke(FunctionName=function)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "recursive loop" in refused.value.response["Message"]
    assert texts(stage, stage.seen_stream) == []


def test_the_trace_of_a_real_sdk_stops_a_loop_and_outlives_a_restart_of_its_daemon(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    stage = Stage(daemon, "orders")
    stage.build()
    put_with_boto3(stage, "deep", depth=16)
    put_with_boto3(stage, "less deep", depth=15)
    stage.put(("key", "outside"))

    daemon.kill()
    stage.meet(daemon_factory(data=data))
    mapping = stage.map(stage.deploy("f"), BatchSize=10)
    stage.wait_until_seen(["less deep", "outside"])

    status = stage.wait_until_done(mapping)
    assert [row.text for row in stage.seen()] == ["less deep", "outside"]
    assert status["counters"] | {"dropped": 1, "invoked": 2} == status["counters"]
