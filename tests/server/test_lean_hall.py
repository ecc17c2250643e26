"""The hall of the lean door: a bug behind it costs one answer."""

import asyncio
from collections.abc import Sequence

import pytest

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.lean import LeanConnection
from streamd.server.lean_hall import LeanHall
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
