"""Calls to the outside over HTTP: a bounded pool of connections, and bodies that are read up to a bound.

A request is sent as it is, and a POST once. No redirect is followed, since it could lead anywhere; no cookie is kept;
nothing is decompressed, since a small body could become a huge one; no proxy of the environment is used.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from streamd.errors import OutsideUnreachable
from streamd.functions.targets.calls import OutsideAnswer

__all__ = ["Outbound"]

_CALL_COUNT_MAX: Final = 64
# So that one service that hangs leaves room for the others.
_CALL_COUNT_MAX_PER_SERVER: Final = 16
_CONNECT_TIMEOUT_S: Final = 5.0
_FETCH_TIMEOUT_S: Final = 10.0
_LARGE_BODY_BYTE_COUNT: Final = 1 << 20
_HEADERS: Final = {"accept-encoding": "identity", "user-agent": "streamd"}


class Outbound:
    """Sends requests; use it inside ``async with``."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._trust_by_ca: dict[str, ssl.SSLContext] = {}
        # aiohttp's own limit gives a free connection to whoever asks next, past those who wait. Semaphores serve in
        # the order of asking, and waiting for them is not the server's fault, so it does not count as its delay.
        self._calls = asyncio.Semaphore(_CALL_COUNT_MAX)
        self._queue_by_server: dict[str, _Queue] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout_s: float,
        byte_count_max: int,
        ca: str | None = None,
    ) -> OutsideAnswer:
        """Send a request. Raises OutsideUnreachable: no answer, one that takes too long, or one that is too large."""
        async with self._turn(_origin(url)), self._calls:
            return await self._send(
                method, url, headers, body, timeout_s=timeout_s, byte_count_max=byte_count_max, ca=ca
            )

    async def fetch(self, url: str, byte_count_max: int) -> bytes:
        """GET what lies at an address. Raises OutsideUnreachable, also for any status but 200."""
        answer = await self.request("GET", url, {}, b"", timeout_s=_FETCH_TIMEOUT_S, byte_count_max=byte_count_max)
        if answer.status != 200:
            raise OutsideUnreachable(f"{_origin(url)} answered HTTP {answer.status}")
        return answer.body

    @asynccontextmanager
    async def _turn(self, server: str) -> AsyncIterator[None]:
        """Wait for one's turn at a server; servers that nobody calls are forgotten."""
        queue = self._queue_by_server.setdefault(server, _Queue())
        queue.length += 1
        try:
            async with queue.calls:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queue_by_server[server]

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout_s: float,
        byte_count_max: int,
        ca: str | None,
    ) -> OutsideAnswer:
        assert self._session is not None, "it is used inside `async with`"
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                headers={**_HEADERS, **headers},
                # aiohttp writes a large body piece by piece, and lets others run between, only when it is a file.
                data=BytesIO(body) if len(body) >= _LARGE_BODY_BYTE_COUNT else body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
                ssl=True if ca is None else self._trust(ca),
            ) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                return OutsideAnswer(response.status, told, await _bounded(response, url, byte_count_max))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise OutsideUnreachable(f"no answer from {_origin(url)}: {_reason(error)}") from error

    def _trust(self, ca: str) -> ssl.SSLContext:
        # As many as the settings name, and these do not change while the server runs.
        context = self._trust_by_ca.get(ca)
        if context is None:
            context = self._trust_by_ca[ca] = ssl.create_default_context(cafile=ca)
        return context


@dataclass(slots=True)
class _Queue:
    """Who calls one server, or waits for it."""

    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CALL_COUNT_MAX_PER_SERVER))
    length: int = 0


async def _bounded(response: aiohttp.ClientResponse, url: str, byte_count_max: int) -> bytes:
    pieces = []
    room = byte_count_max
    async for piece in response.content.iter_any():
        room -= len(piece)
        if room < 0:
            # What is left unread cannot be told from the next answer.
            response.close()
            raise OutsideUnreachable(f"{_origin(url)} answered with more than {byte_count_max} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _origin(url: str) -> str:
    """Name a server without what else an address may hold, such as a token."""
    try:
        return str(URL(url, encoded=True).origin())
    except ValueError:
        return "what is no address"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return type(error).__name__
