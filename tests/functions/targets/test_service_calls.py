"""Signed calls: the signatures against botocore's own, the errors of servers as they come."""

from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from streamd.engine.clock import SystemClock
from streamd.errors import OutsideRefused, OutsideUnreachable
from streamd.functions.deliveries import Delivery
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.endpoints import Endpoint, EndpointTable
from streamd.functions.targets.services import Services
from streamd.server.outbound import Outbound
from tests.clocks import ManualClock
from tests.functions.targets.webhooks import Heard, answer, open_webhook

DELIVERY = Delivery(
    body=b'{"requestContext":{"functionArn":"arn:aws:lambda:eu-west-1:000000000000:function:f:1","condition":"Success"},'
    b'"timestamp":"2026-11-23T03:25:00.000Z"}',
    key="aws/lambda/async/f/2026/11/23/2026-11-23T03.25.00-id",
    request_id="id",
    attributes={"ErrorMessage": "b o+o=m&ö", "ErrorCode": "200"},
)
ARNS = {
    "sqs": "arn:aws:sqs:eu-west-1:123456789012:q",
    "sns": "arn:aws:sns:eu-west-1:123456789012:t",
    "s3": "arn:aws:s3:::logs.example",
    "events": "arn:aws:events:eu-west-1:123456789012:event-bus/b",
    "kinesis": "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
}


def _endpoint(url: str, arn: str) -> Endpoint:
    keys = {"access_key_id": "AKIAOTHER", "secret_access_key": "hush", "session_token": "token/+="}
    found = EndpointTable.parse([{"arn": "arn:aws:*:*", "endpoint_url": url, "region": "eu-west-1", **keys}]).find(arn)
    assert found is not None
    return found


@pytest.mark.parametrize("service", sorted(ARNS))
async def test_a_call_is_signed_as_botocore_signs_it(outbound: Outbound, service: str) -> None:
    services = Services(ServiceCalls(outbound, SystemClock()))

    async with open_webhook(answer(200, b"{}")) as hook:
        await services.send(service, ARNS[service], _endpoint(hook.url, ARNS[service]), DELIVERY)

    heard = hook.heard[0]
    assert heard.headers["authorization"].endswith(f"Signature={_signature(service, hook.url, heard)}")
    assert heard.headers["x-amz-security-token"] == "token/+="
    assert ("x-amz-content-sha256" in heard.headers) == (service == "s3")


@pytest.mark.parametrize(
    ("reply", "code", "sentence"),
    [
        (answer(400, b'{"__type":"com.x#Gone","message":"it went"}'), "Gone", "it went"),
        (answer(400, b'{"Message":"it went"}', "x-amzn-errortype: Gone:http://x/"), "Gone", "it went"),
        (answer(500, b"<html>"), "HTTP 500", ""),
        (answer(403), "HTTP 403", ""),
    ],
)
async def test_an_error_is_told_in_the_words_of_the_service(
    outbound: Outbound, reply: bytes, code: str, sentence: str
) -> None:
    async with open_webhook(reply) as hook:
        with pytest.raises(OutsideRefused) as caught:
            await _call(outbound, hook.url)

    assert (caught.value.code, caught.value.sentence) == (code, sentence)


async def test_an_answer_that_is_no_document_is_none(outbound: Outbound) -> None:
    async with open_webhook(answer(200, b"<html>")) as hook:
        with pytest.raises(OutsideUnreachable, match="not a JSON object"):
            await _call(outbound, hook.url)


async def test_the_time_of_the_service_is_told(outbound: Outbound) -> None:
    calls = ServiceCalls(outbound, ManualClock(5))
    replies = answer(200, b"{}", "date: Mon, 23 Nov 2026 03:25:00 GMT"), answer(200, b"{}", "date: soon")

    async with open_webhook(*replies) as hook:
        endpoint = _endpoint(hook.url, ARNS["kinesis"])
        found = [(await calls.timed(endpoint, service="kinesis", target="T", document={})).time_ms for _ in replies]

    assert found == [1_795_404_300_000, 5]


async def _call(outbound: Outbound, url: str) -> dict[str, Any]:
    calls = ServiceCalls(outbound, SystemClock())
    return await calls.json(_endpoint(url, ARNS["sqs"]), service="sqs", target="T", document={})


def _signature(service: str, url: str, heard: Heard) -> str:
    """Sign what was heard once more, with botocore, at the time it was signed."""
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    signer = kind(Credentials("AKIAOTHER", "hush", "token/+="), service, "eu-west-1")
    signed = heard.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(
        method=heard.method,
        url=url + heard.target,
        headers={name: heard.headers[name] for name in signed},
        data=heard.body,
    )
    request.context["timestamp"] = heard.headers["x-amz-date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))
