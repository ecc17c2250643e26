"""The doors on one port: the lean one for what every SDK sends, HTTP/2's, and aiohttp's for everything else.

A request becomes plain values here and a reply is plain values; nothing further in sees an HTTP library. Bodies,
headers and idle connections are bounded. ``/healthz``, ``/readyz`` and ``/metrics`` are answered here; everything else
is the dialect's.
"""

import asyncio
import importlib
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from streamd.engine.answer_room import AnswerRoom
from streamd.server.http2_guard import PREFACE
from streamd.server.http2_hall import Http2Hall
from streamd.server.lean import LeanConnection
from streamd.server.lean_hall import Dialect, LeanHall
from streamd.server.pages import Page

if TYPE_CHECKING:
    from streamd.server.http2 import Http2Connection
    from streamd.server.web_door import WebDoor

__all__ = ["HttpDoor"]

_STOP_PATIENCE_S = 10.0
_HANDSHAKE_PATIENCE_S = 10.0
_SHUTDOWN_PATIENCE_S = 1.0
_WEB_DOOR = "streamd.server.web_door"
_HTTP2 = "streamd.server.http2"


class HttpDoor:
    """Serves one dialect and some pages on one listening socket, or two."""

    def __init__(self, dialect: Dialect, pages: Mapping[str, Page], answers: AnswerRoom) -> None:
        self._dialect = dialect
        self._pages = pages
        self._hall = LeanHall(dialect, self._hand_over, answers)
        self._http2_hall = Http2Hall(self._hall, pages)
        self._web_door: WebDoor | None = None
        self._servers: list[asyncio.Server] = []

    @property
    def body_byte_count(self) -> int:
        """Tell what the bodies of requests hold now."""
        return self._hall.budget.byte_count

    async def open(self, listener: socket.socket, group: asyncio.TaskGroup) -> asyncio.Task[NoReturn]:
        """Begin to accept; the task that answers is the group's to cancel after ``close``."""
        task = group.create_task(self._hall.run())
        # The hall's own group opens at its first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self.connect, sock=listener))
        # Loaded on a thread, so that the first puts need not wait for it; whoever needs it sooner waits for the rest.
        for module in (_WEB_DOOR, _HTTP2):
            loop.run_in_executor(None, importlib.import_module, module)
        return task

    def connect(self) -> asyncio.Protocol:
        """Make the protocol of a connection that came in by another listener than ours."""
        return LeanConnection(self._hall)

    async def open_tls(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        """Begin to accept under TLS too; what is said inside decides between HTTP/1.1 and HTTP/2."""
        server = await asyncio.get_running_loop().create_server(
            self.connect,
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_PATIENCE_S,
            ssl_shutdown_timeout=_SHUTDOWN_PATIENCE_S,
        )
        self._servers.append(server)

    async def close(self) -> None:
        """Stop accepting, let the requests in hand finish, for a while, then close."""
        for server in self._servers:
            server.close()
        await self._hall.drain(patience_s=_STOP_PATIENCE_S)
        if self._web_door is not None:
            await self._web_door.close(patience_s=_STOP_PATIENCE_S)

    def _hand_over(self, begun: bytes) -> asyncio.Protocol | None:
        """Choose who goes on with a connection that began so; None when that cannot be told yet."""
        if begun.startswith(PREFACE):
            return self._connect_to_http2()
        return None if PREFACE.startswith(begun) else self._connect_to_web()

    def _connect_to_http2(self) -> asyncio.Protocol:
        module = importlib.import_module(_HTTP2)
        connection: Http2Connection = module.Http2Connection(self._http2_hall)
        return connection

    def _connect_to_web(self) -> asyncio.Protocol:
        if self._web_door is None:
            module = importlib.import_module(_WEB_DOOR)
            self._web_door = module.WebDoor(
                self._dialect,
                self._pages,
                budget=self._hall.budget,
                answers=self._hall.answers,
                connections=self._hall.bounded_elsewhere,
            )
        door: WebDoor = self._web_door
        return door.connect()
