"""Heads of requests: the usual ones by a short way, all others by llhttp.

A client sends the same lines again and again, so lines that were found well formed are kept with what they say, and a
usual head (``POST / HTTP/1.1``, every field once, nothing that changes how the message is framed) is read by looking
its lines up. A head that is not usual in any way is llhttp's to judge, which is strict.
"""

import re
from typing import NamedTuple

import httptools

__all__ = ["Head", "HeadReader", "is_host", "read_head"]

_USUAL_START = b"POST / HTTP/1.1"
_FIELD = re.compile(rb"([!#-'*+.0-9A-Z^-z|~-]+):[\t ]*([!-~](?:[\t -~]*[!-~])?)[\t ]*")
# They say how long a message is, or that it is more than a message.
_FRAMING_NAMES = frozenset({"transfer-encoding", "expect", "upgrade", "connection", "te", "trailer", "http2-settings"})
# New with every request: keeping them would push out what comes again.
_FLEETING_NAMES = frozenset({"authorization", "amz-sdk-invocation-id", "x-amzn-trace-id", "traceparent"})
_KEPT_COUNT_MAX = 2_000
_KEPT_BYTE_COUNT_MAX = 512
_HANDED_OVER_NAMES = (b"transfer-encoding", b"expect")
_HOST_MISSING = ","
_VERSIONS = ("1.0", "1.1")
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Za-z:.%_-]+\])(?::[0-9]*)?")
_LENGTH_DIGIT_COUNT_MAX = 12


class Head(NamedTuple):
    """What a head says: names in lower case, the values of a field sent twice joined as SigV4 joins them."""

    path: str
    query: str
    headers: dict[str, str]
    body_byte_count: int
    keeps_alive: bool


class HeadReader:
    """Reads heads, and keeps the lines that come again. Belongs to one event loop."""

    __slots__ = ("_field_by_line",)

    def __init__(self) -> None:
        self._field_by_line: dict[bytes, tuple[str, str]] = {}

    def read(self, head: bytes) -> Head | None:
        """Read a head with the empty line at its end; None when it is no POST with a length, or not well formed."""
        return self._read_usual(head) or read_head(head)

    def _read_usual(self, head: bytes) -> Head | None:
        lines = head[:-4].split(b"\r\n")
        if lines[0] != _USUAL_START:
            return None
        kept = self._field_by_line
        try:
            fields = [kept[line] for line in lines[1:]]
        except KeyError:
            found = [kept.get(line) or self._learn(line) for line in lines[1:]]
            fields = [field for field in found if field is not None]
        headers = dict(fields)
        if len(headers) != len(lines) - 1 or "host" not in headers:
            return None
        length = headers.get("content-length", "0")
        if not (length.isdigit() and len(length) <= _LENGTH_DIGIT_COUNT_MAX):
            return None
        return Head("/", "", headers, int(length), keeps_alive=True)

    def _learn(self, line: bytes) -> tuple[str, str] | None:
        """Read a line and keep what it says; None when it is not usual."""
        found = _FIELD.fullmatch(line)
        if found is None:
            return None
        field = found[1].decode().lower(), found[2].decode()
        if field[0] in _FRAMING_NAMES or (field[0] == "host" and not is_host(field[1])):
            return None
        if field[0] not in _FLEETING_NAMES and len(line) <= _KEPT_BYTE_COUNT_MAX:
            if len(self._field_by_line) >= _KEPT_COUNT_MAX:
                self._field_by_line.clear()
            self._field_by_line[line] = field
        return field


def read_head(head: bytes) -> Head | None:
    """Read a head by llhttp; None when it is no POST with a length, or not well formed."""
    found = _Found()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        # An offer (some clients make it with their first request) that is not taken up: the request is one like others.
        pass
    except httptools.HttpParserError:
        return None
    version = parser.get_http_version()
    if parser.get_method() != b"POST" or found.url[:1] != b"/" or version not in _VERSIONS:
        return None
    length = 0
    for name, value in found.fields:
        if name in _HANDED_OVER_NAMES:
            return None
        if name == b"content-length":
            length = int(value)
    path, _, query = found.url.decode("utf-8", "surrogateescape").partition("?")
    headers = _joined(found.fields)
    if not is_host(headers.get("host", _HOST_MISSING if version == "1.1" else "")):
        return None
    return Head(path, query, headers, length, keeps_alive=parser.should_keep_alive())


def is_host(text: str) -> bool:
    """Tell whether a ``Host`` names a host and perhaps a port; two that were joined never do."""
    return _HOST.fullmatch(text) is not None


class _Found:
    """What llhttp finds in one head."""

    __slots__ = ("fields", "url")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves the space behind a length, and behind no other value.
        self.fields.append((name.lower(), value.rstrip(b"\t ")))


def _joined(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("utf-8", "surrogateescape"), raw_value.decode("utf-8", "surrogateescape")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
