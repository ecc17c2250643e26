"""What is pushed from outside, made into the event that a function is given: recognised, filtered, normalised.

The forms differ by sender and are told apart by what is sent, unless the route says which one it takes. SNS's messages
come back as they are, since somebody must first find out whether they are true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

import orjson

from streamd.core.push_cloudevents import has_cloudevent_headers, is_cloudevent, read_cloudevent
from streamd.core.push_filters import PushFilter
from streamd.core.push_s3 import S3Record, is_s3, is_s3_test, read_s3
from streamd.core.push_seaweedfs import is_seaweedfs, read_seaweedfs
from streamd.core.push_sns import SnsMessage, is_sns, read_sns
from streamd.errors import EventMalformed

__all__ = ["PushFormat", "Pushed", "PushedEvent", "PushedNothing", "read_pushed"]


class PushFormat(StrEnum):
    """The forms in which events arrive. AUTO tells them apart by what is sent."""

    AUTO = "auto"
    S3 = "s3"
    SEAWEEDFS = "seaweedfs"
    SNS = "sns"
    CLOUDEVENTS = "cloudevents"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A request that was let in: lower-case headers, the body, and what is not in them."""

    headers: Mapping[str, str]
    body: bytes
    route: str
    region: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class PushedEvent:
    """An event for the function, and the ARNs of what it says it comes from, where it says so."""

    payload: bytes
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PushedNothing:
    """Nothing that a function is to hear of; the sentence says why."""

    reason: str


def read_pushed(pushed: Pushed, *, form: PushFormat, wanted: PushFilter) -> PushedEvent | PushedNothing | SnsMessage:
    """Read what was pushed. Raises EventMalformed."""
    document = _parsed(pushed.body)
    if form is PushFormat.AUTO:
        form = _recognised(pushed.headers, document)
    if form in (PushFormat.S3, PushFormat.SEAWEEDFS, PushFormat.SNS) and isinstance(document, _Unparsed):
        raise EventMalformed(document.sentence)
    match form:
        case PushFormat.S3:
            if is_s3_test(document):
                return PushedNothing("it only tries out the route")
            return _objects(read_s3(document, region=pushed.region, now_ms=pushed.now_ms), wanted)
        case PushFormat.SEAWEEDFS:
            records = read_seaweedfs(document, region=pushed.region, now_ms=pushed.now_ms, configuration=pushed.route)
            return _objects(records, wanted)
        case PushFormat.SNS:
            message = read_sns(pushed.headers, document)
            return message if wanted.lets_type(None) else PushedNothing("the route's filter does not let it through")
        case PushFormat.CLOUDEVENTS:
            event = read_cloudevent(pushed.headers, pushed.body)
            return _single(event.payload, event.type, wanted)
        case PushFormat.RAW:
            if isinstance(document, _Unparsed):
                raise EventMalformed(document.sentence)
            # As it was sent: numbers keep all their digits.
            return _single(pushed.body or b"{}", None, wanted)
        case PushFormat.AUTO:
            raise AssertionError("something is always recognised")
        case _:
            assert_never(form)


@dataclass(frozen=True, slots=True)
class _Unparsed:
    """A body that is no JSON: only a CloudEvent in binary mode may have one."""

    sentence: str


def _parsed(body: bytes) -> Any:
    if not body:
        return {}
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _Unparsed(f"the body is no JSON: {error.msg}")


def _recognised(headers: Mapping[str, str], document: object) -> PushFormat:
    """Tell the form of a request; what nothing else fits is taken as it is."""
    # S3 comes before a CloudEvent's headers: Ceph sends both at once, and a function expects AWS's form of it.
    if is_s3(document) or is_s3_test(document):
        return PushFormat.S3
    if is_sns(headers, document):
        return PushFormat.SNS
    if has_cloudevent_headers(headers) or is_cloudevent(headers, document):
        return PushFormat.CLOUDEVENTS
    return PushFormat.SEAWEEDFS if is_seaweedfs(document) else PushFormat.RAW


def _objects(records: Sequence[S3Record], wanted: PushFilter) -> PushedEvent | PushedNothing:
    if not records:
        return PushedNothing("it is about no object")
    chosen = [record for record in records if wanted.lets_object(record)]
    if not chosen:
        return PushedNothing("the route's filter does not let it through")
    payload = orjson.dumps({"Records": [record.to_document() for record in chosen]})
    return PushedEvent(payload, tuple(dict.fromkeys(record.bucket_arn for record in chosen)))


def _single(payload: bytes, kind: str | None, wanted: PushFilter) -> PushedEvent | PushedNothing:
    if not wanted.lets_type(kind):
        return PushedNothing("the route's filter does not let it through")
    return PushedEvent(payload)
