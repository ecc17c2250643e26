"""HTTP/2 by prior knowledge: the same answers as over HTTP/1.1, many at a time, as quickly as the client takes them."""

import base64
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.core.sigv4 import Credentials, SignedRequest, sign
from streamd.core.sigv4_canonical import canonical_request, signature_of, signing_key
from streamd.server.http2_guard import PREFACE
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw, start_daemon
from tests.kinesis.calls import records_of
from tests.server.connections import JSON, dial
from tests.server.http2_client import Http2Client, dial_http2

__all__: list[str] = []

_KEYS = '[[key]]\nid = "AKIDPRODUCER"\nsecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"\n'
_CREDENTIALS = Credentials("AKIDPRODUCER", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_STOP_PATIENCE_S = 30
_MIB = 1024 * 1024


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of one shard."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_name


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Http2Client]:
    """Give a connection to the shared daemon."""
    with dial_http2(daemon.port) as client:
        yield client


def _put(stream: str, data: bytes = b"data", *, key: str = "k") -> dict[str, str]:
    return {"StreamName": stream, "PartitionKey": key, "Data": base64.b64encode(data).decode()}


def _place(connection: Http2Client, stream: str, *, kind: str = "TRIM_HORIZON") -> dict[str, str]:
    members = {"StreamName": stream, "ShardId": "0", "ShardIteratorType": kind}
    return {"ShardIterator": connection.call("GetShardIterator", members).json()["ShardIterator"]}


def _fill(kinesis: Any, stream: str, *, record_count: int) -> bytes:
    """Put half a mebibyte in each of some records; all that was put."""
    pieces = [bytes([65 + number]) * (_MIB // 2) for number in range(record_count)]
    for piece in pieces:
        kinesis.put_record(StreamName=stream, PartitionKey="k", Data=piece)
    return b"".join(pieces)


def _data_of(answer: Any) -> bytes:
    return b"".join(base64.b64decode(record["Data"]) for record in answer.json()["Records"])


def test_puts_and_reads_are_the_same_as_over_http_1(connection: Http2Client, kinesis: Any, stream: str) -> None:
    one = connection.call("PutRecord", _put(stream, b"first"))
    entries = [{"PartitionKey": "k", "Data": base64.b64encode(b"more").decode()}] * 3
    many = connection.call("PutRecords", {"StreamName": stream, "Records": entries})
    read = connection.call("GetRecords", _place(connection, stream))
    missing = connection.call("DescribeStream", {"StreamName": "no-such-stream"})

    assert one.status == many.status == read.status == 200
    assert one.headers["content-type"] == JSON
    assert len(one.headers["x-amzn-requestid"]) == 36
    assert [record["Data"] for record in records_of(kinesis, stream)] == [b"first", b"more", b"more", b"more"]
    assert _data_of(read) == b"firstmoremoremore"
    assert missing.status == 400
    assert missing.json()["__type"] == "ResourceNotFoundException"


def test_the_preface_may_come_in_pieces(daemon: Daemon) -> None:
    with dial(daemon) as pieced, dial_http2(daemon.port) as whole:
        for number in range(len(PREFACE)):
            pieced.sendall(PREFACE[number : number + 1])
            # An answer on another connection later, the piece has been read alone.
            whole.sync()
        pieced.sendall(b"\0\0\0\4\0\0\0\0\0")
        begun = pieced.recv(9)

    assert begun[3] == 4


def test_what_only_begins_like_the_preface_is_a_bad_request(daemon: Daemon) -> None:
    with dial(daemon) as wrong:
        wrong.sendall(PREFACE[:-6] + b"XX\r\n\r\n")
        answer = wrong.recv(1 << 16)
    with dial_http2(daemon.port) as right:
        page = right.get("/healthz")

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert page.status == 200


def test_pages_are_there_and_other_methods_are_answered_as_over_http_1(connection: Http2Client, daemon: Daemon) -> None:
    health, ready, metrics = (connection.get(path) for path in ("/healthz", "/readyz", "/metrics"))
    head = connection.get("/healthz", method="HEAD")
    other = connection.get("/")

    assert health.json() == {"status": "ok"}
    assert ready.json()["status"] == "ready"
    assert b"streamd_streams" in metrics.body
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "15")
    assert other.status == 403
    assert other.body == raw(daemon.url, "", b"x", method="PUT").body


def test_many_requests_of_one_connection_are_answered_at_once(connection: Http2Client, stream: str) -> None:
    place = _place(connection, stream, kind="LATEST")

    waiting = [connection.ask("GetRecords", place, x_streamd_wait_ms="20000") for _ in range(5)]
    puts = [connection.ask("PutRecord", _put(stream, b"%d" % number)) for number in range(200)]
    numbers = [int(connection.answer(put).json()["SequenceNumber"]) for put in puts]
    woken = [connection.answer(number) for number in waiting]

    assert len(set(numbers)) == 200
    assert all(_data_of(answer) for answer in woken)


def test_a_large_answer_comes_whole_through_small_windows(daemon: Daemon, kinesis: Any, stream: str) -> None:
    content = _fill(kinesis, stream, record_count=19)

    with dial_http2(daemon.port, window=16_000) as narrow:
        answer = narrow.call("GetRecords", _place(narrow, stream))

    assert _data_of(answer) == content


def test_an_answer_that_is_not_taken_holds_up_no_other(daemon: Daemon, kinesis: Any, stream: str) -> None:
    content = _fill(kinesis, stream, record_count=2)

    with dial_http2(daemon.port, window=4_000, gives_room=False) as slow:
        place = _place(slow, stream)
        stalled = slow.ask("GetRecords", place)
        others = [slow.call("PutRecord", _put(stream)).status for _ in range(3)]
        held = sum(map(len, slow.answers[stalled].pieces))
        slow.give_room(8 * _MIB)
        slow.give_room(8 * _MIB, stalled)
        answer = slow.answer(stalled)

    assert others == [200, 200, 200]
    assert held <= 4_000
    assert _data_of(answer).startswith(content)


def test_a_window_that_settings_open_lets_answers_go_on(daemon: Daemon, kinesis: Any, stream: str) -> None:
    content = _fill(kinesis, stream, record_count=2)

    with dial_http2(daemon.port, window=0) as slow:
        slow.give_room(8 * _MIB)
        stalled = slow.open({"content-length": "0"}, method="GET", path="/healthz", end_stream=True)
        slow.state.update_settings({4: 4 * _MIB})
        slow.flush()
        page = slow.answer(stalled)
        answer = slow.call("GetRecords", _place(slow, stream))

    assert page.json() == {"status": "ok"}
    assert _data_of(answer) == content


def test_large_bodies_are_let_in_together(daemon: Daemon, stream: str) -> None:
    entries = [{"PartitionKey": "k", "Data": "A" * 1_048_000}] * 9
    body = orjson.dumps({"StreamName": stream, "Records": entries})

    with dial_http2(daemon.port) as connection:
        # More than may be under way at once: the later ones wait for the earlier ones' end.
        head = {"x-amz-target": "Kinesis_20131202.PutRecords", "content-type": JSON, "content-length": str(len(body))}
        numbers = [connection.open(head) for _ in range(10)]
        for number in numbers:
            connection.send_body(number, body)
        answers = [connection.answer(number) for number in numbers]

    assert [answer.status for answer in answers] == [200] * 10
    assert [answer.json()["FailedRecordCount"] for answer in answers] == [0] * 10


def test_a_body_of_a_length_nobody_said_is_read(connection: Http2Client, stream: str) -> None:
    number = connection.open({"x-amz-target": "Kinesis_20131202.PutRecord", "content-type": JSON})

    connection.send_body(number, orjson.dumps(_put(stream, b"a" * 500_000)))

    assert connection.answer(number).status == 200


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_that_is_too_large_is_refused_and_the_connection_stays(
    connection: Http2Client, *, is_declared: bool
) -> None:
    length = BODY_BYTE_COUNT_MAX + 1
    headers = {"content-length": str(length)} if is_declared else {}
    number = connection.open(headers)

    connection.send_body(number, b"x" * length, end_stream=False)
    answer = connection.answer(number)

    assert (answer.status, answer.body) == (413, b"")
    assert connection.get("/healthz").status == 200


def test_a_client_that_asks_first_is_told_to_go_on(connection: Http2Client, stream: str) -> None:
    body = orjson.dumps(_put(stream))
    head = {"x-amz-target": "Kinesis_20131202.PutRecord", "content-type": JSON, "expect": "100-continue"}
    number = connection.open(head | {"content-length": str(len(body))})
    connection.sync()

    connection.send_body(number, body)

    assert connection.answer(number).status == 200
    assert connection.informed == [number]


def test_a_reset_request_leaves_the_others_alone(connection: Http2Client, stream: str) -> None:
    place = _place(connection, stream, kind="LATEST")
    given_up = connection.ask("GetRecords", place, x_streamd_wait_ms="20000")
    kept = connection.ask("GetRecords", place, x_streamd_wait_ms="20000")

    connection.state.reset_stream(given_up, ErrorCodes.CANCEL)
    connection.flush()
    put = connection.call("PutRecord", _put(stream))
    answer = connection.answer(kept)

    assert put.status == 200
    assert _data_of(answer) == b"data"
    assert connection.answers[given_up].pieces == []


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), ("x", "y")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("host", "b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("Upper", "b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("a", "b\nc")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("connection", "b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), ("a", "b"), (":authority", "a")],
        [(":method", "GET"), (":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), (":odd", "b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("te", "gzip")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a, b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("a", "b\r\nc: d")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a"), ("a b", "c")],
        [
            *((":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a")),
            ("transfer-encoding", "chunked"),
        ],
        [(":method", "GET"), (":scheme", "http"), (":path", "/healthz"), *[("host", "a")] * 2],
        [
            *((":method", "GET"), (":scheme", "http"), (":path", "/healthz"), (":authority", "a")),
            *[("content-length", "0")] * 2,
        ],
    ],
)
def test_a_malformed_head_ends_its_own_request(connection: Http2Client, fields: list[tuple[str, str]]) -> None:
    number = connection.open_as_given(fields)

    code = connection.until_reset(number)

    assert code == ErrorCodes.PROTOCOL_ERROR
    assert connection.get("/healthz").status == 200


@pytest.mark.parametrize("length", ["0", "1", "1000000"])
def test_a_body_of_another_length_than_was_said_is_no_request(daemon: Daemon, stream: str, length: str) -> None:
    with dial_http2(daemon.port) as connection:
        head = {"x-amz-target": "Kinesis_20131202.PutRecord", "content-type": JSON, "content-length": length}
        connection.send_body(connection.open(head), orjson.dumps(_put(stream)))
        code = connection.until_closed()

    assert code == ErrorCodes.PROTOCOL_ERROR
    assert records_of(daemon.client(), stream) == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon that knows a key."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys.toml"
    keys.write_text(_KEYS)
    keys.chmod(0o600)
    running = start_daemon(folder / "data", "--auth", str(keys))
    yield running
    running.stop()


@pytest.mark.parametrize("signed_name", ["host", ":authority"])
def test_a_signature_covers_the_authority(guarded: Daemon, signed_name: str) -> None:
    authority = f"127.0.0.1:{guarded.port}"
    fields = {"content-type": JSON, "x-amz-target": "Kinesis_20131202.DescribeLimits"}
    # Our signer wants a host; a client that signs the pseudo-header signs it instead.
    signed = _signed(fields | {"host": authority}, signed_name)
    headers = fields | signed | {"content-length": "2"}

    with dial_http2(guarded.port) as connection:
        right, elsewhere = (connection.open(headers, authority=name) for name in (authority, "other:1"))
        unsigned = connection.call("DescribeLimits", {})
        for number in (right, elsewhere):
            connection.send_body(number, b"{}")
        answers = connection.answer(right), connection.answer(elsewhere)

    assert answers[0].status == 200
    assert answers[1].json()["__type"] == "InvalidSignatureException"
    assert unsigned.json()["__type"] == "MissingAuthenticationTokenException"


def _signed(headers: dict[str, str], signed_name: str) -> dict[str, str]:
    """Sign headers, with the host under this name."""
    now_ms = time.time_ns() // 1_000_000
    if signed_name == "host":
        request = SignedRequest("POST", "/", "", headers, b"{}")
        return sign(request, _CREDENTIALS, region="us-east-1", service="kinesis", now_ms=now_ms)
    named = {":authority": headers["host"], **{name: text for name, text in headers.items() if name != "host"}}
    return _sign_as_given(named, now_ms=now_ms)


def _sign_as_given(headers: dict[str, str], *, now_ms: int) -> dict[str, str]:
    """Sign exactly these headers and the date, as a client of HTTP/2 that has no host does."""
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms // 1000))
    covered = headers | {"x-amz-date": timestamp}
    scope = f"{timestamp[:8]}/us-east-1/kinesis/aws4_request"
    names = sorted(covered)
    request = SignedRequest("POST", "/", "", covered, b"{}")
    canonical = canonical_request(request, query="", signed_header_names=names, body_hash=sha256(b"{}").hexdigest())
    key = signing_key(_CREDENTIALS.secret, date=timestamp[:8], region="us-east-1", service="kinesis")
    signature = signature_of(canonical, key=key, timestamp=timestamp, scope=scope)
    return {
        "x-amz-date": timestamp,
        "authorization": f"AWS4-HMAC-SHA256 Credential={_CREDENTIALS.access_key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}",
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_in_hand_are_answered_before_the_end(daemon_factory: DaemonFactory, workers: str) -> None:
    daemon = daemon_factory("--workers", workers)
    daemon.client().create_stream(StreamName="posts", ShardCount=1)

    with dial_http2(daemon.port) as busy, dial_http2(daemon.port) as idle:
        waiting = busy.ask("GetRecords", _place(busy, "posts", kind="LATEST"), x_streamd_wait_ms="20000")
        busy.sync()
        idle.sync()
        daemon.process.send_signal(signal.SIGTERM)
        codes = idle.until_closed(), busy.until_closed()
        status = daemon.process.wait(_STOP_PATIENCE_S)
        answer = busy.answers[waiting]

    assert codes == (ErrorCodes.NO_ERROR, ErrorCodes.NO_ERROR)
    assert answer.has_ended
    assert answer.raw().json()["Records"] == []
    assert status == 0
    assert "Traceback" not in daemon.log.read_text()


def test_a_client_that_says_goodbye_still_gets_its_answers(connection: Http2Client, stream: str) -> None:
    place = _place(connection, stream, kind="LATEST")
    waiting = connection.ask("GetRecords", place, x_streamd_wait_ms="300")
    connection.sync()

    connection.socket.sendall(GoAwayFrame(0, last_stream_id=0).serialize())
    answer = connection.answer(waiting)
    connection.until_closed()

    assert answer.status == 200
    assert answer.json()["Records"] == []
