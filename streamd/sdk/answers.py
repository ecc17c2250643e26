"""What came back over HTTP, read: a document, or the error that it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.core.event_stream import Message
from streamd.sdk.base64_text import b64decode
from streamd.sdk.failures import ServiceRefused, refusal_of
from streamd.sdk.uncollected import uncollected

__all__ = ["Answer", "JsonObject", "document_of", "event_of"]

# What a document of the API is in Python: Any enters here with the JSON and ends where a field is taken out.
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def document_of(operation: str, answer: Answer) -> JsonObject:
    """Read an answer. Raises ServiceRefused, as the class of it that fits, when it is an error."""
    request_id = answer.headers.get("x-amzn-RequestId", "")
    try:
        with uncollected():
            document = orjson.loads(answer.body) if answer.body else {}
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        # Not from the service: a proxy's page, or another server altogether.
        sentence = f"the endpoint answered HTTP {answer.status} with something that is not JSON"
        raise refusal_of("UnreadableAnswer", sentence, status=answer.status, request_id=request_id)
    if answer.status >= 400:
        raise _refusal(document, status=answer.status, request_id=request_id)
    if operation == "GetRecords":
        _decode_records(document)
    return document


def event_of(message: Message, *, request_id: str) -> JsonObject | None:
    """Read a pushed message; None for one that brings nothing. Raises ServiceRefused when it is an error."""
    kind = message.headers.get(":exception-type") or message.headers.get(":error-code")
    document: JsonObject = orjson.loads(message.payload or b"{}")
    if kind is not None:
        sentence = str(document.get("message") or message.headers.get(":error-message", ""))
        # A fault that is pushed has no status of its own: the head said 200 long before.
        status = 500 if kind.startswith("Internal") else 400
        raise refusal_of(kind, sentence, status=status, request_id=request_id)
    if message.headers.get(":event-type") != "SubscribeToShardEvent":
        return None
    _decode_records(document)
    return document


def _refusal(document: JsonObject, *, status: int, request_id: str) -> ServiceRefused:
    code = str(document.get("__type", "")).rpartition("#")[2] or f"HTTP {status}"
    sentence = str(document.get("message") or document.get("Message") or "")
    return refusal_of(code, sentence, status=status, request_id=request_id)


def _decode_records(document: JsonObject) -> None:
    decode = b64decode
    for record in document["Records"]:
        # Strictly: what else there may be is not skipped but wrong, and that is quicker too.
        record["Data"] = decode(record["Data"], None, True)
