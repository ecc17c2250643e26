"""Functions invoked through the API: answers, errors, logs, throttles, events; with boto3 against a real daemon."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client, package
from tests.functions.refused import refusal_of
from tests.workers.wire import until

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000:function"

VARIED = """
import json, os, sys, tempfile, time, ctypes

KEPT = os.path.join(tempfile.gettempdir(), "kept")

def handler(event, context):
    what = event.get("do")
    if what == "raise":
        raise ValueError("bad record")
    if what == "exit":
        os._exit(event["status"])
    if what == "sleep":
        time.sleep(60)
    if what == "crash":
        ctypes.string_at(0)
    if what == "large":
        return "x" * 7_000_000
    if what == "print":
        print("hello from", context.function_name, context.function_version)
    if what == "arn":
        return context.invoked_function_arn
    if what == "keep":
        with open(KEPT, "a") as file:
            file.write(event["text"])
        with open(KEPT) as file:
            return file.read()
    return event
"""


def invoke(client: Any, name: str, event: object = None, **members: Any) -> tuple[Any, Any]:
    """Invoke; the answer and its payload."""
    body = json.dumps({} if event is None else event).encode()
    answer = client.invoke(**{"FunctionName": name, "Payload": body, **members})
    payload = answer["Payload"].read()
    return answer, json.loads(payload) if payload else None


def test_a_function_answers_what_it_was_given(functions: Any, name: str) -> None:
    deploy(functions, name)

    answer, payload = invoke(functions, name, {"a": [1, "ü"]})

    assert payload == {"a": [1, "ü"]}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer


def test_no_payload_is_an_empty_document(functions: Any, name: str) -> None:
    deploy(functions, name)

    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) == {}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"do": "raise"}, {"errorType": "ValueError", "errorMessage": "bad record"}),
        (
            {"do": "exit", "status": 7},
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: {id} Error: Runtime exited with error: exit status 7",
            },
        ),
        (
            {"do": "exit", "status": 0},
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: {id} Error: Runtime exited without providing a reason",
            },
        ),
        (
            {"do": "crash"},
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: {id} Error: Runtime exited with error: signal: segmentation fault",
            },
        ),
        (
            {"do": "large"},
            {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            },
        ),
        (
            {"do": "sleep"},
            {
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: {id} Error: Task timed out after 1.00 seconds",
            },
        ),
    ],
)
def test_what_goes_wrong_is_told_as_aws_tells_it(
    functions: Any, name: str, event: dict[str, Any], error: dict[str, str]
) -> None:
    deploy(functions, name, VARIED, Timeout=1 if event["do"] == "sleep" else 30)

    answer, payload = invoke(functions, name, event)

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert answer["StatusCode"] == 200
    assert {key: payload[key] for key in error} == {
        key: value.replace("{id}", request_id) for key, value in error.items()
    }
    # The next invocation meets a new process.
    assert invoke(functions, name, {"fine": True})[1] == {"fine": True}


def test_after_a_timeout_tmp_is_as_it_was(daemon_factory: Callable[..., Daemon]) -> None:
    # One environment and no spare beside it, so that the next invocation meets the one that timed out.
    functions = lambda_client(daemon_factory("--function-concurrency", "1"))
    deploy(functions, "f", VARIED, Timeout=2)
    invoke(functions, "f", {"do": "keep", "text": "a"})
    assert invoke(functions, "f", {"do": "sleep"})[0]["FunctionError"] == "Unhandled"

    _, kept = invoke(functions, "f", {"do": "keep", "text": "b"})

    assert kept == "ab"


def test_an_error_at_import_is_told(functions: Any, name: str) -> None:
    deploy(functions, name, "import nothing_of_that_name\n")

    answer, payload = invoke(functions, name)

    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert payload["errorMessage"] == "Unable to import module 'app': No module named 'nothing_of_that_name'"


def test_the_end_of_the_log_comes_with_the_answer(functions: Any, name: str) -> None:
    deploy(functions, name, VARIED)

    answer, _ = invoke(functions, name, {"do": "print"}, LogType="Tail")

    request_id = answer["ResponseMetadata"]["RequestId"]
    lines = b64decode(answer["LogResult"]).decode().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("START"))
    assert lines[start] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[start + 1] == f"hello from {name} $LATEST"
    assert lines[start + 2] == f"END RequestId: {request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: [1-9]\d* MB\t(Init Duration: \d+\.\d\d ms\t)?",
        lines[start + 3],
    )


def test_an_alias_and_a_version_run_what_they_stand_for(functions: Any, name: str) -> None:
    deploy(functions, name, "def handler(e, c):\n    return [c.invoked_function_arn, 'first']\n")
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.update_function_code(FunctionName=name, ZipFile=package("def handler(e, c):\n    return 'second'\n"))

    by_alias, answer = invoke(functions, name, Qualifier="live")
    _, latest = invoke(functions, name)

    assert answer == [f"{ACCOUNT}:{name}:live", "first"]
    assert by_alias["ExecutedVersion"] == "1"
    assert latest == "second"


def test_a_weighted_alias_runs_both_versions(functions: Any, name: str) -> None:
    deploy(functions, name, "def handler(e, c):\n    return 1\n")
    functions.publish_version(FunctionName=name)
    functions.update_function_code(FunctionName=name, ZipFile=package("def handler(e, c):\n    return 2\n"))
    functions.publish_version(FunctionName=name)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    functions.create_alias(FunctionName=name, Name="both", FunctionVersion="1", RoutingConfig=weights)

    found = {invoke(functions, name, Qualifier="both")[1] for _ in range(60)}

    assert found == {1, 2}


def test_a_dry_run_looks_and_runs_nothing(functions: Any, name: str) -> None:
    deploy(functions, name, "raise SystemExit\n")

    answer = functions.invoke(FunctionName=name, InvocationType="DryRun")

    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")
    assert refusal_of(functions.invoke, FunctionName="none", InvocationType="DryRun").status == 404


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"Payload": b"no json"}, 400, "InvalidRequestContentException"),
        ({"Payload": b'"' + b"x" * 6_300_000 + b'"'}, 413, "RequestTooLargeException"),
        ({"Payload": b'"' + b"x" * 1_100_000 + b'"', "InvocationType": "Event"}, 413, "RequestTooLargeException"),
        ({"ClientContext": "no base64"}, 400, "InvalidParameterValueException"),
        ({"Qualifier": "none"}, 404, "ResourceNotFoundException"),
        ({"InvocationType": "Other"}, 400, "ValidationException"),
    ],
)
def test_what_cannot_be_invoked_is_refused(
    functions: Any, name: str, members: dict[str, Any], status: int, code: str
) -> None:
    deploy(functions, name)

    refusal = refusal_of(functions.invoke, FunctionName=name, **members)

    assert (refusal.status, refusal.code) == (status, code)


def test_a_stopped_function_is_throttled(functions: Any, name: str) -> None:
    deploy(functions, name)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)

    refusal = refusal_of(functions.invoke, FunctionName=name)

    assert (refusal.status, refusal.code, refusal.message) == (429, "TooManyRequestsException", "Rate Exceeded.")


def test_more_at_once_than_there_may_be_are_throttled(daemon_factory: Callable[..., Daemon]) -> None:
    client = lambda_client(daemon_factory("--function-concurrency", "2"))
    deploy(client, "f", "import time\ndef handler(e, c):\n    time.sleep(2)\n    return 1\n", Timeout=10)

    def attempt(_: int) -> str:
        try:
            return str(invoke(client, "f")[1])
        except client.exceptions.TooManyRequestsException as throttled:
            return str(throttled.response["Reason"])

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(attempt, range(6)))

    assert outcomes == ["1", "1", *["ConcurrentInvocationLimitExceeded"] * 4]


def test_an_event_is_kept_and_run(functions: Any, name: str, daemon: Daemon) -> None:
    deploy(functions, name, "def handler(e, c):\n    print('ran with', e['n'])\n")

    answers = [
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}'),
        functions.invoke_async(FunctionName=name, InvokeArgs=b'{"n": 2}'),
    ]
    assert answers[0]["Payload"].read() == b""

    logs = lambda_client(daemon, "logs")

    def texts() -> str:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return "".join(event["message"] for event in events)

    until(lambda: "ran with 1" in texts() and "ran with 2" in texts())
    assert [answer.get("StatusCode") or answer["Status"] for answer in answers] == [202, 202]


def test_events_that_were_kept_survive_kill_9(daemon_factory: Callable[..., Daemon], tmp_path: Path) -> None:
    first = daemon_factory(data=tmp_path / "kept")
    client = lambda_client(first)
    first.client().create_stream(StreamName="outcomes", ShardCount=1)
    deploy(client, "f")
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
    # Not what is printed: of that the last moments before a kill may be lost.
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/outcomes"
    client.put_function_event_invoke_config(FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": arn}})
    for number in range(20):
        client.invoke(FunctionName="f", InvocationType="Event", Payload=str(number).encode())["Payload"].read()

    first.kill()
    kinesis = daemon_factory(data=tmp_path / "kept").client()
    asked = {"StreamName": "outcomes", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}

    def handled() -> set[int]:
        records = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**asked)["ShardIterator"])["Records"]
        return {json.loads(record["Data"])["requestPayload"] for record in records}

    until(lambda: handled() == set(range(20)), patience_s=90)


def test_a_response_stream_holds_the_answer_and_its_end(functions: Any, name: str) -> None:
    deploy(functions, name, VARIED)

    good = list(functions.invoke_with_response_stream(FunctionName=name, Payload=b'{"a":1}')["EventStream"])
    bad = list(functions.invoke_with_response_stream(FunctionName=name, Payload=b'{"do":"raise"}')["EventStream"])

    assert json.loads(good[0]["PayloadChunk"]["Payload"]) == {"a": 1}
    assert good[1] == {"InvokeComplete": {}}
    assert bad[0]["InvokeComplete"]["ErrorCode"] == "Unhandled"


def test_provisioned_environments_become_ready(functions: Any, name: str) -> None:
    deploy(functions, name, "import os\ndef handler(e, c):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n")
    functions.publish_version(FunctionName=name)

    put = functions.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )

    def told() -> Any:
        return functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")

    until(lambda: told()["Status"] == "READY")
    assert put["RequestedProvisionedConcurrentExecutions"] == 1
    assert invoke(functions, name, Qualifier="1")[1] == "provisioned-concurrency"
    listed = functions.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [each["FunctionArn"] for each in listed] == [f"{ACCOUNT}:{name}:1"]
    functions.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert (
        refusal_of(functions.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1").code
        == "ProvisionedConcurrencyConfigNotFoundException"
    )


def test_a_layer_is_on_the_path_of_the_function(functions: Any, name: str) -> None:
    content = package("value = 42\n", "python/shared_layer.py")
    layer = functions.publish_layer_version(LayerName=name, Content={"ZipFile": content})["LayerVersionArn"]
    deploy(
        functions,
        name,
        "import shared_layer\ndef handler(e, c):\n    return shared_layer.value\n",
        Layers=[layer],
    )

    assert invoke(functions, name)[1] == 42


def test_any_worker_answers(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory("--workers", "2")
    clients = [lambda_client(daemon, connections=1) for _ in range(8)]
    deploy(clients[0], "f")

    answers = [invoke(client, "f", {"n": number})[1]["n"] for number, client in enumerate(clients)]

    assert answers == list(range(8))
