"""The Runtime API, version 2018-06-01, as one environment's process calls it: next, response, error, init error.

One ``RuntimeApi`` is one process's side of it. It holds at most one event at a time, answers each call by the book
(400 for an event that is not in hand, 403 for a call out of turn, 404 for what is not offered, 413 for what is too
large) and tells a ``Listens`` what it heard. It is written by hand because it stands in every invocation's way: heads
are looked at for four fields only, and nothing here is awaited.
"""

import asyncio
import select
from base64 import b64decode
from binascii import Error as Base64Error
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

from streamd.functions.environments.bodies import Body, BodyDamaged, ChunkedBody, SizedBody

__all__ = ["RESPONSE_BYTE_COUNT_MAX", "Event", "Listens", "RuntimeApi"]

RESPONSE_BYTE_COUNT_MAX = 6_291_556
# awslambdaric sends a description of the error for X-Ray in a field of up to 1 MB.
_HEAD_BYTE_COUNT_MAX = (1 << 20) + (64 << 10)
_CONNECTION_COUNT_MAX = 16
# Below this a head and its body are copied together, above it each is written on its own.
_JOINED_BYTE_COUNT_MAX = 64 << 10

_PREFIX = b"/2018-06-01/runtime/"
_NEXT = _PREFIX + b"invocation/next"
_INIT_ERROR = _PREFIX + b"init/error"
_INVOCATION = _PREFIX + b"invocation/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a process is given to work on; the trace is X-Ray's, made up."""

    request_id: str
    arn: str
    deadline_ms: int
    trace: str
    payload: bytes
    client_context: str | None = None


class Listens(Protocol):
    """Hears what the process says. Calls come from the loop, and must not block or fail."""

    def ready(self) -> None:
        """Take note that it asks for its next event, or its first."""
        ...

    def answered(self, payload: bytes, *, is_error: bool) -> None:
        """Take the answer to the event in hand."""
        ...

    def answered_too_much(self) -> None:
        """Take note that the answer to the event in hand was too large, and was refused."""
        ...

    def init_failed(self, document: bytes) -> None:
        """Take the reason why it cannot begin."""
        ...


class RuntimeApi:
    """One process's Runtime API. ``connect`` makes the protocol of each of its connections."""

    def __init__(self, listener: Listens) -> None:
        self._listener = listener
        self._event: Event | None = None
        self._is_given = False
        self._waiting: deque[_Connection] = deque()
        self._connections: set[_Connection] = set()

    @property
    def is_given(self) -> bool:
        """Whether the event in hand has reached the process."""
        return self._is_given

    def connect(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        return _Connection(self)

    def offer(self, event: Event) -> None:
        """Give an event to the process, as soon as it asks. There is one at a time."""
        assert self._event is None, "an environment has one invocation in hand"
        self._event = event
        self._is_given = False
        while self._waiting:
            connection = self._waiting.popleft()
            # What is written to a process that has just died would be lost, and its death be this invocation's.
            if not connection.is_gone():
                self._give(connection, event)
                return

    def withdraw(self) -> None:
        """Forget the event in hand; an answer to it comes too late."""
        self._event = None
        self._is_given = False

    def close(self) -> None:
        """Cut all connections."""
        for connection in list(self._connections):
            connection.abort()

    def opened(self, connection: "_Connection") -> bool:
        """Take a connection in, or refuse one too many."""
        if len(self._connections) >= _CONNECTION_COUNT_MAX:
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if connection in self._waiting:
            self._waiting.remove(connection)

    def asked(self, connection: "_Connection", path: bytes) -> None:
        """Answer a GET."""
        if path != _NEXT:
            connection.refuse(404, "Not Found", "ResourceNotFound", "There is no such resource in the Runtime API")
            return
        event = self._event
        if event is None:
            self._waiting.append(connection)
        elif self._is_given:
            sentence = "The invocation in hand was not answered yet"
            connection.refuse(403, "Forbidden", "InvalidStateTransition", sentence)
            return
        else:
            self._give(connection, event)
        self._listener.ready()

    def posted(self, connection: "_Connection", path: bytes, body: Body) -> None:
        """Answer a POST."""
        if path == _INIT_ERROR:
            connection.accept()
            self._listener.init_failed(bytes(body.data))
            return
        name, _, what = path.removeprefix(_INVOCATION).partition(b"/")
        if not path.startswith(_INVOCATION) or what not in (b"response", b"error"):
            connection.refuse(404, "Not Found", "ResourceNotFound", "There is no such resource in the Runtime API")
            return
        event = self._event
        if event is None or not self._is_given or name != event.request_id.encode():
            connection.refuse(400, "Bad Request", "InvalidRequestID", "Invalid request ID")
            return
        self.withdraw()
        if body.is_too_large:
            sentence = f"Exceeded maximum allowed payload size ({RESPONSE_BYTE_COUNT_MAX} bytes)."
            connection.refuse(413, "Request Entity Too Large", "RequestEntityTooLarge", sentence)
            self._listener.answered_too_much()
            return
        connection.accept()
        failure = _failure_behind(body.trailers) if body.trailers else None
        if failure is not None:
            self._listener.answered(failure, is_error=True)
        else:
            self._listener.answered(bytes(body.data), is_error=what == b"error")

    def _give(self, connection: "_Connection", event: Event) -> None:
        self._is_given = True
        context = f"Lambda-Runtime-Client-Context: {event.client_context}\r\n" if event.client_context else ""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {event.request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {event.deadline_ms}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {event.arn}\r\n"
            f"Lambda-Runtime-Trace-Id: {event.trace}\r\n{context}"
            f"Content-Length: {len(event.payload)}\r\n\r\n"
        )
        connection.write(head.encode("latin-1", "replace"), event.payload)


class _Connection(asyncio.Protocol):
    """One connection: cuts what arrives into requests, one after the other."""

    _ACCEPTED = (
        b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
    )

    __slots__ = ("_api", "_body", "_buffer", "_path", "_poll", "_transport")

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._buffer = bytearray()
        self._path = b""
        self._body: Body | None = None
        self._poll = select.poll()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        if not self._api.opened(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's own signature
        self._transport = None
        self._api.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while self._buffer and self._transport is not None and self._advance():
                pass
        except (BodyDamaged, ValueError):
            self.refuse(400, "Bad Request", "BadRequest", "The request is not what HTTP/1.1 allows")
            self.abort()

    def is_gone(self) -> bool:
        """Tell whether nobody is there any more, which the loop may not have heard of yet."""
        return self._transport is None or bool(self._poll.poll(0))

    def write(self, head: bytes, body: bytes = b"") -> None:
        """Send an answer, if somebody is still there."""
        if self._transport is None:
            return
        if len(body) <= _JOINED_BYTE_COUNT_MAX:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def accept(self) -> None:
        """Answer that it was taken."""
        if self._transport is not None:
            self._transport.write(self._ACCEPTED)

    def refuse(self, status: int, reason: str, kind: str, sentence: str) -> None:
        """Answer why not."""
        body = f'{{"errorMessage":"{sentence}","errorType":"{kind}"}}\n'.encode()
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.write(head.encode(), body)

    def abort(self) -> None:
        """Cut it, once what was written is sent."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _advance(self) -> bool:
        """Take one step through the buffer; whether there may be another."""
        if self._body is None and not self._begin():
            return False
        body = self._body
        if body is None:
            return True
        if not body.feed(self._buffer):
            return False
        self._body = None
        self._api.posted(self, self._path, body)
        return True

    def _begin(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > _HEAD_BYTE_COUNT_MAX:
            if len(self._buffer) > _HEAD_BYTE_COUNT_MAX:
                raise BodyDamaged
            return False
        head = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 4]
        line, _, fields = head.partition(b"\r\n")
        method, path, _ = line.split(b" ")
        fields = b"\r\n" + fields.lower()
        if method == b"GET":
            self._api.asked(self, path)
            return True
        self._path = path
        self._body = _body_of(fields)
        if b"\r\nexpect: 100-continue\r\n" in fields and not self._buffer:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True


def _body_of(fields: bytes) -> Body:
    """Begin the body that the fields of a head announce. Raises ValueError and BodyDamaged."""
    if b"\r\ntransfer-encoding:" in fields:
        if _field(fields, b"transfer-encoding") != b"chunked":
            raise BodyDamaged
        return ChunkedBody(byte_count_max=RESPONSE_BYTE_COUNT_MAX)
    length = int(_field(fields, b"content-length") or b"0")
    if length < 0:
        raise BodyDamaged
    return SizedBody(length, byte_count_max=RESPONSE_BYTE_COUNT_MAX)


def _field(fields: bytes, name: bytes) -> bytes:
    start = fields.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    return fields[start : fields.index(b"\r\n", start)].strip()


def _failure_behind(trailers: bytes) -> bytes | None:
    """Read the error that a streamed response ended with, if it did."""
    kind = body = b""
    for line in trailers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == b"lambda-runtime-function-error-type":
            kind = value.strip()
        elif name == b"lambda-runtime-function-error-body":
            body = value.strip()
    if not kind:
        return None
    try:
        return b64decode(body, validate=True) if body else b'{"errorType":"%s","errorMessage":""}' % kind
    except Base64Error:
        return body
