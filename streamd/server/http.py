"""The HTTP/1.1 door: aiohttp's low-level server around the dialect.

A request becomes plain values here and a reply is plain values; nothing further in sees an HTTP library. Bodies,
headers and idle connections are bounded. ``/healthz``, ``/readyz`` and ``/metrics`` are answered here; everything else
is the dialect's.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.core.sigv4 import SignedRequest
from streamd.kinesis.exchange import Reply

__all__ = ["Dialect", "HttpDoor", "Page"]

_HEADER_BYTE_COUNT_MAX = 16 * 1024
_KEEP_ALIVE_S = 75.0
_BODY_PATIENCE_S = 60.0
_BACKLOG = 1024
_STOP_PATIENCE_S = 10.0
_SERVER = {"Server": "streamd"}


class Dialect(Protocol):
    """Answers requests. Never raises."""

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request."""
        ...


Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""A page of the server's own: status, content type, body."""


class HttpDoor:
    """Serves one dialect and some pages on one listening socket."""

    def __init__(self, dialect: Dialect, pages: Mapping[str, Page]) -> None:
        self._dialect = dialect
        self._pages = pages
        server = web.Server(
            self._handle,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
            max_line_size=_HEADER_BYTE_COUNT_MAX,
            max_field_size=_HEADER_BYTE_COUNT_MAX,
            # The signature covers the body as it was sent, so it is unpacked later.
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_PATIENCE_S)

    async def open(self, listener: socket.socket) -> None:
        """Begin to accept."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=_BACKLOG).start()

    async def close(self) -> None:
        """Stop accepting, let the requests in hand finish, for a while, then close."""
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and (page := self._pages.get(request.path)) is not None:
            status, content_type, content = await page()
            return web.Response(status=status, headers={"Content-Type": content_type} | _SERVER, body=content)
        body = await _body_of(request)
        if body is None:
            # As AWS does: no words, and the connection cannot be used again.
            response = web.Response(status=413, headers=_SERVER)
            response.force_close()
            return response
        path, _, query = request.raw_path.partition("?")
        reply = await self._dialect.answer(
            SignedRequest(method=request.method, path=path, query=query, headers=_headers_of(request), body=body)
        )
        return web.Response(status=reply.status, headers={**reply.headers, **_SERVER}, body=reply.body)


async def _body_of(request: web.BaseRequest) -> bytes | None:
    """Read the body; None when it is larger than any request may be."""
    declared = request.content_length
    if declared is not None and declared > BODY_BYTE_COUNT_MAX:
        return None
    if not request.can_read_body:
        return b""
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
