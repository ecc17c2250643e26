"""Where a request ends: whatever may be read in two ways is refused, and nothing behind it is taken for a request."""

import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.daemons import Daemon
from tests.server.connections import JSON, dial, whole_request

__all__: list[str] = []

_LINE = b"POST / HTTP/1.1\r\n"
_REST = b"Host: localhost\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Type: " + JSON.encode() + b"\r\n"
_HEAD = _LINE + _REST
_TWO = b"Content-Length: 2\r\n\r\n{}"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_NOTHING = b"\r\n\r\n0\r\n\r\n"

# What comes before the request that is hidden; %d stands for a length that has it, too, be part of the body.
_REFUSED = {
    "a length and chunks": _HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked" + _NOTHING,
    "chunks and a length": _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: %d" + _NOTHING,
    "two lengths": _HEAD + b"Content-Length: 2\r\nContent-Length: %d\r\n\r\n{}",
    "the same length twice": _HEAD + b"Content-Length: 2\r\n" + _TWO,
    "a list of lengths": _HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length behind a space": _HEAD + b"Content-Length : 2\r\n\r\n{}",
    "lines that end in LF": (_HEAD + _TWO).replace(b"\r\n", b"\n"),
    "a line that ends in LF": _HEAD + b"A: b\nContent-Length: %d\r\n\r\n{}",
    "a line that ends in CR": _HEAD + b"A: b\rContent-Length: %d\r\n\r\n{}",
    "a folded line": _HEAD + b"A: b\r\n Content-Length: %d\r\n" + _TWO,
    "NUL in a value": _HEAD + b"A: b\0c\r\n" + _TWO,
    "a space in a name": _HEAD + b"A b: c\r\n" + _TWO,
    "a line without a colon": _HEAD + b"Abc\r\n" + _TWO,
    "an empty name": _HEAD + b": c\r\n" + _TWO,
    "chunks in HTTP/1.0": _LINE.replace(b"1.1", b"1.0") + _REST + b"Transfer-Encoding: chunked" + _NOTHING,
    "chunks behind a space": _HEAD + b"Transfer-Encoding : chunked" + _NOTHING,
    "chunks on a folded line": _HEAD + b"Transfer-Encoding:\r\n chunked" + _NOTHING,
    **{
        f"Content-Length: {length!r}": _HEAD + b"Content-Length: " + length + b"\r\n\r\n{}"
        for length in (b"+2", b"-2", b"0x2", b"2 2", b"2_0", b"", b"9" * 23, b"2;a", b"\xb2", b"1e1")
    },
    **{
        f"Transfer-Encoding: {coding!r}": _HEAD + b"Transfer-Encoding: " + coding + _NOTHING
        for coding in (
            b"xchunked",
            b"chunked, identity",
            b"chunked\x0b",
            b"\0chunked",
            b"identity",
            b"chunked, chunked",
            b"chunked\r\nTransfer-Encoding: identity",
        )
    },
    **{
        f"chunks {chunks!r}": _CHUNKED + chunks
        for chunks in (
            b"0x2\r\n{}\r\n0\r\n\r\n",
            b"+2\r\n{}\r\n0\r\n\r\n",
            b"2 \r\n{}\r\n0\r\n\r\n",
            b"-2\r\n{}\r\n0\r\n\r\n",
            b"F" * 17 + b"\r\n{}\r\n0\r\n\r\n",
            b"2\n{}\n0\n\n",
            b"2\r\n{}0\r\n\r\n",
            b"2\r\n{}XX0\r\n\r\n",
            b"\r\n2\r\n{}\r\n0\r\n\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\n\r\n",
            b"2;a\nb\r\n{}\r\n0\r\n\r\n",
        )
    },
    **{
        f"line {line!r}": line + b"\r\n" + _REST + _TWO
        for line in (
            b"POST / HTTP/1.1 ",
            b"POST / HTTP/9.9",
            b"POST / http/1.1",
            b"POST x:80 HTTP/1.1",
            b"POST / HTTP/1.1\0",
            b" POST / HTTP/1.1",
            b"POST /\0 HTTP/1.1",
            b"P\0ST / HTTP/1.1",
            b"POST\t/ HTTP/1.1",
            b"POST / HTTP/1.10",
        )
    },
}

# These have one meaning only, and what follows them is the next request.
_SERVED = {
    "a chunk with an extension": _CHUNKED + b"2;ext=1\r\n{}\r\n0\r\n\r\n",
    "an absolute form": b"POST http://elsewhere/ HTTP/1.1\r\n" + _REST + _TWO,
    "empty lines before it": b"\r\n\r\n" + _HEAD + _TWO,
    "the word in capitals": _HEAD + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("begun", _REFUSED.values(), ids=_REFUSED.keys())
def test_what_may_end_in_two_places_is_refused_and_nothing_behind_it_is_done(
    daemon: Daemon, kinesis: Any, stream_name: str, begun: bytes
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    hidden = _put(stream_name)
    sent = begun.replace(b"%d", b"%d" % (len(hidden) + 5)) + hidden
    with dial(daemon) as connection:
        connection.sendall(sent)
        statuses = list(_statuses(connection))

    assert statuses == ["400"]
    assert _payloads(kinesis, stream_name) == []


@pytest.mark.parametrize("begun", _SERVED.values(), ids=_SERVED.keys())
def test_what_ends_in_one_place_is_served_and_so_is_what_follows(
    daemon: Daemon, kinesis: Any, stream_name: str, begun: bytes
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    with dial(daemon) as connection:
        connection.sendall(begun + _put(stream_name, Connection="close"))
        statuses = list(_statuses(connection))

    assert statuses == ["200", "200"]
    assert _payloads(kinesis, stream_name) == [b"hidden"]


def _put(stream: str, **headers: str) -> bytes:
    document = {"StreamName": stream, "PartitionKey": "k", "Data": b64encode(b"hidden").decode()}
    return whole_request("PutRecord", orjson.dumps(document), **headers)


def _statuses(connection: socket.socket) -> Iterator[str]:
    """Read until the server closes the connection; the status of each answer."""
    told = b""
    try:
        while piece := connection.recv(65_536):
            told += piece
    except ConnectionResetError:
        # The server does not read what lies behind what it refused.
        pass
    yield from (status.decode() for status in re.findall(rb"HTTP/1\.[01] (\d+)", told))


def _payloads(kinesis: Any, stream: str) -> list[bytes]:
    asked = {"StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**asked)["ShardIterator"]
    return [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
