"""The HTTP/1.1 doors: the lean one for what every SDK sends, and aiohttp's for everything else.

A request becomes plain values here and a reply is plain values; nothing further in sees an HTTP library. Bodies,
headers and idle connections are bounded. ``/healthz``, ``/readyz`` and ``/metrics`` are answered here; everything else
is the dialect's.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from aiohttp import web

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.core.sigv4 import SignedRequest
from streamd.server.lean import Dialect, LeanHall

__all__ = ["HttpDoor", "Page"]

_HEADER_BYTE_COUNT_MAX = 16 * 1024
_KEEP_ALIVE_S = 75.0
_BODY_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 10.0
_SERVER = {"Server": "streamd"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""A page of the server's own: status, content type, body."""


class HttpDoor:
    """Serves one dialect and some pages on one listening socket."""

    def __init__(self, dialect: Dialect, pages: Mapping[str, Page]) -> None:
        self._dialect = dialect
        self._pages = pages
        self._web_server = web.Server(
            self._handle,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
            max_line_size=_HEADER_BYTE_COUNT_MAX,
            max_field_size=_HEADER_BYTE_COUNT_MAX,
            # The signature covers the body as it was sent, so it is unpacked later.
            auto_decompress=False,
        )
        self._hall = LeanHall(dialect, self._web_server)
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket, group: asyncio.TaskGroup) -> asyncio.Task[NoReturn]:
        """Begin to accept; the task that answers is the group's to cancel after ``close``."""
        task = group.create_task(self._hall.run())
        # The hall's own group opens at its first step.
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._hall.connect, sock=listener)
        return task

    async def close(self) -> None:
        """Stop accepting, let the requests in hand finish, for a while, then close."""
        if self._server is not None:
            self._server.close()
        await self._hall.drain(patience_s=_STOP_PATIENCE_S)
        self._web_server.pre_shutdown()
        await self._web_server.shutdown(_STOP_PATIENCE_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and (page := self._pages.get(request.path)) is not None:
            status, content_type, content = await page()
            return web.Response(status=status, headers={"Content-Type": content_type} | _SERVER, body=content)
        try:
            body = await _body_of(request)
        except (TimeoutError, ConnectionError):
            return _last_response(408)
        if body is None:
            return _last_response(413)
        path, _, query = request.raw_path.partition("?")
        reply = await self._dialect.answer(
            SignedRequest(method=request.method, path=path, query=query, headers=_headers_of(request), body=body)
        )
        return web.Response(status=reply.status, headers={**reply.headers, **_SERVER}, body=reply.body)


def _last_response(status: int) -> web.Response:
    """Answer without a word, as AWS does, to what was not read to its end: the connection cannot be used again."""
    response = web.Response(status=status, headers=_SERVER)
    response.force_close()
    return response


async def _body_of(request: web.BaseRequest) -> bytes | None:
    """Read the body; None when it is larger than any request may be."""
    declared = request.content_length
    if declared is not None and declared > BODY_BYTE_COUNT_MAX:
        return None
    if not request.can_read_body:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        # The body comes only after this. What is refused without it was refused above.
        await request.writer.write(_CONTINUE)
        # aiohttp tells by this count that nothing of the answer itself was sent yet.
        request.writer.output_size = 0
    chunks: list[bytes] = []
    byte_count = 0
    async with asyncio.timeout(_BODY_PATIENCE_S):
        while chunk := await request.content.readany():
            byte_count += len(chunk)
            if byte_count > BODY_BYTE_COUNT_MAX:
                return None
            chunks.append(chunk)
    return b"".join(chunks)


def _headers_of(request: web.BaseRequest) -> dict[str, str]:
    """Give the headers by lower-case name, those sent twice joined as SigV4 joins them."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers
