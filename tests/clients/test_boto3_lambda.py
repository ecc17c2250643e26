"""boto3 with functions, as its user runs it: every operation there is, its paginators and waiters, also under TLS."""

import io
from typing import Any

import boto3
import pytest

from tests.clients.botocore_rows import note_operations
from tests.clients.client_table import LAMBDA_OPERATIONS, ClientRow
from tests.clients.conftest import SeenBy, TlsDaemon
from tests.clients.lambda_walk import lambda_walk
from tests.clients.model_answers import watch_answers
from tests.clients.walk import Walked
from tests.conftest import DaemonFactory
from tests.functions.lambdas import deploy

__all__: list[str] = []


def _client(url: str, row: ClientRow, *, authority: str | None = None) -> Any:
    """Make a client with botocore's own settings, so that it validates what it is given."""
    client = boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        verify=authority,
    )
    note_operations(client, row)
    return client


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    """Read what an answer still holds open."""
    if "Payload" in answer:
        answer["Payload"] = answer["Payload"].read()
    if "EventStream" in answer:
        answer["EventStream"] = list(answer["EventStream"])
    return answer


def _sent(arguments: dict[str, Any]) -> dict[str, Any]:
    """Send what an asynchronous call holds as a file, which is what its member is meant for."""
    return {name: io.BytesIO(value) if name == "InvokeArgs" else value for name, value in arguments.items()}


def test_every_operation_works_and_is_answered_as_the_model_says(
    daemon_factory: DaemonFactory, seen_by: SeenBy, stream_name: str
) -> None:
    row = seen_by("boto3, lambda", version=boto3.__version__, transport="HTTP/1.1")
    daemon = daemon_factory()
    kinesis = daemon.client()
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["StreamARN"]
    client = _client(daemon.url, row)
    method_by_operation = {operation: name for name, operation in client.meta.method_to_api_mapping.items()}
    differences = watch_answers(client)

    walked = Walked(lambda_walk("walked", arn))
    while walked.call is not None:
        call = getattr(client, method_by_operation[walked.call.operation])
        walked.answered(_plain(call(**_sent(walked.call.arguments))))

    assert differences == []
    assert walked.operations == set(row.operations) == LAMBDA_OPERATIONS


def test_waiters_pages_and_errors_are_as_its_users_expect_them(
    tls_daemon: TlsDaemon, seen_by: SeenBy, stream_name: str
) -> None:
    row = seen_by("boto3, lambda", version=boto3.__version__, transport="HTTP/1.1 over TLS")
    client = _client(tls_daemon.url, row, authority=str(tls_daemon.authority))
    names = [f"{stream_name}-{number}" for number in range(3)]
    every_second = {"Delay": 1}

    for name in names:
        deploy(client, name)
        client.get_waiter("function_exists").wait(FunctionName=name, WaiterConfig=every_second)
    client.update_function_configuration(FunctionName=names[0], Timeout=9)
    client.get_waiter("function_updated_v2").wait(FunctionName=names[0], WaiterConfig=every_second)
    client.publish_version(FunctionName=names[0])
    published = client.get_waiter("published_version_active")
    published.wait(FunctionName=names[0], Qualifier="1", WaiterConfig=every_second)
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    version_pages = list(client.get_paginator("list_versions_by_function").paginate(FunctionName=names[0]))
    answered = client.invoke(FunctionName=names[0], Payload=b'{"a":1}')["Payload"].read()
    for name in names:
        client.delete_function(FunctionName=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_function(FunctionName=names[0])

    assert set(names) <= {each["FunctionName"] for page in pages for each in page["Functions"]}
    assert len(pages[0]["Functions"]) == 2
    assert [each["Version"] for page in version_pages for each in page["Versions"]] == ["$LATEST", "1"]
    assert answered == b'{"a": 1}'
    assert caught.value.response["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{names[0]}"
    )
