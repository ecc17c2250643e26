"""A client of the Lambda API and of what streamd has beside it: signed calls by method and path.

    async with LambdaClient("http://127.0.0.1:4567") as client:
        answer = await client.call("GET", "/2015-03-31/functions")

A call is sent once: an invocation whose answer was lost may have run. Every coroutine may raise ServiceRefused and
ServiceUnreachable.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import orjson
from yarl import URL

from streamd.core.sigv4 import Credentials, SignedRequest, sign
from streamd.errors import ConfigInvalid
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable, reason_of
from streamd.sdk.settings import settings_of_process

__all__ = ["LambdaAnswer", "LambdaClient"]

_CONNECT_TIMEOUT_S = 5
# A function may run for a quarter of an hour.
_READ_TIMEOUT_S = 930


@dataclass(frozen=True, slots=True)
class LambdaAnswer:
    """An answer: its status, its headers by lower-case name, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """Read the body as JSON, ``{}`` where there is none."""
        return orjson.loads(self.body) if self.body else {}


class LambdaClient:
    """Calls one endpoint; use it inside ``async with``, and share it between tasks."""

    def __init__(self, endpoint: str, *, region: str = "us-east-1", credentials: Credentials | None = None) -> None:
        """Take an address like ``http://127.0.0.1:4567``; credentials not given are found as boto3 finds them."""
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigInvalid(f"endpoint {endpoint!r} is no address: give one like http://127.0.0.1:4567")
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc.rpartition("@")[2]
        self._region = region
        settings = settings_of_process(endpoint=endpoint, region=region, credentials=credentials, service="lambda")
        self._credentials = settings.credentials
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        document: object = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> LambdaAnswer:
        """Send one request, with a document as JSON or a body as it is; the answer, whatever a function made of it."""
        assert self._session is not None, "a client is used inside `async with`"
        content = body if document is None else orjson.dumps(document)
        query_text = urlencode(query or {}, quote_via=quote)
        sent = {"host": self._host, "content-type": "application/json", **(headers or {})}
        request = SignedRequest(method, path, query_text, sent, content)
        credentials = await self._credentials.credentials()
        now_ms = time.time_ns() // 1_000_000
        signed = sent | sign(request, credentials, region=self._region, service="lambda", now_ms=now_ms)
        url = URL(f"{self.endpoint}{path}{'?' if query_text else ''}{query_text}", encoded=True)
        try:
            async with self._session.request(method, url, data=content, headers=signed) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                answer = LambdaAnswer(response.status, told, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnreachable(self.endpoint, reason_of(error)) from error
        if answer.status >= 400:
            raise _refusal(answer)
        return answer


def _refusal(answer: LambdaAnswer) -> ServiceRefused:
    try:
        document = answer.document()
    except orjson.JSONDecodeError:
        document = {}
    told = document if isinstance(document, dict) else {}
    code = answer.headers.get("x-amzn-errortype", "").partition(":")[0] or f"HTTP {answer.status}"
    sentence = str(told.get("message") or told.get("Message") or "")
    return ServiceRefused(code, sentence, status=answer.status, request_id=answer.headers.get("x-amzn-requestid", ""))
