"""CloudEvents 1.0 over HTTP: either mode in, the structured form out.

What comes structured is passed on byte for byte. What comes in binary mode has its attributes in ``ce-`` headers: JSON
data goes in as it was sent, text as a text, anything else in base64. Batches are refused: one request is one event.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from streamd.core.push_fields import text_of
from streamd.errors import EventMalformed

__all__ = ["CloudEvent", "has_cloudevent_headers", "is_cloudevent", "read_cloudevent"]

_WHAT = "the CloudEvent"
_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_REQUIRED = ("id", "source", "type")
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event: its type, where it says it comes from, and its structured form."""

    type: str
    source: str
    payload: bytes


def is_cloudevent(headers: Mapping[str, str], document: object) -> bool:
    """Tell whether a request is an event in structured form, by its type or by what it holds."""
    if _content_type(headers).startswith(_STRUCTURED):
        return True
    return isinstance(document, dict) and {"specversion", *_REQUIRED} <= document.keys()


def has_cloudevent_headers(headers: Mapping[str, str]) -> bool:
    """Tell whether a request is an event in binary mode."""
    return "ce-specversion" in headers


def read_cloudevent(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Read an event in either mode. Raises EventMalformed."""
    content_type = _content_type(headers)
    if content_type.startswith(_BATCH):
        raise EventMalformed("batches of CloudEvents are not taken: send each event in a request of its own")
    if has_cloudevent_headers(headers) and not content_type.startswith(_STRUCTURED):
        return _binary(headers, body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EventMalformed(f"{_WHAT} is no JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise EventMalformed(f"{_WHAT} must be a JSON object")
    _check(document)
    if "data" in document and "data_base64" in document:
        raise EventMalformed(f"{_WHAT} has both data and data_base64")
    return CloudEvent(type=document["type"], source=document["source"], payload=body)


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").strip().lower()


def _check(attributes: Mapping[str, Any]) -> None:
    version = text_of(attributes, "specversion", what=_WHAT)
    if version != "1.0":
        raise EventMalformed(f"specversion {version[:20]!r} of {_WHAT} is not 1.0")
    for name in _REQUIRED:
        text_of(attributes, name, what=_WHAT)


def _binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    document: dict[str, Any] = {}
    for header, value in headers.items():
        if not header.startswith("ce-"):
            continue
        name = header.removeprefix("ce-")
        if not _ATTRIBUTE.fullmatch(name) or name in {"data", "datacontenttype"}:
            raise EventMalformed(f"header {header[:80]!r} names no attribute of a CloudEvent")
        document[name] = _plain(header, value)
    _check(document)
    content_type = headers.get("content-type", "").strip()
    if content_type:
        document["datacontenttype"] = _plain("content-type", content_type)
    if body:
        document |= _data(content_type.partition(";")[0].strip().lower(), body)
    return CloudEvent(type=document["type"], source=document["source"], payload=orjson.dumps(document))


def _plain(header: str, value: str) -> str:
    """Undo the quotes and percents of a header's value. Raises EventMalformed."""
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    try:
        plain = unquote(text, errors="strict")
        plain.encode()
    except UnicodeError:
        raise EventMalformed(f"header {header} is no UTF-8 text") from None
    return plain


def _data(content_type: str, body: bytes) -> dict[str, Any]:
    if content_type.endswith(("/json", "+json")) or not content_type:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if content_type:
                raise EventMalformed(f"the data of {_WHAT} is no JSON: {error.msg}") from None
        else:
            # As it was sent: numbers keep all their digits.
            return {"data": orjson.Fragment(body)}
    if content_type.startswith("text/"):
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            return {"data_base64": b64encode(body).decode()}
    return {"data_base64": b64encode(body).decode()}
