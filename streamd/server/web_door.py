"""aiohttp's door: everything that the lean one does not read itself.

Other methods, chunked and too large bodies, ``Expect``, odd heads, and the server's own pages. A connection comes here
with every byte unread and stays. This module is loaded when the first such connection comes, or a moment after the
start: aiohttp takes a third of the time that a start takes, and no put needs it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.server.dialects import TOO_LARGE, body_byte_count_max, too_large_body
from streamd.server.lean import Dialect
from streamd.server.pages import Page

__all__ = ["WebDoor"]

_LOG = logging.getLogger(__name__)
_HEADER_BYTE_COUNT_MAX = 16 * 1024
_KEEP_ALIVE_S = 75.0
_BODY_PATIENCE_S = 60.0
_SERVER = {"Server": "streamd"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _OwnFaultsOnly(logging.Filter):
    """Keeps aiohttp from logging each request that is not HTTP with a traceback: any client could fill the disk so."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what is not a client's fault."""
        cause = record.exc_info[1] if record.exc_info else None
        return not isinstance(cause, HttpProcessingError)


class WebDoor:
    """Serves one dialect and some pages on the connections that it is given."""

    def __init__(self, dialect: Dialect, pages: Mapping[str, Page]) -> None:
        self._dialect = dialect
        self._pages = pages
        _LOG.addFilter(_OwnFaultsOnly())
        self._web_server = web.Server(
            self._handle,
            access_log=None,
            logger=_LOG,
            keepalive_timeout=_KEEP_ALIVE_S,
            max_line_size=_HEADER_BYTE_COUNT_MAX,
            max_field_size=_HEADER_BYTE_COUNT_MAX,
            # The signature covers the body as it was sent, so it is unpacked later.
            auto_decompress=False,
        )

    def connect(self) -> asyncio.Protocol:
        """Make the protocol of a connection."""
        return self._web_server()

    async def close(self, *, patience_s: float) -> None:
        """Let the requests in hand finish, for a while, then close."""
        self._web_server.pre_shutdown()
        await self._web_server.shutdown(patience_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and (page := self._pages.get(request.path)) is not None:
            status, content_type, content = await page()
            return web.Response(status=status, headers={"Content-Type": content_type} | _SERVER, body=content)
        try:
            body = await _body_of(request)
        except (TimeoutError, ConnectionError):
            return _last_response(408)
        path, _, query = request.raw_path.partition("?")
        if body is None:
            return _last_response(413, too_large_body(path))
        reply = await self._dialect.answer(
            SignedRequest(
                method=request.method,
                path=path,
                query=query,
                headers=_headers_of(request),
                body=body,
                peer=request.remote or "",
            )
        )
        if reply.frames is not None:
            return await _pushed(request, reply, reply.frames)
        return web.Response(status=reply.status, headers={**reply.headers, **_SERVER}, body=reply.body)


async def _pushed(request: web.BaseRequest, reply: Reply, frames: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send frames as they come; the next is asked for when the client has room for it."""
    response = web.StreamResponse(status=reply.status, headers={**reply.headers, **_SERVER})
    async with aclosing(frames):
        # A client that went away is nobody's fault.
        with suppress(ConnectionError):
            await response.prepare(request)
            async for frame in frames:
                await response.write(frame)
            await response.write_eof()
    return response


def _last_response(status: int, body: bytes = b"") -> web.Response:
    """Answer, mostly without a word as AWS does, what was not read to its end: the connection cannot be used again."""
    headers = {"Content-Type": "application/json", "x-amzn-errortype": TOO_LARGE} if body else {}
    response = web.Response(status=status, headers=headers | _SERVER, body=body)
    response.force_close()
    return response


async def _body_of(request: web.BaseRequest) -> bytes | None:
    """Read the body; None when it is larger than any request may be."""
    declared = request.content_length
    byte_count_max = body_byte_count_max(request.path)
    if declared is not None and declared > byte_count_max:
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
            if byte_count > byte_count_max:
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
