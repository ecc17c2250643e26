"""Signed calls of the Kinesis API over HTTP, repeated when they may be.

Bodies are JSON 1.1, or of the version that another service speaks. ``bytes`` in a request document are sent as base64;
answers come back as they were sent, except that each record's ``Data`` is ``bytes``. Times in answers are seconds since
1970 with a fraction.

A call is repeated, at most ``ATTEMPT_COUNT_MAX`` times in all and with full jitter between, when the service faltered
(5xx), asked to slow down, or the connection broke; and only while the client's budget of repeats lasts
(``core.retry_budget``). A put whose answer was lost may thus be stored twice, as with every Kinesis client.
Everything else is raised at once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from io import BytesIO
from random import random
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from streamd.core.event_stream import PRELUDE_BYTE_COUNT, Message, decode, whole_byte_count
from streamd.core.retry_budget import RetryBudget, jittered_pause_ms
from streamd.core.sigv4 import SignedRequest, sign
from streamd.errors import ConfigInvalid, MessageDamaged, StreamdError
from streamd.sdk.answers import Answer, JsonObject, document_of, event_of
from streamd.sdk.base64_text import b64encode_as_string
from streamd.sdk.credentials import CredentialSource
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable, reason_of

__all__ = ["ATTEMPT_COUNT_MAX", "KINESIS_TARGET", "JsonObject", "Transport", "pause_s"]

ATTEMPT_COUNT_MAX: Final = 5
# A broken connection is tried again quickly: a daemon that restarts is back within a second. A throttle is
# not, because the service counts in whole seconds.
PAUSE_MS_BASE: Final = 50
THROTTLE_PAUSE_MS_BASE: Final = 200
PAUSE_MS_MAX: Final = 5000
CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
LARGE_BODY_BYTE_COUNT: Final = 1 << 20

KINESIS_TARGET: Final = "Kinesis_20131202"
# The version of AWS's JSON protocol that Kinesis speaks. A service knows one, and takes no other for a request.
_JSON_VERSION: Final = "1.1"
# The server holds an empty answer of GetRecords this long for new records; AWS ignores the header.
_WAIT_HEADER: Final = "x-streamd-wait-ms"
_NO_HEADERS: Final[Mapping[str, str]] = {}


def pause_s(failure: StreamdError, *, attempt: int) -> float:
    """Say how long to wait before a call that failed so, for the so-and-so-many-th time, is made again."""
    is_throttle = isinstance(failure, ServiceRefused) and failure.is_throttle
    base_ms = THROTTLE_PAUSE_MS_BASE if is_throttle else PAUSE_MS_BASE
    chance = random()  # noqa: S311 - jitter guards no secret
    return jittered_pause_ms(attempt=attempt, base_ms=base_ms, max_ms=PAUSE_MS_MAX, chance=chance) / 1000


class Transport:
    """One endpoint's connections; opened and closed by the client that owns it."""

    def __init__(
        self,
        endpoint: str,
        *,
        region: str,
        credentials: CredentialSource,
        connection_count_max: int,
        service: str = "kinesis",
        json_version: str = _JSON_VERSION,
    ) -> None:
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigInvalid(f"endpoint {endpoint!r} is no address: give one like http://127.0.0.1:4567")
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self.region = region
        self._service = service
        self._content_type = f"application/x-amz-json-{json_version}"
        self._host = parts.netloc.rpartition("@")[2]
        self._credentials = credentials
        self._budget = RetryBudget()
        # aiohttp's own limit gives a free connection to whoever asks next, past those who wait: a few readers that
        # ask all the time would keep all others out for ever. A semaphore serves in the order of asking.
        self._connections = asyncio.Semaphore(connection_count_max)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Prepare the connections; none is made before the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self, operation: str, document: JsonObject, *, wait_ms: int = 0, target: str = KINESIS_TARGET
    ) -> JsonObject:
        """Call an operation and give its answer, ``{}`` when it has none.

        ``target`` is the name of the API that the operation belongs to. Raises ServiceRefused with the service's own
        error, ServiceUnreachable when no answer came.
        """
        body = orjson.dumps(document, default=_base64_of)
        headers = {_WAIT_HEADER: str(wait_ms)} if wait_ms > 0 else _NO_HEADERS
        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                answer = await self.call_once(operation, body, headers=headers, wait_ms=wait_ms, target=target)
            except (ServiceRefused, ServiceUnreachable) as failure:
                is_final = isinstance(failure, ServiceRefused) and not failure.is_temporary
                if is_final or attempt == ATTEMPT_COUNT_MAX or not self._budget.pay():
                    raise
                await asyncio.sleep(pause_s(failure, attempt=attempt))
            else:
                self._budget.succeeded(retry_count=attempt - 1)
                return answer
        raise AssertionError

    async def call_once(
        self,
        operation: str,
        body: bytes,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        wait_ms: int = 0,
        target: str = KINESIS_TARGET,
    ) -> JsonObject:
        """Send one request with a body of JSON, and headers beside the usual ones; what fails is not repeated.

        Raises ServiceRefused and ServiceUnreachable.
        """
        async with self._connections:
            signed = await self._signed_headers(target, operation, body, headers)
            answer = await self._send(body, signed, wait_ms=wait_ms)
        return document_of(operation, answer)

    async def events(self, operation: str, document: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """Call an operation that answers with an event stream, and give its events until the service ends it.

        The call is sent once. It holds a connection beside those of the other calls for as long as it lasts. Raises
        ServiceRefused, at once or after some events, and ServiceUnreachable.
        """
        body = orjson.dumps(document, default=_base64_of)
        headers = await self._signed_headers(KINESIS_TARGET, operation, body, _NO_HEADERS)
        async with aclosing(self._messages(operation, body, headers)) as messages:
            async for message, request_id in messages:
                event = event_of(message, request_id=request_id)
                if event is not None:
                    yield event

    async def _messages(
        self, operation: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncGenerator[tuple[Message, str], None]:
        """Send a signed request and give the messages of its answer, with the request's id."""
        assert self._session is not None, "a client is used inside `async with`"
        try:
            async with self._session.post(f"{self.endpoint}/", data=body, headers=headers) as response:
                if response.status >= 400:
                    document_of(operation, Answer(response.status, response.headers, await response.read()))
                request_id = response.headers.get("x-amzn-RequestId", "")
                while (message := await _next_message(response.content)) is not None:
                    yield decode(message), request_id
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError, MessageDamaged) as error:
            raise ServiceUnreachable(self.endpoint, reason_of(error)) from error

    async def _send(self, body: bytes, headers: Mapping[str, str], *, wait_ms: int) -> Answer:
        """Send a signed request and give its answer. Raises ServiceUnreachable."""
        assert self._session is not None, "a client is used inside `async with`"
        timeout = None
        if wait_ms > 0:
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S + wait_ms / 1000)
        try:
            # aiohttp writes a large body piece by piece, and lets others run between, only when it is a file.
            data = body if len(body) < LARGE_BODY_BYTE_COUNT else BytesIO(body)
            async with self._session.post(f"{self.endpoint}/", data=data, headers=headers, timeout=timeout) as response:
                return Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnreachable(self.endpoint, reason_of(error)) from error

    async def _signed_headers(
        self, target: str, operation: str, body: bytes, more: Mapping[str, str]
    ) -> dict[str, str]:
        headers = {
            "host": self._host,
            "content-type": self._content_type,
            "x-amz-target": f"{target}.{operation}",
            **more,
        }
        request = SignedRequest("POST", "/", "", headers, body)
        return headers | sign(
            request,
            await self._credentials.credentials(),
            region=self.region,
            service=self._service,
            now_ms=time.time_ns() // 1_000_000,
        )


async def _next_message(content: aiohttp.StreamReader) -> bytes | None:
    """Read one whole message; None at the end of them all."""
    try:
        prelude = await content.readexactly(PRELUDE_BYTE_COUNT)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    return prelude + await content.readexactly(whole_byte_count(prelude) - len(prelude))


def _base64_of(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode_as_string(value)
    raise TypeError
