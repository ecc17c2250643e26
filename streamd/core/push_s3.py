"""Notifications of S3 servers as AWS's S3 event: what MinIO, RustFS, VersityGW and Ceph RGW send, made one.

Only what AWS's event has is taken over, each member of its type: a function written for AWS sees nothing else, and
nothing that a sender adds can grow the event. Keys come URL-encoded from some servers (MinIO encodes the slash too) and
as they are from others (RGW). One that could be the encoded form of a key is taken for it; so a raw key that holds a
plus, or a percent with two hexadecimal digits behind it, is misread unless the sender's envelope tells the key as well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from streamd.core.push_fields import iso_ms, list_of, moment, number_of, table_of, text_of
from streamd.errors import EventMalformed

__all__ = ["S3Record", "encoded_key", "is_s3", "is_s3_test", "read_s3"]

_WHAT = "the S3 record"
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~*/!'()+:=@,;$&-]|%[0-9A-Fa-f]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Record:
    """One thing that happened to an object. ``key`` is the key itself, as nobody encoded it."""

    event: str
    bucket: str
    key: str
    time: str
    region: str
    size: int | None = None
    etag: str = ""
    version_id: str = ""
    sequencer: str = ""
    principal: str = ""
    owner: str = ""
    address: str = ""
    request_id: str = ""
    request_id_2: str = ""
    configuration: str = ""

    @property
    def bucket_arn(self) -> str:
        """The bucket's ARN, as AWS writes it: with neither region nor account."""
        return f"arn:aws:s3:::{self.bucket}"

    def to_document(self) -> dict[str, Any]:
        """Write it as a record of AWS's event, version 2.1."""
        is_removal = self.event.startswith("ObjectRemoved")
        stored: dict[str, Any] = {"key": encoded_key(self.key)}
        if self.size is not None and not (is_removal and self.size == 0):
            stored["size"] = self.size
        optional = {"eTag": self.etag, "versionId": self.version_id, "sequencer": self.sequencer}
        stored |= {name: text for name, text in optional.items() if text}
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": self.time,
            "eventName": self.event,
            "userIdentity": {"principalId": self.principal},
            "requestParameters": {"sourceIPAddress": self.address},
            "responseElements": {"x-amz-request-id": self.request_id, "x-amz-id-2": self.request_id_2},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.configuration,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": self.owner},
                    "arn": self.bucket_arn,
                },
                "object": stored,
            },
        }


def is_s3(document: object) -> bool:
    """Tell whether a document looks like a notification of an S3 server."""
    if not isinstance(document, dict) or not isinstance(document.get("Records"), list):
        return False
    records = document["Records"]
    return bool(records) and isinstance(records[0], dict) and isinstance(records[0].get("s3"), dict)


def is_s3_test(document: object) -> bool:
    """Tell whether a document only tries out whether anybody listens."""
    return isinstance(document, dict) and document.get("Event") == "s3:TestEvent" and "Records" not in document


def read_s3(document: object, *, region: str, now_ms: int) -> list[S3Record]:
    """Read a notification; the region and the moment are for records that tell none. Raises EventMalformed."""
    if not isinstance(document, dict):
        raise EventMalformed("an S3 notification must be a JSON object")
    records = list_of(document, "Records", what="the S3 notification")
    # MinIO's envelope tells the key of its only record as it is, behind the bucket's name.
    told = document.get("Key") if len(records) == 1 else None
    return [_record(each, told if isinstance(told, str) else "", region, now_ms) for each in records]


def encoded_key(key: str) -> str:
    """Encode a key as AWS does in events: like a form's value, but a slash stays one."""
    return quote_plus(key, safe="/")


def _record(record: object, told: str, region: str, now_ms: int) -> S3Record:
    if not isinstance(record, dict):
        raise EventMalformed("each of the Records must be an object")
    s3 = table_of(record, "s3", what=_WHAT, is_required=True)
    bucket = table_of(s3, "bucket", what=_WHAT, is_required=True)
    stored = table_of(s3, "object", what=_WHAT, is_required=True)
    name = text_of(bucket, "name", what="the bucket of the S3 record")
    key = text_of(stored, "key", what="the object of the S3 record")
    answered = table_of(record, "responseElements", what=_WHAT)
    time = text_of(record, "eventTime", what=_WHAT, default="")
    return S3Record(
        event=_event(text_of(record, "eventName", what=_WHAT)),
        bucket=name,
        key=_decoded_key(key, told.removeprefix(f"{name}/") if told.startswith(f"{name}/") else None),
        time=moment(time, what="eventTime of the S3 record") if time else iso_ms(now_ms),
        region=text_of(record, "awsRegion", what=_WHAT, default=region),
        size=number_of(stored, "size", what="the object of the S3 record"),
        # Some servers keep the quotes that an entity tag has in a header.
        etag=_text(stored, "eTag").strip('"'),
        version_id=_text(stored, "versionId"),
        sequencer=_text(stored, "sequencer"),
        principal=_text(table_of(record, "userIdentity", what=_WHAT), "principalId"),
        owner=_text(table_of(bucket, "ownerIdentity", what=_WHAT), "principalId"),
        address=_text(table_of(record, "requestParameters", what=_WHAT), "sourceIPAddress"),
        request_id=_text(answered, "x-amz-request-id"),
        request_id_2=_text(answered, "x-amz-id-2"),
        configuration=_text(s3, "configurationId"),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    return text_of(document, name, what=_WHAT, default="")


def _event(name: str) -> str:
    event = name.removeprefix("s3:")
    if not event:
        raise EventMalformed("eventName of the S3 record names no event")
    return event


def _decoded_key(key: str, told: str | None) -> str:
    try:
        plain = unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        return key
    if told is not None and told in (key, plain):
        return told
    return plain if _ENCODED.fullmatch(key) else key
