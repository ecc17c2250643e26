"""How ``streamd tail`` writes a record: one line for people, one JSON document a line for programs.

A line for people never breaks and never drives the terminal: control characters in data or key are written as
escapes, and data that is no UTF-8 as base64.
"""

from datetime import UTC, datetime

import orjson
from pybase64 import b64encode_as_string

from streamd.cli.tail_merge import Record

__all__ = ["json_line", "text_line"]


def text_line(record: Record) -> str:
    """Write time, shard (with the record's place in its aggregate), key and data, with a space between."""
    text = _text_of(record.data)
    data = f"base64:{b64encode_as_string(record.data)}" if text is None else _printable(text)
    key = "-" if record.key is None else _printable(record.key)
    place = "" if record.sub_sequence_number is None else f"#{record.sub_sequence_number}"
    return f"{_time_of(record)} {record.shard_id}{place} {key} {data}\n"


def json_line(record: Record) -> str:
    """Write a document; its data is ``data`` when it is UTF-8, else ``data_base64``."""
    text = _text_of(record.data)
    data = {"data_base64": b64encode_as_string(record.data)} if text is None else {"data": text}
    document: dict[str, object] = {
        "time": _time_of(record),
        "shard": record.shard_id,
        "sequence_number": record.sequence_number,
        "key": record.key,
    }
    if record.sub_sequence_number is not None:
        document["sub_sequence_number"] = record.sub_sequence_number
    if record.hash_key is not None:
        document["explicit_hash_key"] = record.hash_key
    return orjson.dumps(document | data, option=orjson.OPT_APPEND_NEWLINE).decode()


def _time_of(record: Record) -> str:
    moment = datetime.fromtimestamp(record.arrival_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{record.arrival_ms % 1000:03d}Z"


def _text_of(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
