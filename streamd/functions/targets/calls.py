"""Calls to services elsewhere: what sends them, and how those of AWS's kind are written, signed and read."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from streamd.core.sigv4 import SignedRequest, sign
from streamd.engine.clock import Clock
from streamd.errors import OutsideRefused, OutsideUnreachable
from streamd.functions.targets.endpoints import Endpoint

__all__ = ["CallsOut", "OutsideAnswer", "ServiceAnswer", "ServiceCalls"]

_TIMEOUT_S: Final = 30.0
# GetRecords gives 10 MiB of data in base64, and what surrounds it.
_ANSWER_BYTE_COUNT_MAX: Final = 24 << 20


@dataclass(frozen=True, slots=True)
class OutsideAnswer:
    """An answer: its status, its headers by lower-case name, its body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What an operation answered, and when by the service's own clock: within the second after ``time_ms``."""

    document: dict[str, Any]
    time_ms: int


class CallsOut(Protocol):
    """Sends single HTTP requests: no redirect is followed, nothing is decompressed, no POST is sent twice."""

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
        ...


class ServiceCalls:
    """Calls services that speak AWS's protocols."""

    def __init__(self, calls: CallsOut, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock

    async def json(
        self, endpoint: Endpoint, *, service: str, target: str, document: Mapping[str, Any], version: str = "1.1"
    ) -> dict[str, Any]:
        """Call an operation of AWS's JSON protocol. Raises OutsideRefused and OutsideUnreachable."""
        answer = await self.timed(endpoint, service=service, target=target, document=document, version=version)
        return answer.document

    async def timed(
        self, endpoint: Endpoint, *, service: str, target: str, document: Mapping[str, Any], version: str = "1.1"
    ) -> ServiceAnswer:
        """Call as ``json`` does, and tell the service's time."""
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        answer = await self.send(endpoint, "POST", "/", service=service, headers=headers, body=orjson.dumps(document))
        try:
            read = orjson.loads(answer.body) if answer.body else {}
        except orjson.JSONDecodeError:
            read = None
        if answer.status >= 400:
            raise _refused(answer, read)
        if not isinstance(read, dict):
            raise OutsideUnreachable(f"{endpoint.url} answered {target} with something that is not a JSON object")
        return ServiceAnswer(read, self._time_ms(answer))

    async def send(
        self, endpoint: Endpoint, method: str, path: str, *, service: str, headers: Mapping[str, str], body: bytes
    ) -> OutsideAnswer:
        """Sign a request and send it; the answer, whatever it says. Raises OutsideUnreachable."""
        given = {"host": urlsplit(endpoint.url).netloc, **headers}
        if service == "s3":
            given["x-amz-content-sha256"] = sha256(body).hexdigest()
        signed = sign(
            SignedRequest(method, path, "", given, body),
            endpoint.credentials,
            region=endpoint.region,
            service=service,
            now_ms=self._clock.now_ms(),
        )
        return await self._calls.request(
            method,
            endpoint.url + path,
            given | signed,
            body,
            timeout_s=_TIMEOUT_S,
            byte_count_max=_ANSWER_BYTE_COUNT_MAX,
            ca=endpoint.ca,
        )

    def _time_ms(self, answer: OutsideAnswer) -> int:
        with suppress(ValueError):
            return int(parsedate_to_datetime(answer.headers.get("date", "")).timestamp()) * 1000
        return self._clock.now_ms()


def _refused(answer: OutsideAnswer, read: object) -> OutsideRefused:
    document = read if isinstance(read, dict) else {}
    # SQS's older code, from before it spoke JSON, stands in a header; the type says the same in the words of today.
    told = str(document.get("__type") or answer.headers.get("x-amzn-errortype") or "")
    code = told.rpartition("#")[2].partition(":")[0] or f"HTTP {answer.status}"
    sentence = str(document.get("message") or document.get("Message") or "")
    return OutsideRefused(code, sentence, status=answer.status)
