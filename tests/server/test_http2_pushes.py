"""Answers that are pushed over HTTP/2: under flow control, apart from each other, and closed at their end.

The dialect is the test's own: it is the seam that the doors serve. Door, sockets and clients are real.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from h2.errors import ErrorCodes

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.http import HttpDoor
from tests.server.http2_client import Http2Client, dial_http2

__all__: list[str] = []

_FRAME = b"f" * 10_000
_EVENT_STREAM = b"Content-Type: application/vnd.amazon.eventstream\r\n"
_LARGE = 100_000_000


@dataclass
class Source:
    """What a pushed answer is made of, and what became of it."""

    given_count: int = 0
    is_closed: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def frames(self, frame_count: int) -> AsyncGenerator[bytes, None]:
        """Give so many frames, then whatever the path asks for."""
        try:
            for _ in range(frame_count):
                self.given_count += 1
                yield _FRAME
        finally:
            self.is_closed.set()

    async def waiting(self) -> AsyncGenerator[bytes, None]:
        """Give a frame, and the next one when the test says so."""
        try:
            yield _FRAME
            await self.go_on.wait()
            yield b""
            yield b"last"
        finally:
            self.is_closed.set()

    async def failing(self) -> AsyncGenerator[bytes, None]:
        """Give a frame and break."""
        try:
            yield _FRAME
            raise ZeroDivisionError
        finally:
            self.is_closed.set()


class PushingDialect:
    """Answers each path with a source of its own."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    async def answer(self, request: SignedRequest) -> Reply:
        """Push what the path asks for."""
        source = Source()
        self.sources.append(source)
        kind, _, count = request.path.strip("/").partition("-")
        match kind:
            case "frames":
                frames = source.frames(int(count))
            case "waiting":
                frames = source.waiting()
            case "failing":
                frames = source.failing()
            case _:
                return Reply(200, b"", b"plain")
        return Reply(200, _EVENT_STREAM, frames=frames)

    def read_plain_put(self, _: SignedRequest) -> PlainPut | None:
        """Know no plain put."""
        return None

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        """Have none to answer."""
        raise AssertionError(puts)


@dataclass
class House:
    """A door that serves the pushing dialect."""

    door: HttpDoor
    dialect: PushingDialect
    port: int

    @property
    def source(self) -> Source:
        """What the first request was answered with."""
        return self.dialect.sources[0]


@asynccontextmanager
async def _open_house() -> AsyncIterator[House]:
    dialect = PushingDialect()
    door = HttpDoor(dialect, {}, AnswerRoom())
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    async with asyncio.TaskGroup() as group:
        task = await door.open(listener, group)
        yield House(door, dialect, listener.getsockname()[1])
        await door.close()
        task.cancel()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Give an open door, in a task of its own: a group that fails then ends itself and not the test."""
    opened: asyncio.Future[House] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def live() -> None:
        async with _open_house() as house:
            opened.set_result(house)
            await done.wait()

    task = asyncio.ensure_future(live())
    yield await opened
    done.set()
    await task


async def _beside(talk: Callable[[], object]) -> None:
    """Run a blocking client beside the door."""
    await asyncio.to_thread(talk)


def _ask(connection: Http2Client, path: str) -> int:
    return connection.open({}, path=path, end_stream=True)


def _received_byte_count(connection: Http2Client, number: int) -> int:
    return sum(map(len, connection.answers[number].pieces))


async def test_frames_come_in_order_and_the_answer_has_an_end(house: House) -> None:
    def talk() -> None:
        with dial_http2(house.port) as connection:
            answer = connection.answer(_ask(connection, "/frames-100"))
        assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
        assert "content-length" not in answer.headers
        assert answer.body == _FRAME * 100

    await _beside(talk)

    assert house.source.given_count == 100
    assert house.source.is_closed.is_set()


async def test_a_frame_is_sent_as_soon_as_it_is_there(house: House) -> None:
    loop = asyncio.get_running_loop()

    def talk() -> None:
        with dial_http2(house.port) as connection:
            number = _ask(connection, "/waiting")
            while _received_byte_count(connection, number) < len(_FRAME):
                assert connection.receive()
            assert not connection.answers[number].has_ended
            loop.call_soon_threadsafe(house.source.go_on.set)
            assert connection.answer(number).body == _FRAME + b"last"

    await _beside(talk)

    assert house.source.is_closed.is_set()


async def test_the_source_of_a_slow_reader_waits_and_others_are_served(house: House) -> None:
    def talk() -> None:
        with dial_http2(house.port, window=25_000, gives_room=False) as connection:
            slow = _ask(connection, "/frames-1000")
            while _received_byte_count(connection, slow) < 25_000:
                assert connection.receive()
            other = connection.answer(_ask(connection, "/plain"))
            given_count = house.source.given_count
            connection.give_room(_LARGE)
            connection.give_room(_LARGE, slow)
            answer = connection.answer(slow)
        assert other.body == b"plain"
        # Two frames and a half were taken: the third is held, and no fourth was asked for.
        assert given_count == 3
        assert len(answer.body) == 1000 * len(_FRAME)

    await _beside(talk)


@pytest.mark.parametrize("path", ["/waiting", "/frames-1000"])
async def test_a_reset_closes_the_source_and_nothing_else(house: House, path: str) -> None:
    def talk() -> None:
        with dial_http2(house.port, window=5_000, gives_room=False) as connection:
            number = _ask(connection, path)
            while not connection.answers[number].pieces:
                assert connection.receive()
            connection.state.reset_stream(number, ErrorCodes.CANCEL)
            connection.flush()
            assert connection.answer(_ask(connection, "/plain")).body == b"plain"

    await _beside(talk)
    await house.source.is_closed.wait()

    assert house.source.given_count <= 1


@pytest.mark.parametrize("path", ["/waiting", "/frames-1000"])
async def test_a_client_that_goes_away_closes_its_sources(house: House, path: str) -> None:
    def talk() -> None:
        with dial_http2(house.port, window=5_000, gives_room=False) as connection:
            numbers = [_ask(connection, path) for _ in range(3)]
            while not all(connection.answers[number].pieces for number in numbers):
                assert connection.receive()

    await _beside(talk)

    for source in house.dialect.sources:
        await source.is_closed.wait()
    assert len(house.dialect.sources) == 3


async def test_a_source_that_breaks_ends_its_own_answer(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def talk() -> None:
        with dial_http2(house.port) as connection:
            failing = _ask(connection, "/failing")
            assert connection.until_reset(failing) == ErrorCodes.INTERNAL_ERROR
            assert connection.answer(_ask(connection, "/plain")).body == b"plain"

    await _beside(talk)

    assert house.source.is_closed.is_set()
    assert "this is a bug in streamd" in caplog.text


async def test_a_thousand_pushes_go_over_four_connections(house: House) -> None:
    loop = asyncio.get_running_loop()

    def talk() -> None:
        with (
            dial_http2(house.port) as a,
            dial_http2(house.port) as b,
            dial_http2(house.port) as c,
            dial_http2(house.port) as d,
        ):
            connections = [a, b, c, d]
            pushes = [(connection, _ask(connection, "/waiting")) for _ in range(250) for connection in connections]
            for connection, number in pushes:
                while not connection.answers[number].pieces:
                    assert connection.receive()
            loop.call_soon_threadsafe(_release, house)
            bodies = [connection.answer(number).body for connection, number in pushes]
        assert bodies == [_FRAME + b"last"] * 1000

    await _beside(talk)

    assert all(source.is_closed.is_set() for source in house.dialect.sources)


async def test_a_push_ends_before_the_door_closes(house: House) -> None:
    loop = asyncio.get_running_loop()

    def talk() -> None:
        with dial_http2(house.port) as connection:
            number = _ask(connection, "/waiting")
            while not connection.answers[number].pieces:
                assert connection.receive()
            closing = asyncio.run_coroutine_threadsafe(house.door.close(), loop)
            while connection.goaway_code is None:
                assert connection.receive()
            refused = _ask(connection, "/plain")
            assert connection.until_reset(refused) == ErrorCodes.REFUSED_STREAM
            loop.call_soon_threadsafe(house.source.go_on.set)
            assert connection.answer(number).body == _FRAME + b"last"
            assert connection.until_closed() == ErrorCodes.NO_ERROR
            closing.result(timeout=30)

    await _beside(talk)


def _release(house: House) -> None:
    for source in house.dialect.sources:
        source.go_on.set()
