"""How long the doors wait for clients: for heads, bodies, idle connections, and answers that are not taken.

The daemon's clocks are moved, so that a minute passes in a moment.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import orjson
import pytest
from h2.errors import ErrorCodes

from streamd.core.limits import DOOR_BYTE_COUNT_MAX
from tests.audit.load_watch import sample_of
from tests.daemons import Daemon, raw, start_daemon
from tests.durability.preloads import has_compiler
from tests.durability.wall_clock import WallClock
from tests.server.connections import JSON, dial, head_of, read_answer, whole_request
from tests.server.http2_client import dial_http2
from tests.workers.wire import until

__all__: list[str] = []

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler here to make the clock")

_MIB = 1 << 20
_ANNOUNCED = head_of("PutRecords", {"Content-Type": JSON, "Content-Length": str(13 * _MIB)})
_CHUNKED = head_of("PutRecords", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
_LISTED = whole_request("ListStreams", b"{}")
_LISTED_IN_CHUNKS = (
    head_of("ListStreams", {"Content-Type": JSON, "Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\n0\r\n\r\n"
)
_PIECE = b"%x\r\n%b\r\n" % (_MIB, b" " * _MIB)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("patience")


@pytest.fixture(scope="module")
def clock(place: Path) -> WallClock:
    return WallClock(place)


@pytest.fixture(scope="module")
def slow_daemon(place: Path, clock: WallClock) -> Iterator[Daemon]:
    """Give a daemon whose clocks the tests of this module move."""
    running = start_daemon(place / "data", environment=clock.environment)
    yield running
    running.stop()


@pytest.mark.parametrize(
    "begun",
    [
        b"POST / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
        _ANNOUNCED,
        _ANNOUNCED + b"{" * 300_000,
        _CHUNKED,
        _CHUNKED + _PIECE,
    ],
    ids=["a line", "a head", "no body", "a body", "no chunk", "a chunk"],
)
def test_a_request_that_does_not_come_to_its_end_is_given_up_after_a_minute(
    slow_daemon: Daemon, clock: WallClock, begun: bytes
) -> None:
    with dial(slow_daemon) as connection:
        connection.sendall(begun)
        assert not _is_answered(slow_daemon, connection)
        clock.let_pass(50)
        assert not _is_answered(slow_daemon, connection)
        clock.let_pass(15)
        until(lambda: _is_answered(slow_daemon, connection))

        assert read_answer(connection).status == 408
        # For a while what still comes is read, so that the answer is not lost over it.
        clock.let_pass(15)
        assert raw(slow_daemon.url, "ListStreams", {}).status == 200
        assert connection.recv(1) == b""


@pytest.mark.parametrize("asked", [b"", _LISTED, _LISTED_IN_CHUNKS], ids=["nothing", "a length", "chunks"])
def test_a_connection_that_idles_is_closed_without_a_word(slow_daemon: Daemon, clock: WallClock, asked: bytes) -> None:
    with dial(slow_daemon) as connection:
        connection.sendall(asked)
        assert not asked or read_answer(connection).status == 200
        # By then the daemon has done with what came before.
        assert not _is_answered(slow_daemon, connection)
        clock.let_pass(60)
        assert not _is_answered(slow_daemon, connection)
        clock.let_pass(25)
        until(lambda: _is_answered(slow_daemon, connection))

        assert connection.recv(1) == b""


@pytest.mark.parametrize("is_chunked", [False, True], ids=["a length", "chunks"])
def test_an_answer_that_is_not_taken_is_given_up_after_five_minutes(
    slow_daemon: Daemon, clock: WallClock, stream_name: str, *, is_chunked: bool
) -> None:
    body = orjson.dumps({"ShardIterator": _iterator_of_ten_megabytes(slow_daemon, stream_name)})
    request = whole_request("GetRecords", body)
    if is_chunked:
        head = head_of("GetRecords", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
        request = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", slow_daemon.port))
        connection.sendall(request)
        until(lambda: _is_answered(slow_daemon, connection))
        for _ in range(6):
            clock.let_pass(48)
            assert raw(slow_daemon.url, "ListStreams", {}).status == 200
        before = sample_of(slow_daemon).descriptor_count
        clock.let_pass(20)
        until(lambda: _descriptor_count(slow_daemon) < before)

        assert _byte_count_until_its_end(connection) < 10 * _MIB


def test_over_http2_a_body_that_does_not_come_to_its_end_is_given_up_after_a_minute_and_no_other(
    slow_daemon: Daemon, clock: WallClock
) -> None:
    with dial_http2(slow_daemon.port) as connection:
        headers = {"x-amz-target": "Kinesis_20131202.ListStreams", "content-type": JSON, "content-length": "1000"}
        number = connection.open(headers)
        connection.send_body(number, b"{", end_stream=False)
        connection.sync()
        clock.let_pass(50)
        connection.sync()
        assert connection.answers[number].headers == {}
        clock.let_pass(15)
        connection.sync()

        assert connection.answer(number).status == 408
        assert connection.call("ListStreams", {}).status == 200


def test_over_http2_an_answer_that_is_not_taken_is_reset_after_five_minutes(
    slow_daemon: Daemon, clock: WallClock, stream_name: str
) -> None:
    iterator = _iterator_of_ten_megabytes(slow_daemon, stream_name)
    with dial_http2(slow_daemon.port, gives_room=False) as connection:
        number = connection.ask("GetRecords", {"ShardIterator": iterator})
        while not connection.answers[number].pieces:
            assert connection.receive()
        connection.give_room(1 << 20)
        for _ in range(6):
            clock.let_pass(48)
            connection.sync()
        assert connection.answers[number].reset_code is None
        clock.let_pass(20)

        assert connection.until_reset(number) == ErrorCodes.CANCEL


def test_over_http2_a_connection_that_idles_is_told_so_and_closed(slow_daemon: Daemon, clock: WallClock) -> None:
    with dial_http2(slow_daemon.port) as connection:
        connection.sync()
        clock.let_pass(60)
        assert not _is_answered(slow_daemon, connection.socket)
        clock.let_pass(25)

        assert connection.until_closed() == ErrorCodes.NO_ERROR


def test_over_http2_a_frame_that_does_not_come_to_its_end_ends_the_connection_after_a_minute(
    slow_daemon: Daemon, clock: WallClock
) -> None:
    with dial_http2(slow_daemon.port) as connection:
        connection.sync()
        connection.socket.sendall(b"\0\0\x08\x06\0\0\0\0\0half")
        assert not _is_answered(slow_daemon, connection.socket)
        clock.let_pass(65)

        assert connection.until_closed() == ErrorCodes.NO_ERROR


def test_bodies_in_chunks_that_stall_while_others_wait_are_given_up_after_seconds(
    slow_daemon: Daemon, clock: WallClock
) -> None:
    with ExitStack() as stack:
        stalled = [stack.enter_context(dial(slow_daemon)) for _ in range(2 * DOOR_BYTE_COUNT_MAX // (12 * _MIB))]
        for connection in stalled:
            _pour(connection, _CHUNKED + 12 * _PIECE)
        clock.let_pass(6)
        until(lambda: any(_is_answered(slow_daemon, connection) for connection in stalled))
        answered = [connection for connection in stalled if _is_answered(slow_daemon, connection)]

        assert {read_answer(connection).status for connection in answered} == {408}
        large = b"{" + b" " * 2 * _MIB + b"}"
        assert raw(slow_daemon.url, "ListStreams", large).status == 200


def _is_answered(daemon: Daemon, connection: socket.socket) -> bool:
    # Asking wakes the daemon, so that it meets the timers that are due.
    assert raw(daemon.url, "ListStreams", {}).status == 200
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(30)
    return True


def _iterator_of_ten_megabytes(daemon: Daemon, stream: str) -> str:
    client = daemon.client()
    client.create_stream(StreamName=stream, ShardCount=1)
    records = [{"Data": bytes(_MIB - 1), "PartitionKey": "k"} for _ in range(9)]
    client.put_records(StreamName=stream, Records=records)
    asked = {"StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    return str(client.get_shard_iterator(**asked)["ShardIterator"])


def _descriptor_count(daemon: Daemon) -> int:
    assert raw(daemon.url, "ListStreams", {}).status == 200
    return sample_of(daemon).descriptor_count


def _byte_count_until_its_end(connection: socket.socket) -> int:
    byte_count = 0
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            byte_count += len(piece)
    return byte_count


def _pour(connection: socket.socket, content: bytes) -> None:
    """Send as much as is taken."""
    connection.settimeout(1)
    with suppress(TimeoutError):
        connection.sendall(content)
    connection.settimeout(30)
