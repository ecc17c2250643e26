"""HTTP/2 by its grammar: whole frames with any flags, streams, fields and payloads, in any order."""

from collections.abc import Iterator

import orjson
import pytest
from hpack.hpack import Encoder
from hyperframe.frame import SettingsFrame
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.mutations import cuts, examples
from tests.fuzz.watched_daemons import SERVER_FAULT, Watched, all_of, watched_daemon
from tests.server.connections import JSON

__all__: list[str] = []

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
_BODY = orjson.dumps({"StreamName": "fuzzed", "PartitionKey": "k", "Data": "ZGF0YQ=="})
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
_FLAGS = st.sampled_from([0, _END_STREAM, _END_HEADERS, _END_STREAM | _END_HEADERS, 8, 0x20, 0x2D, 0xFF])
_STREAMS = st.sampled_from([1, 1, 1, 3, 3, 5, 0, 2, 2**31 - 1])
_PSEUDO = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]
_USUAL = [*_PSEUDO, ("content-type", JSON), ("x-amz-target", "Kinesis_20131202.PutRecord")]
_ODD = [
    ("content-length", str(len(_BODY))),
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "-1"),
    ("content-length", "5, 5"),
    ("content-length", "9" * 30),
    ("content-length", "9" * 5_000),
    ("content-length", "²"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":path", "*"),
    (":path", "/healthz?"),
    (":path", ""),
    (":status", "200"),
    ("host", "other"),
    ("te", "gzip"),
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
    ("expect", "100-continue"),
    ("content-encoding", "gzip"),
    ("x-amz-target", "Kinesis_20131202.SubscribeToShard"),
    ("cookie", "a=b"),
    ("Upper", "case"),
    ("", "nameless"),
    ("a", "b\r\nc: d"),
    ("a", "b\0"),
    ("a", " b "),
    ("é", "\xff"),
    ("x", "y" * 70_000),
]


@st.composite
def _header_block(draw: st.DrawFn) -> bytes:
    """Draw a header list, nearly right, and sometimes a block that is none."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=30))
    fields = list(_USUAL)
    for _ in range(draw(st.integers(0, 3))):
        fields.insert(draw(st.sampled_from([0, 4, len(fields), len(fields)])), draw(st.sampled_from(_ODD)))
    if draw(st.integers(0, 4)) == 0:
        fields += [draw(st.sampled_from(fields))] * draw(st.integers(1, 3))
    if draw(st.integers(0, 4)) == 0:
        del fields[draw(st.integers(0, len(fields) - 1))]
    return bytes(Encoder().encode(fields, huffman=draw(st.booleans())))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    """Draw a frame."""
    stream = draw(_STREAMS)
    match draw(st.sampled_from(["ask", "ask", "headers", "data", "settings", "window", "reset", "more", "any"])):
        case "ask":
            head = _frame(_HEADERS, _END_HEADERS, stream, draw(_header_block()))
            return head + _frame(_DATA, _END_STREAM, stream, _BODY)
        case "headers":
            return _frame(_HEADERS, draw(_FLAGS), stream, draw(_header_block()))
        case "data":
            return _frame(_DATA, draw(_FLAGS), stream, draw(st.sampled_from([_BODY, b"", b"\0", b"\xff" * 16_384])))
        case "settings":
            settings = draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 100, 2**31, 2**32 - 1]))))
            payload = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in settings)
            return _frame(_SETTINGS, draw(st.sampled_from([0, 0, 1])), draw(st.sampled_from([0, 0, 0, 1])), payload)
        case "window":
            step = draw(st.sampled_from([0, 1, 65_535, 2**31 - 1, 2**32 - 1]))
            return _frame(_WINDOW_UPDATE, 0, draw(st.sampled_from([0, 1, 3, 7])), step.to_bytes(4))
        case "reset":
            return _frame(_RESET, 0, stream, draw(st.binary(min_size=4, max_size=4)))
        case "more":
            return _frame(_CONTINUATION, draw(_FLAGS), stream, draw(_header_block()))
        case _:
            return _frame(draw(st.integers(0, 255)), draw(_FLAGS), stream, draw(st.binary(max_size=40)))


@pytest.fixture(scope="module")
def talked_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Give a daemon that is watched."""
    with watched_daemon(tmp_path_factory.mktemp("talks")) as watched:
        yield watched


@given(st.lists(_frames(), min_size=1, max_size=8), st.data())
@examples(120)
def test_any_frames_are_answered_or_end_their_connection(
    talked_to: Watched, frames: list[bytes], data: st.DataObject
) -> None:
    answer = all_of(talked_to.daemon, data.draw(cuts(_PREFACE + b"".join(frames))))

    assert not SERVER_FAULT.search(answer)
    talked_to.assert_serves()


@given(_header_block())
@example(bytes(Encoder().encode([*_USUAL, *[("content-length", str(len(_BODY)))] * 2])))
@example(bytes(Encoder().encode([(":method", "HEAD"), *_USUAL[1:], ("content-length", "x")])))
@example(bytes(Encoder().encode([*_USUAL, *[("x", "y" * 4_000)] * 20])))
# One field of 4,000 bytes that is kept, then asked for again and again by a single byte each.
@example(bytes(Encoder().encode([*_USUAL, ("x", "y" * 4_000)])) + b"\xbe" * 8_000)
@examples(100)
def test_any_header_list_is_a_request_or_refused(talked_to: Watched, block: bytes) -> None:
    head = _frame(_HEADERS, _END_HEADERS, 1, block)

    answer = all_of(talked_to.daemon, [_PREFACE + head + _frame(_DATA, _END_STREAM, 1, _BODY)])

    assert not SERVER_FAULT.search(answer)
    talked_to.assert_serves()
