"""Where one request ends and the next begins: what two readers could read in two ways is never carried out."""

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.mutations import cuts, examples
from tests.fuzz.watched_daemons import SERVER_FAULT, Watched, all_of, watched_daemon
from tests.server.connections import JSON, whole_request

__all__: list[str] = []

_HIDDEN = whole_request("PutRecord", orjson.dumps({"StreamName": "fuzzed", "PartitionKey": "k", "Data": "aGlkZGVu"}))
# Taken as chunks this body is empty, and the hidden request comes after it.
_BODY = b"0\r\n\r\n" + _HIDDEN
_LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_WHOLE_LENGTH = b"Content-Length: %d" % len(_BODY)
_SHORT_LENGTH = b"Content-Length: 5"
_CHUNKED = b"Transfer-Encoding: chunked"
_CLEAR = [[_WHOLE_LENGTH], [_SHORT_LENGTH], [_CHUNKED]]
# Each makes the request unclear, whatever stands beside it.
_UNCLEAR = [
    b"Content-Length : 5",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5, 6",
    b"Content-Length: 5 6",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: \xd9\xa5",
    b"Content-Length:\x0b5",
    b"Content-Length: 5\0",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: chunked\0",
    b"Transfer-Encoding:\x0bchunked",
    b"X: y\nContent-Length: 5",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rContent-Length: 5",
    b"X: y\r\n Content-Length: 5",
    b" Content-Length: 5",
    b"Content-Length",
    b"\0Content-Length: 5",
]
_HARMLESS = [b"X-Content-Length: 7", b"X: Transfer-Encoding: chunked", b"Connection: keep-alive", b"TE: trailers"]


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Give a daemon that is watched."""
    with watched_daemon(tmp_path_factory.mktemp("framed")) as watched:
        yield watched


def _request(lines: list[bytes]) -> bytes:
    first = [b"POST / HTTP/1.1", b"Host: localhost", b"Content-Type: " + JSON.encode()]
    return b"\r\n".join([*first, b"X-Amz-Target: Kinesis_20131202.ListStreams", *lines, b"", _BODY])


@st.composite
def _unclear(draw: st.DrawFn) -> list[bytes]:
    """Draw the lines of a head that says its length in more ways than one, or in none that counts."""
    lines = list(draw(st.sampled_from([*_CLEAR, []])))
    if draw(st.booleans()) and lines:
        other = draw(st.sampled_from([line for clear in _CLEAR for line in clear if line not in lines]))
        lines.append(other)
    else:
        lines.append(draw(st.sampled_from(_UNCLEAR)))
    lines += draw(st.lists(st.sampled_from(_HARMLESS), max_size=2, unique=True))
    return draw(st.permutations(lines))


@given(st.data())
@examples(150)
def test_a_request_of_unclear_length_is_refused_with_all_that_follows(framed: Watched, data: st.DataObject) -> None:
    request = _request(data.draw(_unclear()))

    answer = all_of(framed.daemon, data.draw(cuts(request)))

    assert b"SequenceNumber" not in answer
    assert not SERVER_FAULT.search(answer)
    assert not answer or answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 4")), answer[:200]
    framed.assert_serves()


@given(st.data())
@examples(100)
def test_a_request_of_clear_length_ends_where_it_says(framed: Watched, data: st.DataObject) -> None:
    clear = data.draw(st.sampled_from(_CLEAR))
    harmless = data.draw(st.lists(st.sampled_from(_HARMLESS), max_size=2, unique=True))
    requests = _request(data.draw(st.permutations([*clear, *harmless]))) + _LAST

    answer = all_of(framed.daemon, data.draw(cuts(requests)), is_closed_by_server=True)

    # The body as a whole is no JSON, nor is its beginning or nothing at all: only the hidden request can succeed.
    is_whole = clear == [_WHOLE_LENGTH]
    assert (b"SequenceNumber" in answer) is not is_whole, answer
    assert answer.count(b"HTTP/1.1 ") == (2 if is_whole else 3)


_CHUNK_SIZES = [b"0", b"00", b"5", b"+5", b"-5", b"0x5", b"5 ", b" 5", b"5;a=b", b"5;\n", b"5\n", b"f" * 16, b"f" * 40]
_CHUNK_SIZES += [b"", b"g", b"5\0", b"5;" + b"x" * 20_000]


@given(
    sizes=st.lists(st.sampled_from(_CHUNK_SIZES), max_size=4),
    ends=st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n"]),
    last=st.sampled_from([b"0\r\n\r\n", b"0\r\n", b"", b"0\r\na: b\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 2_000]),
)
@example(sizes=[b"5;" + b"x" * 20_000] * 4, ends=b"\r\n", last=b"0\r\n\r\n")
@examples(100)
def test_chunks_of_any_size_are_read_or_refused(framed: Watched, sizes: list[bytes], ends: bytes, last: bytes) -> None:
    chunks = b"".join(size + b"\r\n12345" + ends for size in sizes)
    head = _request([_CHUNKED]).removesuffix(_BODY)

    answer = all_of(framed.daemon, [head + chunks + last])

    assert not SERVER_FAULT.search(answer)
    assert not answer or answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 4")), answer[:200]
    framed.assert_serves()
