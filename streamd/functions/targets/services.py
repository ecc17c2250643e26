"""Documents sent to AWS's services, or to those that speak their protocols: queues, topics, buckets, buses, streams.

Each call raises OutsideRefused with the service's own error, or OutsideUnreachable; on return the service has it.
"""

import re
import uuid
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
import pybase64

from streamd.core.outcomes import event_bus_envelope
from streamd.errors import DeliveryFailed, OutsideRefused
from streamd.functions.deliveries import Delivery
from streamd.functions.targets.calls import OutsideAnswer, ServiceCalls
from streamd.functions.targets.endpoints import Endpoint

__all__ = ["SERVICE_PATTERNS", "Services"]

SERVICE_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    "sqs": re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:(?P<account>\d+):(?P<name>[A-Za-z0-9_-]+(?:\.fifo)?)"),
    "sns": re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d+:[A-Za-z0-9_-]+(?:\.fifo)?"),
    "s3": re.compile(r"arn:aws[a-z-]*:s3:::(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])"),
    "events": re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]+:\d+:event-bus/(?P<name>[A-Za-z0-9/._-]+)"),
    "kinesis": re.compile(r"arn:aws[a-z-]*:kinesis:[a-z0-9-]+:\d+:stream/(?P<name>[A-Za-z0-9_.-]{1,128})"),
}
"""The ARNs that a document can be sent to, by service."""

_NUMBERS: Final = frozenset({"ErrorCode"})
_ERROR_CODE: Final = re.compile(rb"<Code>([^<]{1,200})</Code>")
_ERROR_SENTENCE: Final = re.compile(rb"<Message>([^<]{0,1000})</Message>")


class Services:
    """Sends documents."""

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    async def send(self, service: str, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        """Send a document to what an ARN of this service names. Raises DeliveryFailed for one that does not fit it."""
        match service:
            case "sqs":
                await self._send_message(arn, endpoint, delivery)
            case "sns":
                await self._publish(arn, endpoint, delivery)
            case "s3":
                await self._put_object(arn, endpoint, delivery)
            case "events":
                await self._put_event(arn, endpoint, delivery)
            case "kinesis":
                await self._put_record(arn, endpoint, delivery)
            case _:
                raise AssertionError(service)

    async def _send_message(self, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        found = _match("sqs", arn)
        document: dict[str, Any] = {
            "QueueUrl": f"{endpoint.url}/{found['account']}/{found['name']}",
            "MessageBody": delivery.body.decode(errors="replace"),
        }
        if delivery.attributes:
            document["MessageAttributes"] = {
                name: {"DataType": _type_of(name), "StringValue": value} for name, value in delivery.attributes.items()
            }
        if arn.endswith(".fifo"):
            document |= _fifo_members(delivery)
        await self._calls.json(
            endpoint, service="sqs", target="AmazonSQS.SendMessage", document=document, version="1.0"
        )

    async def _publish(self, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        pairs = {
            "Action": "Publish",
            "Version": "2010-03-31",
            "TopicArn": arn,
            "Message": delivery.body.decode(errors="replace"),
        }
        for place, (name, value) in enumerate(delivery.attributes.items(), 1):
            prefix = f"MessageAttributes.entry.{place}"
            pairs[f"{prefix}.Name"] = name
            pairs[f"{prefix}.Value.DataType"] = _type_of(name)
            pairs[f"{prefix}.Value.StringValue"] = value
        if arn.endswith(".fifo"):
            pairs |= _fifo_members(delivery)
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        body = urlencode(pairs, quote_via=quote).encode()
        _require_done(await self._calls.send(endpoint, "POST", "/", service="sns", headers=headers, body=body))

    async def _put_object(self, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        # Keys are of plain characters, which have one spelling in the path and in what is signed.
        key = re.sub(r"[^A-Za-z0-9/._-]", "_", delivery.key)
        path = f"/{_match('s3', arn)['name']}/{key}"
        headers = {"content-type": "application/json"}
        answer = await self._calls.send(endpoint, "PUT", path, service="s3", headers=headers, body=delivery.body)
        _require_done(answer)

    async def _put_event(self, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        try:
            envelope = event_bus_envelope(orjson.loads(delivery.body), bus_arn=arn, event_id=str(uuid.uuid4()))
        except (KeyError, TypeError, ValueError):
            raise DeliveryFailed(f"{arn} takes the records of outcomes only, and this is none") from None
        entry = {
            "Source": envelope["source"],
            "DetailType": envelope["detail-type"],
            "Detail": delivery.body.decode(),
            "Resources": envelope["resources"],
            "EventBusName": arn,
        }
        document = {"Entries": [entry]}
        answer = await self._calls.json(endpoint, service="events", target="AWSEvents.PutEvents", document=document)
        if answer.get("FailedEntryCount"):
            told = answer["Entries"][0]
            raise OutsideRefused(str(told.get("ErrorCode")), str(told.get("ErrorMessage", "")), status=200)

    async def _put_record(self, arn: str, endpoint: Endpoint, delivery: Delivery) -> None:
        document = {
            "StreamName": _match("kinesis", arn)["name"],
            "PartitionKey": delivery.request_id,
            "Data": pybase64.b64encode_as_string(delivery.body),
        }
        await self._calls.json(endpoint, service="kinesis", target="Kinesis_20131202.PutRecord", document=document)


def _match(service: str, arn: str) -> re.Match[str]:
    found = SERVICE_PATTERNS[service].fullmatch(arn)
    assert found is not None, "it was matched to find the service"
    return found


def _type_of(attribute: str) -> str:
    return "Number" if attribute in _NUMBERS else "String"


def _fifo_members(delivery: Delivery) -> dict[str, str]:
    """Outcomes have no order among them: each is a group of its own, and one that is sent again is the same one."""
    return {
        "MessageGroupId": delivery.request_id,
        "MessageDeduplicationId": sha256(delivery.request_id.encode() + delivery.body).hexdigest(),
    }


def _require_done(answer: OutsideAnswer) -> None:
    """Accept a 2xx. Raises OutsideRefused with what an XML error says."""
    if 200 <= answer.status < 300:
        return
    code, sentence = _ERROR_CODE.search(answer.body), _ERROR_SENTENCE.search(answer.body)
    raise OutsideRefused(
        code[1].decode(errors="replace") if code else f"HTTP {answer.status}",
        sentence[1].decode(errors="replace") if sentence else "",
        status=answer.status,
    )
