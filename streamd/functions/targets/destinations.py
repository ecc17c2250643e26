"""Where outcomes go: functions and streams of this server, services of the endpoint table, webhooks, folders.

A document is delivered at least once: what fails for the moment is tried a few times, and each try may have been heard
although its answer was lost. What cannot be reached at all is refused when it is set, before any outcome is due.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import uniform
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from streamd.core.blocks import RecordColumns
from streamd.core.stream import Status
from streamd.engine.engine import Engine
from streamd.errors import (
    DeliveryFailed,
    OutsideRefused,
    OutsideUnreachable,
    StreamdError,
    StreamNotActive,
    StreamNotFound,
    TargetUnknown,
)
from streamd.functions.deliveries import Delivery
from streamd.functions.naming import Account
from streamd.functions.targets.calls import CallsOut
from streamd.functions.targets.endpoints import Endpoint, EndpointTable
from streamd.functions.targets.places import is_own
from streamd.functions.targets.services import SERVICE_PATTERNS, Services
from streamd.storage.outcome_folder import OutcomeFolders

__all__ = ["Destinations", "Enqueues"]

_FUNCTION: Final = re.compile(
    r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9-_]{1,64}(?::[A-Za-z0-9-_$]+)?"
)
_URL_LENGTH_MAX: Final = 2048
_ATTEMPT_COUNT_MAX: Final = 3
_PAUSE_S: Final = 0.2
_WEBHOOK_TIMEOUT_S: Final = 10.0
# Its answer says nothing but its status.
_WEBHOOK_BYTE_COUNT_MAX: Final = 64 << 10
_TEMPORARY: Final = frozenset({408, 429})
_THROTTLES: Final = ("Throttl", "ProvisionedThroughputExceeded", "SlowDown", "LimitExceeded")


class Enqueues(Protocol):
    """Keeps events for functions."""

    async def enqueue(self, arn: str, payload: bytes, *, depth: int) -> str:
        """Keep an event for a function; its request id. Raises StreamdError."""
        ...


class Destinations:
    """Sends documents to targets."""

    def __init__(
        self,
        *,
        account: Account,
        engine: Engine,
        queue: Enqueues,
        endpoints: EndpointTable,
        services: Services,
        calls: CallsOut,
        folders: OutcomeFolders,
    ) -> None:
        self._account = account
        self._engine = engine
        self._queue = queue
        self._endpoints = endpoints
        self._services = services
        self._calls = calls
        self._folders = folders

    def check(self, target: str) -> None:
        """Refuse what cannot be reached. Raises TargetUnknown."""
        self._sender(target)

    async def deliver(self, target: str, delivery: Delivery) -> None:
        """Send a document; it is there when this returns. Raises DeliveryFailed."""
        try:
            send = self._sender(target)
        except TargetUnknown as unknown:
            raise DeliveryFailed(str(unknown)) from unknown
        for attempt in range(1, _ATTEMPT_COUNT_MAX + 1):
            try:
                await send(delivery)
                return
            except DeliveryFailed:
                raise
            except StreamdError as error:
                if attempt == _ATTEMPT_COUNT_MAX or not _is_temporary(error):
                    raise DeliveryFailed(f"{_told(target)} did not take it: {error}") from error
            # A guess is as good as any: this spreads what failed together.
            await asyncio.sleep(uniform(0.5, 1) * _PAUSE_S * 2**attempt)  # noqa: S311

    def _sender(self, target: str) -> Callable[[Delivery], Awaitable[None]]:
        """Tell how a target is reached. Raises TargetUnknown."""
        scheme = target.partition(":")[0]
        if scheme in {"http", "https"}:
            return self._webhook(target)
        if scheme == "file":
            return self._folder(target)
        if scheme != "arn":
            raise TargetUnknown(
                f"{_told(target)} is no destination: give an ARN, an http(s):// address or a file:/// folder"
            )
        if _FUNCTION.fullmatch(target):
            return self._function(target)
        service = next((name for name, form in SERVICE_PATTERNS.items() if form.fullmatch(target)), None)
        if service is None:
            raise TargetUnknown(
                f"{target} is no destination: those are functions, streams, queues, topics, buckets and event buses"
            )
        endpoint = self._endpoints.find(target)
        if service == "kinesis" and is_own(target, self._account, endpoint):
            name = target.partition("/")[2]
            return lambda delivery: self._put(name, delivery)
        return self._service(service, target, endpoint)

    def _function(self, arn: str) -> Callable[[Delivery], Awaitable[None]]:
        if not is_own(arn, self._account, None):
            raise TargetUnknown(f"{arn} is a function of another account")

        async def send(delivery: Delivery) -> None:
            await self._queue.enqueue(arn, delivery.body, depth=delivery.depth)

        return send

    def _service(self, service: str, arn: str, endpoint: Endpoint | None) -> Callable[[Delivery], Awaitable[None]]:
        if endpoint is None:
            raise TargetUnknown(
                f"{arn} cannot be reached: no [[endpoint]] in the settings of functions is for it; add one with "
                "arn and endpoint_url"
            )
        return lambda delivery: self._services.send(service, arn, endpoint, delivery)

    def _webhook(self, url: str) -> Callable[[Delivery], Awaitable[None]]:
        try:
            parts = urlsplit(url)
            is_plain = bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
        except ValueError:
            is_plain = False
        if not is_plain or " " in url or len(url) > _URL_LENGTH_MAX:
            raise TargetUnknown(f"{_told(url)} is no address")

        async def send(delivery: Delivery) -> None:
            headers = {"content-type": "application/json", "x-streamd-request-id": delivery.request_id}
            answer = await self._calls.request(
                "POST",
                url,
                headers,
                delivery.body,
                timeout_s=_WEBHOOK_TIMEOUT_S,
                byte_count_max=_WEBHOOK_BYTE_COUNT_MAX,
            )
            if not 200 <= answer.status < 300:
                raise OutsideRefused(f"HTTP {answer.status}", "", status=answer.status)

        return send

    def _folder(self, url: str) -> Callable[[Delivery], Awaitable[None]]:
        parts = urlsplit(url)
        folder = Path(unquote(parts.path))
        if parts.netloc or not parts.path.startswith("/") or "\0" in str(folder):
            raise TargetUnknown(f"{url} is no folder of this machine: write file:///and/its/path")
        self._folders.check(folder)

        async def send(delivery: Delivery) -> None:
            await self._folders.write(folder, delivery.key, delivery.body)

        return send

    async def _put(self, stream_name: str, delivery: Delivery) -> None:
        """Put a document into a stream of this server. Raises StreamdError."""
        engine = self._engine
        try:
            stream = await engine.streams.load(stream_name)
        except StreamNotFound:
            raise DeliveryFailed(f"there is no stream {stream_name}") from None
        status = stream.status(engine.clock.now_ms())
        if status is Status.DELETING:
            raise DeliveryFailed(f"stream {stream_name} is being deleted")
        if status is Status.CREATING:
            raise StreamNotActive(stream_name, status)
        columns = RecordColumns([delivery.request_id.encode()], [delivery.body])
        if columns.byte_count > stream.record_kib_max * 1024:
            raise DeliveryFailed(f"a record of stream {stream_name} may not be as large as this document")
        outcomes = await engine.shards.put(stream, columns, hash_keys=None, depth=delivery.depth)
        if outcomes.sequence_numbers[0] is None:
            raise OutsideRefused("ProvisionedThroughputExceededException", "the shard is over its limit", status=400)
        engine.metrics.put(stream.name, record_count=1, byte_count=columns.byte_count)


def _is_temporary(error: StreamdError) -> bool:
    match error:
        case OutsideRefused(status=status, code=code):
            return status >= 500 or status in _TEMPORARY or any(part in code for part in _THROTTLES)
        case OutsideUnreachable() | StreamNotActive():
            return True
        case _:
            return False


def _told(target: str) -> str:
    """Name a target in a sentence: of an address only what is no secret, since tokens stand in paths and queries."""
    if "://" not in target or target.startswith("file:"):
        return target[:_URL_LENGTH_MAX]
    try:
        parts = urlsplit(target)
        return f"{parts.scheme}://{parts.hostname or ''}{'' if parts.port is None else f':{parts.port}'}"
    except ValueError:
        return "the address"
