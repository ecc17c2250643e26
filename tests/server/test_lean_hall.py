"""The hall of the lean door: a bug behind it costs one answer."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import pytest

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.lean import LeanConnection
from streamd.server.lean_hall import LeanHall
from streamd.server.web_door import WebDoor
from tests.server.connections import whole_request

__all__: list[str] = []

_PATIENCE_S = 30


class _Broken:
    """Has a bug."""

    async def answer(self, request: SignedRequest) -> Reply:
        raise TypeError(request.path)

    def read_plain_put(self, request: SignedRequest) -> PlainPut | None:
        del request
        return None

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        raise AssertionError(puts)


async def test_a_bug_behind_the_door_is_answered_and_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    hall = LeanHall(_Broken(), lambda _begun: None, AnswerRoom())
    server = await asyncio.get_running_loop().create_server(lambda: LeanConnection(hall), "127.0.0.1", 0)
    running = asyncio.create_task(hall.run())
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

    answers = []
    async with asyncio.timeout(_PATIENCE_S):
        for _ in range(2):
            writer.write(whole_request("ListStreams", b"{}"))
            answers.append(await reader.readuntil(b"\r\n\r\n"))
    is_running = not running.done()
    writer.close()
    server.close()
    running.cancel()
    await asyncio.wait([running])

    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 500 "] * 2
    assert is_running
    assert caplog.text.count("this is a bug in streamd") == 2


class _Willing(_Broken):
    """Answers."""

    async def answer(self, request: SignedRequest) -> Reply:
        del request
        return Reply(200, b"")


async def test_connections_that_were_handed_over_count_like_the_others() -> None:
    web_door: list[WebDoor] = []
    hall = LeanHall(_Willing(), lambda _begun: web_door[0].connect(), AnswerRoom(), connection_count_max=2)
    connections = hall.bounded_elsewhere
    web_door.append(WebDoor(_Willing(), {}, budget=hall.budget, answers=hall.answers, connections=connections))
    server = await asyncio.get_running_loop().create_server(lambda: LeanConnection(hall), "127.0.0.1", 0)
    place = server.sockets[0].getsockname()

    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
        running = group.create_task(hall.run())
        first, second, third = [await _ask(place) for _ in range(3)]
        first.writer.close()
        # Until the server has noticed.
        while not (again := await _ask(place)).told:
            again.writer.close()
        for each in (second, third, again):
            each.writer.close()
        await web_door[0].close(patience_s=_PATIENCE_S)
        server.close()
        running.cancel()

    assert [first.told, second.told, third.told, again.told] == [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 ",
        b"",
        b"HTTP/1.1 200 ",
    ]


class _Asked(NamedTuple):
    """What was told on a connection that stays."""

    writer: asyncio.StreamWriter
    told: bytes


async def _ask(place: tuple[str, int]) -> _Asked:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with suppress(ConnectionResetError):
        return _Asked(writer, (await reader.read(13)))
    return _Asked(writer, b"")
