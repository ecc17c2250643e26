"""The doors of a real daemon under broken bytes: connections end, nobody sees a 500, and the next client is served."""

from collections.abc import Iterator

import cbor2
import orjson
import pytest
from hpack.hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from streamd.kinesis.operations import HANDLER_BY_OPERATION
from tests.fuzz.mutations import cuts, examples, mutated
from tests.fuzz.watched_daemons import SERVER_FAULT, Watched, all_of, watched_daemon
from tests.server.connections import CBOR, JSON, head_of, whole_request

__all__: list[str] = []

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PUT = {"StreamName": "fuzzed", "PartitionKey": "k", "Data": "ZGF0YQ=="}
_BATCH = {"StreamName": "fuzzed", "Records": [{"PartitionKey": str(n), "Data": "ZGF0YQ=="} for n in range(3)]}
_ITERATOR = {"StreamName": "fuzzed", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, "
    "Signature=" + "0" * 64,
    "X-Amz-Date": "20260101T000000Z",
}


def _chunked(body: bytes) -> bytes:
    head = head_of("PutRecord", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


_WHOLE = [
    whole_request("PutRecord", orjson.dumps(_PUT), **_SIGNED),
    whole_request("PutRecords", orjson.dumps(_BATCH)),
    whole_request("PutRecord", cbor2.dumps(_PUT | {"Data": b"data"}), content_type=CBOR),
    whole_request("GetShardIterator", orjson.dumps(_ITERATOR)) * 2,
    whole_request("ListShards", cbor2.dumps({"StreamName": "fuzzed"}), content_type=CBOR, Expect="100-continue"),
    _chunked(orjson.dumps(_PUT)),
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n",
]
_HTTP1_WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b" ",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n",
    b" HTTP/1.1\r\n",
    b"HTTP/9.9",
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"x" * 9000,
    b"a: b\r\n" * 300,
    _PREFACE,
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Give a daemon that is watched."""
    with watched_daemon(tmp_path_factory.mktemp("fuzz"), warm_up=_WHOLE) as watched:
        yield watched


@given(st.data())
@examples(150)
def test_http1_survives_broken_bytes(fuzzed: Watched, data: st.DataObject) -> None:
    content = data.draw(mutated(_WHOLE, words=_HTTP1_WORDS))

    answer = all_of(fuzzed.daemon, data.draw(cuts(content)))

    assert not SERVER_FAULT.search(answer)
    fuzzed.assert_serves()


@given(st.data())
@examples(150)
def test_bodies_of_every_operation_survive_broken_bytes(fuzzed: Watched, data: st.DataObject) -> None:
    # Not those that would take the stream away from the other examples.
    operation = data.draw(st.sampled_from(sorted(HANDLER_BY_OPERATION.keys() - {"DeleteStream"})))
    document = data.draw(st.sampled_from([_PUT, _BATCH, _ITERATOR, {"StreamName": "fuzzed", "Limit": 1}]))
    is_json = data.draw(st.booleans())
    body = data.draw(mutated([orjson.dumps(document) if is_json else cbor2.dumps(document)]))

    answer = all_of(fuzzed.daemon, [whole_request(operation, body, content_type=JSON if is_json else CBOR)])

    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4"))


def _headers(number: int, *fields: tuple[str, str], flags: tuple[str, ...] = ("END_HEADERS",)) -> HeadersFrame:
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]
    return HeadersFrame(number, Encoder().encode([*pseudo, *fields]), flags=flags)


def _conversation(*frames: Frame) -> bytes:
    return _PREFACE + SettingsFrame(0).serialize() + b"".join(frame.serialize() for frame in frames)


_FIELDS = (("content-type", JSON), ("x-amz-target", "Kinesis_20131202.PutRecord"))
_BODY = orjson.dumps(_PUT)
_TALKS = [
    _conversation(_headers(1, *_FIELDS), DataFrame(1, _BODY, flags=("END_STREAM",))),
    _conversation(
        _headers(1, *_FIELDS, ("content-length", str(len(_BODY)))),
        DataFrame(1, _BODY[:20]),
        PingFrame(0, opaque_data=b"12345678"),
        _headers(3, flags=("END_HEADERS", "END_STREAM")),
        WindowUpdateFrame(0, window_increment=1000),
        WindowUpdateFrame(1, window_increment=1000),
        DataFrame(1, _BODY[20:], flags=("END_STREAM",)),
        RstStreamFrame(3, error_code=8),
    ),
    _conversation(
        SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0, SettingsFrame.MAX_FRAME_SIZE: 16_384}),
        PriorityFrame(5, depends_on=0, stream_weight=3),
        _headers(1, *_FIELDS, flags=()),
        ContinuationFrame(1, Encoder().encode([("a", "b")]), flags=("END_HEADERS",)),
        DataFrame(1, _BODY, flags=("END_STREAM",)),
    ),
]
_HTTP2_WORDS = [
    PingFrame(0, opaque_data=b"12345678").serialize(),
    SettingsFrame(0, flags=("ACK",)).serialize(),
    RstStreamFrame(1, error_code=0).serialize(),
    WindowUpdateFrame(0, window_increment=1).serialize(),
    DataFrame(1, b"").serialize(),
    b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    b"\x00\x00\x00\x01\x05\x00\x00\x00\x01",
    b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\0" * 8,
    _PREFACE,
]


@given(st.data())
@examples(150)
def test_http2_survives_broken_frames(fuzzed: Watched, data: st.DataObject) -> None:
    content = data.draw(mutated(_TALKS, words=_HTTP2_WORDS))
    if data.draw(st.booleans()):
        # Past the preface, where the frames are.
        content = _PREFACE + content.removeprefix(_PREFACE)

    answer = all_of(fuzzed.daemon, data.draw(cuts(content)))

    assert not SERVER_FAULT.search(answer)
    fuzzed.assert_serves()


@pytest.mark.parametrize("place", range(0, len(_PREFACE), 3))
def test_a_preface_that_breaks_off_is_no_http2(fuzzed: Watched, place: int) -> None:
    answers = [
        all_of(fuzzed.daemon, [_PREFACE[:place]]),
        all_of(fuzzed.daemon, [_PREFACE[:place], b"x", _PREFACE[place:]]),
    ]

    assert not any(SERVER_FAULT.search(answer) for answer in answers)
    fuzzed.assert_serves()
