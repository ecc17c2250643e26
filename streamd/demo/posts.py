"""Posts: the demo's input, and the lines of NDJSON it can be read from.

A line is a JSON object with ``text``, ``user`` and ``time``; anything else in it is ignored. A time is
ISO 8601 (one without an offset is UTC) or seconds since 1970. A line that is none of this is an error that
names it: skipping it would make the verified count a count of something else.

Reading holds one piece of the input at a time, never the whole of it, and gives what has arrived so far, so
that a live pipe on standard input is replayed as it comes. The demo is a program its users run on their own
files, not part of the daemon, which is why it opens them itself.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from typing import Any, Final

import orjson

from streamd.demo.failures import PostInvalid

__all__ = ["LINE_BYTE_COUNT_MAX", "USER_LENGTH_MAX", "Post", "parse_post", "read_posts"]

# A record holds 1 MiB with its key. This leaves room for the key and for what the replay adds to a post, and
# bounds what a reader holds while it looks for the end of a line.
LINE_BYTE_COUNT_MAX: Final = 1_000_000
# The user becomes the partition key, which has at most this many characters.
USER_LENGTH_MAX: Final = 256

_PIECE_BYTE_COUNT: Final = 65_536
# From the year 1 to 9999, which is what datetime can say.
_TIME_S_MIN: Final = -62_135_596_800
_TIME_S_MAX: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Post:
    """What one user said at one moment."""

    user: str
    text: str
    time_ms: int


def read_posts(file: FileIO, *, source: str) -> Iterator[Sequence[Post]]:
    """Read posts until the file ends, those whose lines have arrived; ``source`` names it in errors.

    Raises PostInvalid at the first line that is no post.
    """
    line_count = 0
    rest = b""
    while True:
        piece = file.read(_PIECE_BYTE_COUNT)
        if not piece:
            break
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        if len(rest) > LINE_BYTE_COUNT_MAX:
            raise PostInvalid(source, line_count + len(lines) + 1, _too_long())
        yield _posts_of(lines, source=source, line_first=line_count + 1)
        line_count += len(lines)
    yield _posts_of([rest], source=source, line_first=line_count + 1)


def parse_post(line: bytes) -> Post:
    """Read one line. Raises ValueError with what is wrong with it."""
    if len(line) > LINE_BYTE_COUNT_MAX:
        raise ValueError(_too_long())
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the line's error is made of it
    user = _string_of(document, "user")
    if not 1 <= len(user) <= USER_LENGTH_MAX:
        raise ValueError(f"user must have 1 to {USER_LENGTH_MAX} characters and has {len(user)}")
    return Post(user, _string_of(document, "text"), _time_ms_of(document))


def _posts_of(lines: Sequence[bytes], *, source: str, line_first: int) -> list[Post]:
    posts: list[Post] = []
    for line, content in enumerate(lines, line_first):
        if not content.strip():
            continue
        try:
            posts.append(parse_post(content))
        except ValueError as error:
            raise PostInvalid(source, line, str(error)) from error
    return posts


def _too_long() -> str:
    return f"longer than {LINE_BYTE_COUNT_MAX} bytes"


def _string_of(document: dict[str, Any], member: str) -> str:
    if member not in document:
        raise ValueError(f"{member} is missing")
    value = document[member]
    if not isinstance(value, str):
        raise ValueError(f"{member} must be a string")  # noqa: TRY004 - see parse_post
    return value


def _time_ms_of(document: dict[str, Any]) -> int:
    if "time" not in document:
        raise ValueError("time is missing")
    match document["time"]:
        case str(said):
            try:
                moment = datetime.fromisoformat(said)
                time_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError) as error:
                raise ValueError(f"time {said!r} is not ISO 8601") from error
        case bool():
            raise ValueError("time must be ISO 8601 or seconds since 1970")
        case int() | float() as time_s:
            if not math.isfinite(time_s) or not _TIME_S_MIN <= time_s <= _TIME_S_MAX:
                raise ValueError(f"time {time_s} is out of range: give seconds since 1970, not milliseconds")
        case _:
            raise ValueError("time must be ISO 8601 or seconds since 1970")
    return round(time_s * 1000)
