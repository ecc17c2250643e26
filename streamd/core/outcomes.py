"""What is told of an asynchronous invocation when it is over: to a destination, a dead letter queue, an event bus.

Member by member as AWS tells it; a response that is no JSON is told as a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

__all__ = ["Condition", "Outcome", "dead_letter_attributes", "destination_record", "event_bus_envelope"]

_ERROR_MESSAGE_BYTE_COUNT_MAX = 1024

Condition = str
"""Success, RetriesExhausted, EventAgeExceeded or ZeroReservedConcurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an event ended. ``arn`` has a qualifier; ``response`` is None when the function never ran."""

    request_id: str
    arn: str
    condition: Condition
    attempt_count: int
    payload: bytes
    version: str = ""
    response: bytes | None = None
    error: str | None = None
    ended_ms: int = 0


def destination_record(outcome: Outcome) -> bytes:
    """Write the record that a destination is sent."""
    return orjson.dumps(_record(outcome))


def dead_letter_attributes(outcome: Outcome) -> dict[str, str]:
    """Give the attributes that stand beside a dead event, which is sent as it was."""
    message = outcome.condition
    response = _plain(outcome.response)
    if isinstance(response, dict) and isinstance(response.get("errorMessage"), str):
        message = response["errorMessage"]
    cut = message.encode()[:_ERROR_MESSAGE_BYTE_COUNT_MAX].decode(errors="ignore")
    return {"RequestID": outcome.request_id, "ErrorCode": "200", "ErrorMessage": cut}


def event_bus_envelope(record: Mapping[str, Any], *, bus_arn: str, event_id: str) -> dict[str, Any]:
    """Wrap a destination's record as an event bus has it."""
    arn = record["requestContext"]["functionArn"]
    _, _, _, region, account, *_ = arn.split(":")
    result = "Success" if record["requestContext"]["condition"] == "Success" else "Failure"
    return {
        "version": "0",
        "id": event_id,
        "detail-type": f"Lambda Function Invocation Result - {result}",
        "source": "lambda",
        "account": account,
        "time": f"{record['timestamp'][:19]}Z",
        "region": region,
        "resources": [bus_arn, arn],
        "detail": record,
    }


def _record(outcome: Outcome) -> dict[str, Any]:
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": _iso(outcome.ended_ms),
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": outcome.arn,
            "condition": outcome.condition,
            "approximateInvokeCount": outcome.attempt_count,
        },
        "requestPayload": _plain(outcome.payload),
    }
    if outcome.response is not None:
        record["responseContext"] = {"statusCode": 200, "executedVersion": outcome.version}
        if outcome.error is not None:
            record["responseContext"]["functionError"] = outcome.error
        record["responsePayload"] = _plain(outcome.response)
    return record


def _plain(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace")


def _iso(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
