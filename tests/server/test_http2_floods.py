"""Known floods over HTTP/2 end their own connection, with a word why, and the server goes on answering others."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import pytest
from h2.errors import ErrorCodes
from hpack.hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.daemons import Daemon
from tests.server.http2_client import Http2Client, dial_http2

__all__: list[str] = []

_REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]
_COUNT = 3_000
_GOAWAY = 7
Flood = Callable[[], Iterator[Frame]]


def _headers(number: int, *, flags: tuple[str, ...] = ("END_HEADERS",), block: bytes | None = None) -> HeadersFrame:
    # An encoder for each block: none then refers to what another said.
    content = Encoder().encode(_REQUEST) if block is None else block
    return HeadersFrame(number, content, flags=flags)


def _rapid_resets() -> Iterator[Frame]:
    for number in range(1, 2 * _COUNT, 2):
        yield _headers(number, flags=("END_HEADERS", "END_STREAM"))
        yield RstStreamFrame(number, error_code=8)


def _resets_of_what_is_gone() -> Iterator[Frame]:
    yield _headers(1, flags=("END_HEADERS", "END_STREAM"))
    for _ in range(_COUNT):
        yield RstStreamFrame(1, error_code=8)


def _settings() -> Iterator[Frame]:
    for number in range(_COUNT):
        yield SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: number})


def _confirmed_settings() -> Iterator[Frame]:
    for _ in range(_COUNT):
        yield SettingsFrame(0, flags=("ACK",))


def _pings() -> Iterator[Frame]:
    for _ in range(_COUNT):
        yield PingFrame(0, opaque_data=b"12345678")


def _priorities() -> Iterator[Frame]:
    for number in range(_COUNT):
        yield PriorityFrame(2 * number + 3, depends_on=1)


def _unknown_frames() -> Iterator[Frame]:
    for _ in range(_COUNT):
        yield ExtensionFrame(0xEE, 0)


def _empty_data() -> Iterator[Frame]:
    yield _headers(1)
    for _ in range(_COUNT):
        yield DataFrame(1)


def _tiny_data() -> Iterator[Frame]:
    yield _headers(1)
    for _ in range(_COUNT):
        yield DataFrame(1, b"x")


def _continuations() -> Iterator[Frame]:
    yield _headers(1, flags=())
    for _ in range(_COUNT):
        yield ContinuationFrame(1, b"")


def _endless_head() -> Iterator[Frame]:
    yield _headers(1, flags=())
    for _ in range(20):
        yield ContinuationFrame(1, b"\0\1a\1b" * 3_000)


def _header_bomb() -> Iterator[Frame]:
    # One entry of 4,000 bytes, kept in the table, then named again and again by one byte each.
    entry = Encoder().encode([("a", "x" * 4_000)], huffman=False)
    yield _headers(1, block=Encoder().encode(_REQUEST) + entry + b"\xbe" * 10_000)


def _small_window_updates() -> Iterator[Frame]:
    yield _headers(1)
    for _ in range(_COUNT):
        yield WindowUpdateFrame(1, window_increment=1)


@pytest.mark.parametrize(
    "flood",
    [
        _rapid_resets,
        _resets_of_what_is_gone,
        _settings,
        _confirmed_settings,
        _pings,
        _priorities,
        _unknown_frames,
        _empty_data,
        _tiny_data,
        _continuations,
        _endless_head,
        _header_bomb,
        _small_window_updates,
    ],
)
def test_a_flood_is_asked_to_calm_down(daemon: Daemon, flood: Flood) -> None:
    with dial_http2(daemon.port) as flooding, dial_http2(daemon.port) as other:
        code = _send(flooding, flood())
        page = other.get("/healthz")

    assert code == ErrorCodes.ENHANCE_YOUR_CALM
    assert page.status == 200


def _window_of_nothing() -> Iterator[Frame]:
    yield WindowUpdateFrame(0, window_increment=0)


def _window_beyond_all() -> Iterator[Frame]:
    yield WindowUpdateFrame(0, window_increment=2**31 - 1)


def _data_of_no_request() -> Iterator[Frame]:
    yield DataFrame(1, b"x")


def _request_of_the_server() -> Iterator[Frame]:
    yield _headers(2)


def _empty_heads() -> Iterator[Frame]:
    yield _headers(1, block=b"")
    yield _headers(1, block=b"")


def _more_streams_than_allowed() -> Iterator[Frame]:
    for number in range(1, 2 * 300, 2):
        yield _headers(number)


def _broken_block() -> Iterator[Frame]:
    yield _headers(1, block=b"\xff\xff\xff\xff\xff")


def _body_of_another_length() -> Iterator[Frame]:
    block = Encoder().encode([*_REQUEST, ("content-length", "3")])
    yield _headers(1, block=block)
    yield DataFrame(1, b"x", flags=("END_STREAM",))


@pytest.mark.parametrize(
    ("breach", "code"),
    [
        (_window_of_nothing, ErrorCodes.PROTOCOL_ERROR),
        (_window_beyond_all, ErrorCodes.FLOW_CONTROL_ERROR),
        (_data_of_no_request, ErrorCodes.PROTOCOL_ERROR),
        (_request_of_the_server, ErrorCodes.PROTOCOL_ERROR),
        (_empty_heads, ErrorCodes.PROTOCOL_ERROR),
        (_more_streams_than_allowed, ErrorCodes.PROTOCOL_ERROR),
        (_broken_block, ErrorCodes.PROTOCOL_ERROR),
        (_body_of_another_length, ErrorCodes.PROTOCOL_ERROR),
    ],
)
def test_a_breach_of_the_protocol_ends_the_connection(daemon: Daemon, breach: Flood, code: ErrorCodes) -> None:
    with dial_http2(daemon.port) as breaching, dial_http2(daemon.port) as other:
        found = _send(breaching, breach())
        page = other.get("/healthz")

    assert found == code
    assert page.status == 200


def test_a_frame_larger_than_allowed_ends_the_connection(daemon: Daemon) -> None:
    with dial_http2(daemon.port) as breaching:
        code = _send(breaching, [_headers(1), DataFrame(1, b"x" * 20_000)])

    assert code == ErrorCodes.FRAME_SIZE_ERROR


def test_what_a_busy_client_does_is_no_flood(daemon: Daemon) -> None:
    with dial_http2(daemon.port) as connection:
        for _ in range(3_000):
            # A small body whose end comes by itself, and a reset after the answer: some clients do both each time.
            number = connection.open({"x-amz-target": "Kinesis_20131202.ListStreams"})
            connection.send_body(number, b"{}")
            connection.answer(number)
            connection.socket.sendall(RstStreamFrame(number, error_code=0).serialize())
        page = connection.get("/healthz")

    assert page.status == 200
    assert connection.goaway_code is None


def _send(connection: Http2Client, frames: Iterable[Frame]) -> int | None:
    """Send frames as they are, and read to the connection's end; the code of the GOAWAY before it.

    They go together: what follows a frame that is refused alone would else be taken for what was under way. The server
    may well stop listening before the last of them.
    """
    with suppress(ConnectionError):
        connection.socket.sendall(b"".join(frame.serialize() for frame in frames))
    received = bytearray()
    with suppress(ConnectionError):
        while piece := connection.socket.recv(1 << 16):
            received += piece
    code = None
    while received:
        length = int.from_bytes(received[:3], "big")
        if received[3] == _GOAWAY:
            code = int.from_bytes(received[13:17], "big")
        del received[: 9 + length]
    return code
