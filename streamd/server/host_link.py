"""How the other workers reach the one that has the functions: a request goes over a local socket, the reply comes back.

A frame is a length of 4 bytes and that many bytes of JSON, which tell the rest, then a length of 8 bytes and a body. A
connection carries one request at a time; a worker keeps some for reuse. The socket is in Linux's abstract namespace, so
it needs no path and leaves none, and every user of the machine could connect to it: only the daemon's own user is
listened to, because a frame tells from which address its request came. All else about a request is looked at again on
the other side, its signature included.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

import orjson

from streamd.core.limits import DEPLOY_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.server.dialects import AnswersRequests

__all__ = ["HostLink", "serve_link"]

_LOG = logging.getLogger(__name__)
# The kernel's word on who connected: process, user and group.
_CREDENTIALS = struct.Struct("iII")
_HEAD_LENGTH = struct.Struct(">I")
_BODY_LENGTH = struct.Struct(">Q")
# A head has 64 KiB, and JSON writes six bytes for some.
_HEAD_BYTE_COUNT_MAX = 512 * 1024
_SPARE_COUNT_MAX = 32
_ATTEMPT_COUNT = 40
_ATTEMPT_PAUSE_S = 0.05
_UNREACHABLE = Reply(
    503,
    b"x-amzn-errortype: ServiceException\r\nContent-Type: application/json\r\n",
    b'{"Type":"Service","Message":"The worker that runs functions is starting; try again."}',
)

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HostLink:
    """Answers requests by asking the host."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spare: list[_Connection] = []

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request. Never raises: a host that is being replaced is a 503."""
        try:
            connection = await self._connect()
        except OSError:
            return _UNREACHABLE
        reader, writer = connection
        try:
            await _write(writer, _told(request), request.body)
            told, body = await _read(reader)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return _UNREACHABLE
        except BaseException:
            # An answer that nobody waits for any more must not be taken for the next one's.
            writer.close()
            raise
        if len(self._spare) < _SPARE_COUNT_MAX:
            self._spare.append(connection)
        else:
            writer.close()
        return Reply(told["status"], told["fields"].encode("latin-1"), body)

    async def close(self) -> None:
        """Close the connections kept for reuse."""
        for _, writer in self._spare:
            writer.close()

    async def _connect(self) -> _Connection:
        while self._spare:
            reader, writer = self._spare.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        for _ in range(_ATTEMPT_COUNT - 1):
            # The host may just be starting, or starting again.
            with suppress(ConnectionRefusedError, BlockingIOError):
                return await self._connect_once()
            await asyncio.sleep(_ATTEMPT_PAUSE_S)
        return await self._connect_once()

    async def _connect_once(self) -> _Connection:
        # Connected by hand: uvloop takes a name for a C string, which a name of the abstract namespace is not.
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, self._name)
            return await asyncio.open_unix_connection(sock=connection)
        except BaseException:
            connection.close()
            raise


async def serve_link(listener: Any, functions: AnswersRequests) -> NoReturn:
    """Answer the other workers' requests on a listening socket, until cancelled."""
    strangers: set[int] = set()
    async with asyncio.TaskGroup() as group:

        def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if _is_own(writer, strangers):
                group.create_task(_serve(reader, writer, functions))
            else:
                writer.close()

        server = await asyncio.start_unix_server(met, sock=listener)
        async with server:
            await server.serve_forever()
    raise AssertionError("serving never ends by itself")


def _is_own(writer: asyncio.StreamWriter, strangers: set[int]) -> bool:
    """Tell whether the daemon's own user connected; each other one is told of once."""
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    if user == os.geteuid():
        return True
    if user not in strangers:
        strangers.add(user)
        _LOG.warning("user %d connected to the link between the workers, and is not listened to", user)
    return False


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, functions: AnswersRequests) -> None:
    try:
        while True:
            told, body = await _read(reader)
            reply = await functions.answer(_request(told, body))
            await _write(writer, {"status": reply.status, "fields": reply.fields.decode("latin-1")}, reply.body)
    except (OSError, asyncio.IncompleteReadError):
        return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("the link between the workers was spoken to by somebody else: %r", error)
    finally:
        writer.close()


def _told(request: SignedRequest) -> dict[str, Any]:
    """Tell of a request, but for its body."""
    return {
        "method": _shown(request.method),
        "path": _shown(request.path),
        "query": _shown(request.query),
        "peer": request.peer,
        "headers": {_shown(name): _shown(text) for name, text in request.headers.items()},
    }


def _request(told: Mapping[str, Any], body: bytes) -> SignedRequest:
    """Make the request again that was told of. Raises ValueError, KeyError, TypeError and AttributeError."""
    headers = {_as_sent(name): _as_sent(text) for name, text in told["headers"].items()}
    method, path, query = (_as_sent(told[name]) for name in ("method", "path", "query"))
    return SignedRequest(method, path, query, headers, body, told["peer"])


def _shown(text: str) -> str:
    """Write text from the wire a byte for a character: bytes that are no text have no place in JSON otherwise."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _as_sent(shown: str) -> str:
    return shown.encode("latin-1").decode("utf-8", "surrogateescape")


async def _write(writer: asyncio.StreamWriter, told: dict[str, Any], body: bytes) -> None:
    head = orjson.dumps(told)
    writer.writelines([_HEAD_LENGTH.pack(len(head)), head, _BODY_LENGTH.pack(len(body)), body])
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[Any, bytes]:
    """Read a frame. Raises ValueError for what is none."""
    (length,) = _HEAD_LENGTH.unpack(await reader.readexactly(_HEAD_LENGTH.size))
    if length > _HEAD_BYTE_COUNT_MAX:
        raise ValueError("a head is too long")
    told = orjson.loads(await reader.readexactly(length))
    (body_length,) = _BODY_LENGTH.unpack(await reader.readexactly(_BODY_LENGTH.size))
    if body_length > DEPLOY_BYTE_COUNT_MAX:
        raise ValueError("a body is too long")
    return told, await reader.readexactly(body_length)
