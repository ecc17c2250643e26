"""The HTTP/1.1 doors: the lean one for what every SDK sends, and aiohttp's for everything else.

A request becomes plain values here and a reply is plain values; nothing further in sees an HTTP library. Bodies,
headers and idle connections are bounded. ``/healthz``, ``/readyz`` and ``/metrics`` are answered here; everything else
is the dialect's.
"""

import asyncio
import importlib
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from streamd.server.lean import Dialect, LeanHall
from streamd.server.pages import Page

if TYPE_CHECKING:
    from streamd.server.web_door import WebDoor

__all__ = ["HttpDoor"]

_STOP_PATIENCE_S = 10.0
_WEB_DOOR = "streamd.server.web_door"


class HttpDoor:
    """Serves one dialect and some pages on one listening socket."""

    def __init__(self, dialect: Dialect, pages: Mapping[str, Page]) -> None:
        self._dialect = dialect
        self._pages = pages
        self._hall = LeanHall(dialect, self._connect_to_web)
        self._web_door: WebDoor | None = None
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket, group: asyncio.TaskGroup) -> asyncio.Task[NoReturn]:
        """Begin to accept; the task that answers is the group's to cancel after ``close``."""
        task = group.create_task(self._hall.run())
        # The hall's own group opens at its first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._hall.connect, sock=listener)
        # Loaded on a thread, so that the first puts need not wait for it; whoever needs it sooner waits for the rest.
        loop.run_in_executor(None, importlib.import_module, _WEB_DOOR)
        return task

    async def close(self) -> None:
        """Stop accepting, let the requests in hand finish, for a while, then close."""
        if self._server is not None:
            self._server.close()
        await self._hall.drain(patience_s=_STOP_PATIENCE_S)
        if self._web_door is not None:
            await self._web_door.close(patience_s=_STOP_PATIENCE_S)

    def _connect_to_web(self) -> asyncio.Protocol:
        if self._web_door is None:
            module = importlib.import_module(_WEB_DOOR)
            self._web_door = module.WebDoor(self._dialect, self._pages)
        door: WebDoor = self._web_door
        return door.connect()
