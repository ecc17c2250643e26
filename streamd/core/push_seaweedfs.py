"""SeaweedFS's messages about its files as records of AWS's S3 event.

Its filer tells of every path it has; those below ``/buckets`` are objects, the first part being the bucket. What else
there is (folders, the filer's own files) is no object, and gives no record. A rename is what it is in S3: a new object
and one that is gone.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from streamd.core.push_fields import iso_ms, number_of, table_of, text_of
from streamd.core.push_s3 import S3Record
from streamd.errors import EventMalformed

__all__ = ["is_seaweedfs", "read_seaweedfs"]

_WHAT = "the SeaweedFS message"
_ROOT = "/buckets/"
_NS_PER_S = 1_000_000_000


def is_seaweedfs(document: object) -> bool:
    """Tell whether a document looks like a message of SeaweedFS."""
    return isinstance(document, dict) and {"key", "event_type", "message_data"} <= document.keys()


def read_seaweedfs(document: object, *, region: str, now_ms: int, configuration: str) -> list[S3Record]:
    """Read a message; without records when it is not about an object. Raises EventMalformed."""
    if not isinstance(document, dict):
        raise EventMalformed("a SeaweedFS message must be a JSON object")
    path = text_of(document, "key", what=_WHAT)
    told = table_of(document, "message_data", what=_WHAT)
    new, old = table_of(told, "new_entry", what=_WHAT), table_of(told, "old_entry", what=_WHAT)
    match text_of(document, "event_type", what=_WHAT):
        case "create" | "update":
            found = [("ObjectCreated:Put", path, new)]
        case "delete":
            found = [("ObjectRemoved:Delete", path, old)]
        case "rename":
            found = [("ObjectCreated:Copy", _new_path(told, new), new), ("ObjectRemoved:Delete", path, old)]
        case kind:
            raise EventMalformed(f"event_type {kind[:40]!r} of {_WHAT} is none of create, update, delete and rename")
    records = [
        _record(event, where, entry, region=region, now_ms=now_ms, configuration=configuration)
        for event, where, entry in found
    ]
    return [record for record in records if record is not None]


def _new_path(told: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    folder = text_of(told, "new_parent_path", what=_WHAT)
    return f"{folder.rstrip('/')}/{text_of(new, 'name', what='the new entry of the SeaweedFS message')}"


def _record(
    event: str, path: str, entry: Mapping[str, Any], *, region: str, now_ms: int, configuration: str
) -> S3Record | None:
    bucket, _, key = path.removeprefix(_ROOT).partition("/")
    if not path.startswith(_ROOT) or not bucket or not key or entry.get("is_directory") is True:
        return None
    attributes = table_of(entry, "attributes", what=_WHAT)
    is_removal = event.startswith("ObjectRemoved")
    at_s = None if is_removal else number_of(attributes, "mtime", what=_WHAT)
    at_ns = (
        now_ms * 1_000_000 if at_s is None else at_s * _NS_PER_S + (number_of(attributes, "mtime_ns", what=_WHAT) or 0)
    )
    return S3Record(
        event=event,
        bucket=bucket,
        key=key,
        time=iso_ms(at_ns // 1_000_000),
        region=region,
        size=None if is_removal else number_of(attributes, "file_size", what=_WHAT),
        etag="" if is_removal else _etag(attributes),
        # It sorts by time among the events of one key, which is all that AWS says of it.
        sequencer=f"{at_ns:016X}",
        configuration=configuration,
    )


def _etag(attributes: Mapping[str, Any]) -> str:
    try:
        return b64decode(text_of(attributes, "md5", what=_WHAT, default=""), validate=True).hex()
    except ValueError:
        raise EventMalformed(f"md5 of {_WHAT} is no base64") from None
