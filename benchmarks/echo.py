"""A bare HTTP echo: asyncio protocol, httptools and uvloop, and an answer that is always the same.

``python -m benchmarks.echo --port N --workers N`` is what a Python server costs that does nothing with a request but
read it to its end. It is the floor of single puts: no routing, no store, no answer of its own.
"""

import argparse
import asyncio
import os
import signal
import socket
from typing import NoReturn, cast

import httptools
import uvloop

__all__ = ["main"]

_BODY = (
    b'{"ShardId":"shardId-000000000000","SequenceNumber":"49680482006432985965644636149293367248512820883505545234"}'
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"
    b"x-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
_BACKLOG = 1024


class _Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer, called by the parser at the end of a request."""
        assert self._transport is not None
        self._transport.write(_ANSWER)


def main() -> None:
    """Serve with so many processes until told to end."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--workers", type=int, default=1)
    given = flags.parse_args()
    children = [pid for _ in range(given.workers - 1) if (pid := _forked(given.port))]

    def end(*_: object) -> NoReturn:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    uvloop.run(_serve(given.port))


def _forked(port: int) -> int:
    pid = os.fork()
    if pid == 0:
        uvloop.run(_serve(port))
    return pid


async def _serve(port: int) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(_Echo, sock=listener, backlog=_BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    main()
