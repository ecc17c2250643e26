"""aiohttp's door: everything that the lean one does not read itself.

Other methods, chunked and too large bodies, ``Expect``, odd heads, and the server's own pages. A connection comes here
with every byte unread and stays. This module is loaded when the first such connection comes, or a moment after the
start: aiohttp takes a third of the time that a start takes, and no put needs it.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress

from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import HttpProcessingError

from streamd.core.limits import SMALL_ANSWER_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.server.dialects import TOO_LARGE, body_byte_count_max, too_large_body
from streamd.server.door_budget import DoorBudget, Seat
from streamd.server.heads import is_host
from streamd.server.lean_hall import Dialect
from streamd.server.pages import Page
from streamd.server.untaken import untaken_byte_count

__all__ = ["WebDoor"]

_LOG = logging.getLogger(__name__)
_HEADER_BYTE_COUNT_MAX = 16 * 1024
_KEEP_ALIVE_S = 75.0
_BODY_PATIENCE_S = 60.0
_LOOK_PAUSE_S = 5.0
# The largest answer over a line of half a megabit a second.
_TAKING_S = 300.0
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)(.*)")
_SERVER = {"Server": "streamd"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _OwnFaultsOnly(logging.Filter):
    """Keeps aiohttp from logging each request that is not HTTP with a traceback: any client could fill the disk so."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what is not a client's fault."""
        cause = record.exc_info[1] if record.exc_info else None
        return not isinstance(cause, HttpProcessingError)


class _Connection(web.RequestHandler):
    """A connection that is counted, and whose faults are answered without a word.

    aiohttp's own words tell its version and repeat what came.
    """

    __slots__ = ("_open",)

    def __init__(self, server: web.Server, connections: set[asyncio.Protocol]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as aiohttp's own server gives it
            logger=_LOG,
            keepalive_timeout=_KEEP_ALIVE_S,
            max_line_size=_HEADER_BYTE_COUNT_MAX,
            max_field_size=_HEADER_BYTE_COUNT_MAX,
            # The signature covers the body as it was sent, so it is unpacked later.
            auto_decompress=False,
        )
        self._open = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and count."""
        self._open.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and count no longer."""
        self._open.discard(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log what is not the client's fault, and answer."""
        super().handle_error(request, status, exc, message)
        return _last_response(status)


class WebDoor:
    """Serves one dialect and some pages on the connections that it is given."""

    def __init__(
        self,
        dialect: Dialect,
        pages: Mapping[str, Page],
        *,
        budget: DoorBudget,
        answers: AnswerRoom,
        connections: set[asyncio.Protocol],
    ) -> None:
        self._dialect = dialect
        self._connections = connections
        self._budget = budget
        self._answers = answers
        self._pages = pages
        _LOG.addFilter(_OwnFaultsOnly())
        self._web_server = web.Server(self._handle)

    def connect(self) -> asyncio.Protocol:
        """Make the protocol of a connection."""
        return _Connection(self._web_server, self._connections)

    async def close(self, *, patience_s: float) -> None:
        """Let the requests in hand finish, for a while, then close."""
        self._web_server.pre_shutdown()
        await self._web_server.shutdown(patience_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (status := _refusal_of_head(request)) is not None:
            return _last_response(status)
        if request.method in ("GET", "HEAD") and (page := self._pages.get(request.path)) is not None:
            status, content_type, content = await page()
            shown = web.Response(status=status, headers={"Content-Type": content_type} | _SERVER, body=content)
            _pass_over_offer(request, shown)
            return shown
        seat = _WaitingSeat(self._budget, request.content_length or 0)
        try:
            response = await self._answer(request, seat)
        finally:
            seat.leave()
        if isinstance(response, web.Response):
            await self._send(request, response)
        return response

    async def _send(self, request: web.BaseRequest, response: web.Response) -> None:
        _pass_over_offer(request, response)
        await response.prepare(request)
        # A client that went away is nobody's fault.
        with suppress(ConnectionError):
            content = response.body if isinstance(response.body, bytes) else b""
            await self._taken(request, response.write_eof(), byte_count=len(content))

    async def _taken(self, request: web.BaseRequest, sending: Awaitable[None], *, byte_count: int) -> None:
        """Send something, and count it until the client has taken it."""
        taking = _Taking(self._answers, request, byte_count)
        try:
            await sending
        finally:
            taking.end()

    async def _answer(self, request: web.BaseRequest, seat: "_WaitingSeat") -> web.StreamResponse:
        try:
            body = await _body_of(request, seat)
        except (TimeoutError, ConnectionError):
            return _last_response(408)
        headers = _headers_of(request)
        target = request.raw_path
        if (absolute := _ABSOLUTE_FORM.fullmatch(target)) is not None:
            # As it is sent to proxies, and to be taken by everybody; its host is the one that counts.
            headers["host"], target = absolute[1], absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
        path, _, query = target.partition("?")
        if body is None:
            return _last_response(413, too_large_body(path))
        reply = await self._dialect.answer(
            SignedRequest(
                method=request.method,
                path=path,
                query=query,
                headers=headers,
                body=body,
                peer=request.remote or "",
            )
        )
        if reply.frames is not None:
            # A push goes on for minutes, and its request holds nothing by then.
            seat.leave()
            return await self._pushed(request, reply, reply.frames)
        return web.Response(status=reply.status, headers={**reply.headers, **_SERVER}, body=reply.body)

    async def _pushed(
        self, request: web.BaseRequest, reply: Reply, frames: AsyncGenerator[bytes, None]
    ) -> web.StreamResponse:
        """Send frames as they come; the next is asked for when the client has room for it."""
        response = web.StreamResponse(status=reply.status, headers={**reply.headers, **_SERVER})
        _pass_over_offer(request, response)
        async with aclosing(frames):
            # A client that went away is nobody's fault.
            with suppress(ConnectionError):
                await response.prepare(request)
                async for frame in frames:
                    await self._taken(request, response.write(frame), byte_count=len(frame))
                await response.write_eof()
        return response


class _Taking:
    """What is sent until the client has taken it; one that takes too long over it is given up."""

    def __init__(self, answers: AnswerRoom, request: web.BaseRequest, byte_count: int) -> None:
        self._answers = answers
        self._request = request
        self._byte_count = byte_count
        # What was sent before may be untaken too.
        self._left_byte_count = byte_count + untaken_byte_count(request.transport)
        self._since_s = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_PAUSE_S, self._look)
        answers.hold(byte_count)

    def end(self) -> None:
        """Count it as taken, or as dropped."""
        self._timer.cancel()
        self._answers.give_back(self._byte_count)

    def _look(self) -> None:
        transport = self._request.transport
        if transport is None:
            return
        before, self._left_byte_count = self._left_byte_count, untaken_byte_count(transport)
        is_stalling = self._answers.is_full and before - self._left_byte_count < SMALL_ANSWER_BYTE_COUNT_MAX
        if is_stalling or time.monotonic() - self._since_s > _TAKING_S:
            transport.abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_PAUSE_S, self._look)


class _WaitingSeat:
    """What a body holds of the door's budget, for a reader that waits by awaiting."""

    def __init__(self, budget: DoorBudget, announced_byte_count: int) -> None:
        self._seat = Seat(budget, announced_byte_count, self._let_on)
        self._room = asyncio.Event()

    async def take(self, byte_count: int, time_limit: asyncio.Timeout) -> None:
        """Count what has come and wait if there is no room; the time for it is not the client's."""
        if not self._seat.take(byte_count):
            return
        began_s, until_s = asyncio.get_running_loop().time(), time_limit.when()
        time_limit.reschedule(None)
        self._room.clear()
        self._seat.wait()
        await self._room.wait()
        assert until_s is not None
        time_limit.reschedule(until_s + asyncio.get_running_loop().time() - began_s)

    def require_progress(self) -> None:
        """Raise TimeoutError if others wait while this body hardly moves."""
        if self._seat.is_stalling(time.monotonic()):
            raise TimeoutError

    def leave(self) -> None:
        """Give everything back."""
        self._seat.leave()

    def _let_on(self) -> None:
        self._room.set()


def _refusal_of_head(request: web.BaseRequest) -> int | None:
    """Tell the status of a head that somebody else could read in another way; None of a clear one."""
    coding = request.headers.get("Transfer-Encoding")
    if coding is not None and coding.strip().lower() != "chunked":
        return 501 if coding.strip() else 400
    hosts = request.headers.getall("Host", [])
    is_clear = len(hosts) == 1 or (not hosts and request.version == HttpVersion10)
    return None if is_clear and all(map(is_host, hosts)) else 400


def _pass_over_offer(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Close behind an ``Upgrade`` that is not taken up: aiohttp reads nothing more of what followed it."""
    if "Upgrade" in request.headers:
        response.force_close()


def _last_response(status: int, body: bytes = b"") -> web.Response:
    """Answer, mostly without a word as AWS does, what was not read to its end: the connection cannot be used again."""
    headers = {"Content-Type": "application/json", "x-amzn-errortype": TOO_LARGE} if body else {}
    response = web.Response(status=status, headers=headers | _SERVER, body=body)
    response.force_close()
    return response


async def _body_of(request: web.BaseRequest, seat: _WaitingSeat) -> bytes | None:
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
    async with asyncio.timeout(_BODY_PATIENCE_S) as time_limit:
        while chunk := await _next_chunk(request, seat):
            byte_count += len(chunk)
            if byte_count > byte_count_max:
                return None
            chunks.append(chunk)
            await seat.take(len(chunk), time_limit)
    return b"".join(chunks)


async def _next_chunk(request: web.BaseRequest, seat: _WaitingSeat) -> bytes:
    """Wait for what comes next of a body; looks now and then whether others wait for this one's room."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_PAUSE_S):
                return await request.content.readany()
        seat.require_progress()


def _headers_of(request: web.BaseRequest) -> dict[str, str]:
    """Give the headers by lower-case name, those sent twice joined as SigV4 joins them."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers
