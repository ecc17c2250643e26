"""Request smuggling: what two readers could take for one request or for two is refused, and its connection closed.

Behind each request, or inside its body, comes another one that would put a record: the record tells whether it was
seen. Each is sent on a connection that is new (the lean door reads it first), on one that has served a request, and on
one that is aiohttp's already.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest

from tests.daemons import Daemon, raw, start_daemon
from tests.server.connections import JSON, dial, exchange, read_answer, whole_request

__all__: list[str] = []

_CHUNKED = b"Transfer-Encoding: chunked"
_CHUNKS = b"2\r\n{}\r\n0\r\n\r\n"
_STREAM = "s"
# Not what the text of an answer repeats of a request.
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [A-Za-z ]+\r\n")
_PAGE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
_LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _mark(key: str) -> bytes:
    body = orjson.dumps({"StreamName": _STREAM, "PartitionKey": key, "Data": "bWFyaw=="})
    return whole_request("PutRecord", body)


def _head(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: localhost\r\n") -> bytes:
    named = b"X-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Type: " + JSON.encode()
    return start + b"\r\n" + host + b"\r\n".join([named, *lines, b"", b""])


def _two(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: localhost\r\n") -> bytes:
    """Write a request with these lines in its head and a body of two bytes."""
    return _head(*lines, start=start, host=host) + b"{}"


_LENGTH = b"Content-Length: 2"
_REFUSED = {
    "length and chunks": _head(b"Content-Length: 5", _CHUNKED) + b"0\r\n\r\n",
    "chunks and length": _head(_CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n",
    "length and nothing coded": _two(b"Transfer-Encoding:", _LENGTH),
    "length and identity": _two(b"Transfer-Encoding: identity", _LENGTH),
    "lengths that are equal": _two(_LENGTH, _LENGTH),
    "lengths that differ": _two(_LENGTH, b"Content-Length: 3"),
    "a list of equal lengths": _two(b"Content-Length: 2, 2"),
    "a list of lengths": _two(b"Content-Length: 2, 3"),
    "a negative length": _two(b"Content-Length: -2"),
    "a length with a sign": _two(b"Content-Length: +2"),
    "a length in hex": _two(b"Content-Length: 0x2"),
    "a length past 64 bits": _two(b"Content-Length: 18446744073709551618"),
    "an empty length": _two(b"Content-Length:"),
    "a length with an underscore": _two(b"Content-Length: 1_0"),
    "a length of other digits": _two("Content-Length: ٢".encode()),
    "a length in two parts": _two(b"Content-Length: 2 2"),
    "a length with a parameter": _two(b"Content-Length: 2;a"),
    "a length with an exponent": _two(b"Content-Length: 1e1"),
    "a length that is no text": _two(b"Content-Length: \xb2"),
    "xchunked": _head(b"Transfer-Encoding: xchunked") + _CHUNKS,
    "chunked in quotes": _head(b'Transfer-Encoding: "chunked"') + _CHUNKS,
    "chunked with a parameter": _head(b"Transfer-Encoding: chunked;q=1") + _CHUNKS,
    "chunked behind a vertical tab": _head(b"Transfer-Encoding:\x0bchunked") + _CHUNKS,
    "chunked behind a NUL": _head(b"Transfer-Encoding: \0chunked") + _CHUNKS,
    "chunked before a NUL": _head(b"Transfer-Encoding: chunked\0") + _CHUNKS,
    "identity alone": _head(b"Transfer-Encoding: identity") + _CHUNKS,
    "chunked twice": _head(b"Transfer-Encoding: chunked, chunked") + _CHUNKS,
    "chunked and identity": _head(b"Transfer-Encoding: chunked, identity") + _CHUNKS,
    "two lines of chunked": _head(_CHUNKED, _CHUNKED) + _CHUNKS,
    "chunked, then identity": _head(_CHUNKED, b"Transfer-Encoding: identity") + _CHUNKS,
    "identity, then chunked": _head(b"Transfer-Encoding: identity", _CHUNKED) + _CHUNKS,
    "chunks in HTTP/1.0": _head(_CHUNKED, start=b"POST / HTTP/1.0") + _CHUNKS,
    "a folded line": _two(b"A: b\r\n c", _LENGTH),
    "a folded length": _two(b"Content-Length:\r\n 2"),
    "a folded coding": _head(b"Transfer-Encoding:\r\n chunked") + _CHUNKS,
    "a line that begins with a space": _two(b" Content-Length: 2"),
    "a space before the colon": _two(b"Content-Length : 2"),
    "a tab before the colon": _head(b"Transfer-Encoding\t: chunked") + _CHUNKS,
    "no colon": _two(b"Content-Length 2"),
    "a space in a name": _two(b"A b: c", _LENGTH),
    "no name": _two(b": x", _LENGTH),
    "a NUL in a value": _two(b"A: b\0c", _LENGTH),
    "a NUL in a name": _two(b"A\0: b", _LENGTH),
    "a CR in a value": _two(b"A: b\rContent-Length: 9", _LENGTH),
    "a LF in a value": _two(b"A: b\nContent-Length: 9", _LENGTH),
    "a chunk's size with a sign": _head(_CHUNKED) + b"+2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk's size": _head(_CHUNKED) + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with 0x": _head(_CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk's size past 64 bits": _head(_CHUNKED) + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "a chunk's size with a space": _head(_CHUNKED) + b"2 \r\n{}\r\n0\r\n\r\n",
    "a chunk's size that is none": _head(_CHUNKED) + b"\r\n{}\r\n0\r\n\r\n",
    "an extension over two lines": _head(_CHUNKED) + b'2;a="b\r\n"\r\n{}\r\n0\r\n\r\n',
    "an extension before a bare LF": _head(_CHUNKED) + b"2;a\n{}\r\n0\r\n\r\n",
    "a last chunk before a bare LF": _head(_CHUNKED) + b"2\r\n{}\r\n0\n\r\n",
    "chunks with bare LFs": _head(_CHUNKED) + b"2\n{}\n0\n\n",
    "a chunk without its end": _head(_CHUNKED) + b"2\r\n{}0\r\n\r\n",
    "a chunk that goes on": _head(_CHUNKED) + b"2\r\n{}XX\r\n0\r\n\r\n",
    "a length behind the chunks": _head(_CHUNKED) + b"2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n",
    "a broken line behind the chunks": _head(_CHUNKED) + b"2\r\n{}\r\n0\r\nbroken line\r\n\r\n",
    "a tab in the request line": _two(_LENGTH, start=b"POST\t/ HTTP/1.1"),
    "a space behind the request line": _two(_LENGTH, start=b"POST / HTTP/1.1 "),
    "a space before the request line": b" " + _two(_LENGTH),
    "a NUL in the request line": _two(_LENGTH, start=b"POST /\0 HTTP/1.1"),
    "a NUL in the method": _two(_LENGTH, start=b"P\0ST / HTTP/1.1"),
    "a NUL behind the request line": _two(_LENGTH, start=b"POST / HTTP/1.1\0"),
    "a method in lower case": _two(_LENGTH, start=b"post / HTTP/1.1"),
    "a protocol in lower case": _two(_LENGTH, start=b"POST / http/1.1"),
    "HTTP/0.9": b"POST /\r\n\r\n",
    "HTTP/1.2": _two(_LENGTH, start=b"POST / HTTP/1.2"),
    "HTTP/1.10": _two(_LENGTH, start=b"POST / HTTP/1.10"),
    "HTTP/9.9": _two(_LENGTH, start=b"POST / HTTP/9.9"),
    "HTTP/2.0 without its frames": _two(_LENGTH, start=b"POST / HTTP/2.0"),
    "a target that is an authority": _two(_LENGTH, start=b"POST localhost:80 HTTP/1.1"),
    "two hosts": _two(b"Host: other", _LENGTH),
    "two hosts that are equal": _two(b"Host: localhost", _LENGTH),
    "two hosts in one line": _two(_LENGTH, host=b"Host: localhost, other\r\n"),
    "no host": _two(_LENGTH, host=b""),
    "a host with a path": _two(_LENGTH, host=b"Host: localhost/path\r\n"),
    "a host with a user": _two(_LENGTH, host=b"Host: user@localhost\r\n"),
    "a head of bare LFs": _two(_LENGTH).replace(b"\r\n", b"\n"),
    "a head of bare CRs": _two(_LENGTH).replace(b"\r\n", b"\r"),
}
_UNSUPPORTED = {
    "gzip and chunked": _head(b"Transfer-Encoding: gzip, chunked") + _CHUNKS,
}
# They end where every reader says, so what comes behind them is a request of its own.
_CLEAR = {
    "a usual request": _two(_LENGTH),
    "a length with zeros": _two(b"Content-Length: 0000000000002"),
    "spaces around a length": _two(b"Content-Length: \t2 "),
    "chunked behind a tab": _head(b"Transfer-Encoding:\tchunked ") + _CHUNKS,
    "chunked in capitals": _head(b"TRANSFER-ENCODING: CHUNKED") + _CHUNKS,
    "a size with zeros": _head(_CHUNKED) + b"0" * 20 + _CHUNKS,
    "an extension": _head(_CHUNKED) + b'2;a=b;c="d"\r\n{}\r\n0;e\r\n\r\n',
    "a large extension": _head(_CHUNKED) + b"2;" + b"a" * 70_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a name like the coding's": _two(b"Transfer_Encoding: chunked", _LENGTH),
    "a length that belongs to the connection": _two(b"Connection: Content-Length", _LENGTH),
    "an absolute target": _two(_LENGTH, start=b"POST http://localhost/ HTTP/1.1"),
    "a host with a port": _two(_LENGTH, host=b"Host: [::1]:4567\r\n"),
    "an empty line before the request": b"\r\n" + _two(_LENGTH),
}


@dataclass(frozen=True)
class _Served:
    """What came over a connection until the server closed it."""

    statuses: list[str]
    keys: list[str]
    """Of the marks that were left in the meantime."""


@dataclass
class _Shard:
    """The stream's one shard, read as it grows."""

    daemon: Daemon
    place: str

    def new_keys(self) -> list[str]:
        """Give the keys that were put since the last look. What was taken before it is there: a later put is, too."""
        assert exchange(self.daemon, _mark("witness")).status == 200
        answer = raw(self.daemon.url, "GetRecords", {"ShardIterator": self.place}).json()
        self.place = answer["NextShardIterator"]
        keys = [record["PartitionKey"] for record in answer["Records"]]
        assert keys[-1] == "witness"
        return keys[:-1]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shard]:
    """Give a daemon of this module's own, by its stream to which nobody else puts."""
    daemon = start_daemon(tmp_path_factory.mktemp("smuggling") / "data")
    client = daemon.client()
    client.create_stream(StreamName=_STREAM, ShardCount=1)
    start = {"StreamName": _STREAM, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    yield _Shard(daemon, client.get_shard_iterator(**start)["ShardIterator"])
    assert "Traceback" not in daemon.log.read_text()
    assert daemon.stop() == 0


def _send(shard: _Shard, before: bytes, content: bytes) -> _Served:
    """Send on a connection of its own, read to its end, and look for what was put."""
    with dial(shard.daemon) as connection:
        if before:
            connection.sendall(before)
            assert read_answer(connection).status == 200
        connection.sendall(content)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return _Served([status.decode() for status in _STATUS.findall(received)], shard.new_keys())


_BEFORE = {"new": b"", "served": _two(_LENGTH), "aiohttp's": _PAGE}


@pytest.mark.parametrize("before", ["new", "aiohttp's"])
@pytest.mark.parametrize("case", _REFUSED | _UNSUPPORTED)
def test_an_unclear_request_is_refused_and_nothing_behind_it_is_seen(shard: _Shard, case: str, before: str) -> None:
    request = (_REFUSED | _UNSUPPORTED)[case]

    served = _send(shard, _BEFORE[before], request + _mark("smuggled") + _LAST)

    status = "400" if case in _REFUSED else "501"
    assert served == _Served([status], [])


@pytest.mark.parametrize("before", _BEFORE)
@pytest.mark.parametrize("case", _CLEAR)
def test_a_clear_request_ends_where_it_says(shard: _Shard, case: str, before: str) -> None:
    served = _send(shard, _BEFORE[before], _CLEAR[case] + _mark("behind") + _LAST)

    assert served == _Served(["200", "200", "200"], ["behind"])


@pytest.mark.parametrize("before", _BEFORE)
@pytest.mark.parametrize(
    ("start", "line"),
    [
        (b"POST / HTTP/1.1", None),
        (b"POST / HTTP/1.1", b"Expect: 100-continue"),
        (b"POST / HTTP/1.1", _CHUNKED),
        (b"GET /healthz HTTP/1.1", None),
        (b"GET /healthz HTTP/1.1", _CHUNKED),
        (b"HEAD /metrics HTTP/1.1", None),
        (b"PUT / HTTP/1.1", None),
        (b"OPTIONS * HTTP/1.1", None),
        (b"DELETE /2015-03-31/functions/f HTTP/1.1", None),
        (b"POST /_push/none HTTP/1.1", None),
    ],
)
def test_what_is_hidden_in_a_body_is_no_request(shard: _Shard, start: bytes, line: bytes | None, before: str) -> None:
    hidden = _mark("hidden")
    lines = [] if line is None else [line]
    if line == _CHUNKED:
        request = _head(*lines, start=start) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    else:
        request = _head(*lines, b"Content-Length: %d" % len(hidden), start=start) + hidden

    served = _send(shard, _BEFORE[before], request + _LAST)

    assert served.keys == []


_OFFER = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")


def test_an_offer_of_http2_is_passed_over_by_the_lean_door(shard: _Shard) -> None:
    served = _send(shard, b"", _two(*_OFFER, _LENGTH) + _mark("behind an offer") + _LAST)

    assert served == _Served(["200", "200", "200"], ["behind an offer"])


@pytest.mark.parametrize("start", [b"GET /healthz HTTP/1.1", b"POST / HTTP/1.1"])
def test_behind_an_offer_of_http2_aiohttp_reads_nothing_and_says_so(shard: _Shard, start: bytes) -> None:
    served = _send(shard, _PAGE, _two(*_OFFER, _LENGTH, start=start) + _mark("behind an offer") + _LAST)

    assert served == _Served(["200"], [])


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HTTP/1.1\n",
        b"POST / HTTP/1.1\r\nHost: a\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n\n",
        b"POST / HTTP/1.1\rH",
        b"GET / HTTP/1.1\n",
    ],
)
def test_a_line_that_ends_in_another_way_is_refused_before_more_comes(shard: _Shard, begun: bytes) -> None:
    whole, in_pieces = (exchange(shard.daemon, *pieces) for pieces in ([begun], [begun[:-1], begun[-1:]]))

    assert (whole.status, in_pieces.status) == (400, 400)


def test_an_absolute_target_leads_where_its_path_does(shard: _Shard) -> None:
    page = exchange(shard.daemon, b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    operation = exchange(shard.daemon, b"GET http://other:80/2015-03-31/functions/ HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert page.json() == {"status": "ok"}
    assert operation.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
