"""Signed calls of the Kinesis API over HTTP, repeated when they may be.

Bodies are JSON 1.1. ``bytes`` in a request document are sent as base64; answers come back as they were sent,
except that ``GetRecords`` gives each record's ``Data`` as ``bytes``. Times in answers are seconds since 1970
with a fraction.

A call is repeated, at most ``ATTEMPT_COUNT_MAX`` times in all and with full jitter between, when the service
faltered (5xx), asked to slow down, or the connection broke. A put whose answer was lost may thus be stored
twice, as with every Kinesis client. Everything else is raised at once.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from random import uniform
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from pybase64 import b64decode, b64encode_as_string

from streamd.core.sigv4 import Credentials, SignedRequest, sign
from streamd.errors import ConfigInvalid
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable, reason_of

__all__ = ["ATTEMPT_COUNT_MAX", "JsonObject", "Transport"]

# What a document of the API is in Python: Any enters here with the JSON and ends where a field is taken out.
JsonObject = dict[str, Any]

ATTEMPT_COUNT_MAX: Final = 5
# A broken connection is tried again quickly: a daemon that restarts is back within a second. A throttle is
# not, because the service counts in whole seconds.
PAUSE_MS_BASE: Final = 50
THROTTLE_PAUSE_MS_BASE: Final = 200
CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
LARGE_BODY_BYTE_COUNT: Final = 1 << 20

_CONTENT_TYPE: Final = "application/x-amz-json-1.1"
_TARGET_PREFIX: Final = "Kinesis_20131202."
# The server holds an empty answer of GetRecords this long for new records; AWS ignores the header.
_WAIT_HEADER: Final = "x-streamd-wait-ms"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """One endpoint's connections; opened and closed by the client that owns it."""

    def __init__(self, endpoint: str, *, region: str, credentials: Credentials, connection_count_max: int) -> None:
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigInvalid(f"endpoint {endpoint!r} is no address: give one like http://127.0.0.1:4567")
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self.region = region
        self._host = parts.netloc.rpartition("@")[2]
        self._credentials = credentials
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

    async def call(self, operation: str, document: JsonObject, *, wait_ms: int = 0) -> JsonObject:
        """Call an operation and give its answer, ``{}`` when it has none.

        Raises ServiceRefused with the service's own error, ServiceUnreachable when no answer came.
        """
        body = orjson.dumps(document, default=_base64_of)
        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                async with self._connections:
                    answer = await self._send(operation, body, wait_ms=wait_ms)
                return _document_of(operation, answer)
            except ServiceRefused as refused:
                if not refused.is_temporary or attempt == ATTEMPT_COUNT_MAX:
                    raise
                base_ms = THROTTLE_PAUSE_MS_BASE if refused.is_throttle else PAUSE_MS_BASE
            except ServiceUnreachable:
                if attempt == ATTEMPT_COUNT_MAX:
                    raise
                base_ms = PAUSE_MS_BASE
            pause_ms = uniform(0, base_ms * 2 ** (attempt - 1))  # noqa: S311 - jitter guards no secret
            await asyncio.sleep(pause_ms / 1000)
        raise AssertionError

    async def _send(self, operation: str, body: bytes, *, wait_ms: int) -> _Answer:
        assert self._session is not None, "a client is used inside `async with`"
        headers = self._signed_headers(operation, body)
        timeout = None
        if wait_ms > 0:
            headers[_WAIT_HEADER] = str(wait_ms)
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S + wait_ms / 1000)
        try:
            # aiohttp writes a large body piece by piece, and lets others run between, only when it is a file.
            data = body if len(body) < LARGE_BODY_BYTE_COUNT else BytesIO(body)
            async with self._session.post(f"{self.endpoint}/", data=data, headers=headers, timeout=timeout) as response:
                return _Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnreachable(self.endpoint, reason_of(error)) from error

    def _signed_headers(self, operation: str, body: bytes) -> dict[str, str]:
        headers = {
            "host": self._host,
            "content-type": _CONTENT_TYPE,
            "x-amz-target": _TARGET_PREFIX + operation,
        }
        request = SignedRequest("POST", "/", "", headers, body)
        return headers | sign(
            request,
            self._credentials,
            region=self.region,
            service="kinesis",
            now_ms=time.time_ns() // 1_000_000,
        )


def _base64_of(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode_as_string(value)
    raise TypeError


def _document_of(operation: str, answer: _Answer) -> JsonObject:
    """Read an answer. Raises ServiceRefused when it is an error."""
    request_id = answer.headers.get("x-amzn-RequestId", "")
    try:
        document = orjson.loads(answer.body) if answer.body else {}
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        # Not from the service: a proxy's page, or another server altogether.
        sentence = f"the endpoint answered HTTP {answer.status} with something that is not JSON"
        raise ServiceRefused("UnreadableAnswer", sentence, status=answer.status, request_id=request_id)
    if answer.status >= 400:
        code = str(document.get("__type", "")).rpartition("#")[2] or f"HTTP {answer.status}"
        sentence = str(document.get("message") or document.get("Message") or "")
        raise ServiceRefused(code, sentence, status=answer.status, request_id=request_id)
    if operation == "GetRecords":
        for record in document["Records"]:
            record["Data"] = b64decode(record["Data"])
    return document
