"""Heads over HTTP/2: header lists read as requests, answers' heads written.

h2's own check of header lists walks every character in Python and costs as much as all its frames; the expressions here
ask the same of RFC 9113 (8.2, 8.3) in a tenth of the time, and refuse a malformed request alone where h2 would end the
connection. The writer knows no compression: an answer's head is five short lines, most of them new each time, and
literal fields are made by joining bytes.
"""

import re
from collections.abc import Iterable, Sequence

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.server.heads import is_host

__all__ = ["LiteralEncoder", "MalformedHead", "answer_head", "request_head"]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"(?:[^\0\r\n\t ](?:[^\0\r\n]*[^\0\r\n\t ])?)?")
_PSEUDO_NAMES = frozenset({b":method", b":scheme", b":path", b":authority"})
# They belong to one connection of HTTP/1.1.
_CONNECTION_NAMES = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_STATUS_200 = b"\x88"
_SHORT_BYTE_COUNT_MAX = 126

Field = tuple[bytes, bytes]


class MalformedHead(Exception):
    """A header list that is no request's."""


def request_head(fields: Iterable[Field]) -> SignedRequest:
    """Read a header list as a request that has no body yet. Raises MalformedHead.

    ``:authority`` is the ``host`` of the signature, and stays under its own name for clients that sign that.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: dict[str, str] = {}
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise MalformedHead("a value with characters that no value has")
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO_NAMES:
                raise MalformedHead("a pseudo-header out of its place")
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name) or name in _CONNECTION_NAMES or (name == b"te" and value != b"trailers"):
            raise MalformedHead("a field that HTTP/2 does not have")
        key, text = name.decode(), value.decode("utf-8", "surrogateescape")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        # h2 refuses one that is no number, and two that differ; two that are equal it lets pass.
        raise MalformedHead("two lengths")
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not method or not pseudo.get(b":scheme") or not path:
        raise MalformedHead("a pseudo-header is missing")
    if (authority := pseudo.get(b":authority")) is not None:
        host = authority.decode("utf-8", "surrogateescape")
        if headers.setdefault("host", host) != host:
            raise MalformedHead("host and :authority differ")
        headers[":authority"] = host
    if not is_host(headers.get("host", ",")):
        raise MalformedHead("neither host nor :authority, or what names no host")
    target, _, query = path.decode("utf-8", "surrogateescape").partition("?")
    return SignedRequest(method.decode("utf-8", "surrogateescape"), target, query, headers, b"")


def answer_head(reply: Reply, *, date: bytes) -> list[Field]:
    """Give the header list of an answer."""
    fields = [(b":status", b"%d" % reply.status), (b"server", b"streamd"), (b"date", date)]
    for line in reply.fields.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b": ")
            fields.append((name.lower(), value))
    if reply.frames is None:
        fields.append((b"content-length", b"%d" % len(reply.body)))
    return fields


class LiteralEncoder:
    """Writes header lists as literal fields that no table keeps. It has h2's encoder's place, and knows no state."""

    header_table_size = 4096

    def encode(self, headers: Sequence[Field]) -> bytes:
        """Write a header list down."""
        return b"".join([_literal(name, value) for name, value in headers])


def _literal(name: bytes, value: bytes) -> bytes:
    if name == b":status" and value == b"200":
        return _STATUS_200
    return b"\0%b%b%b%b" % (_length(len(name)), name, _length(len(value)), value)


def _length(count: int) -> bytes:
    """Write a length as HPACK does, with seven bits in the first byte."""
    if count <= _SHORT_BYTE_COUNT_MAX:
        return bytes((count,))
    rest, written = count - _SHORT_BYTE_COUNT_MAX - 1, [_SHORT_BYTE_COUNT_MAX + 1]
    while rest >= 128:
        written.append(rest % 128 + 128)
        rest //= 128
    return bytes((*written, rest))
