"""The little application on each library: a fixed answer to every POST, so many events for every GET.

``python -m benchmarks.http2.applications --port N`` serves it on streamd's own door; hypercorn and granian are started
by their own commands on ``application``, which is ASGI.
"""

import argparse
import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import uvloop

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.http import HttpDoor

__all__ = ["EVENT", "EVENT_COUNT", "application", "main"]

_BODY = (
    b'{"ShardId":"shardId-000000000000","SequenceNumber":"49680482006432985965644636149293367248512820883505545234"}'
)
_JSON = b"application/x-amz-json-1.1"
EVENT = b"e" * 600
EVENT_COUNT = 500


class _Dialect:
    async def answer(self, request: SignedRequest) -> Reply:
        """Answer with the same bytes always."""
        fields = b"Content-Type: " + _JSON + b"\r\n"
        if request.method == "POST":
            return Reply(200, fields, _BODY)
        return Reply(200, fields, frames=_events())

    def read_plain_put(self, _: SignedRequest) -> PlainPut | None:
        """Know no plain put: what is measured is the door."""
        return None

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        """Have none to answer."""
        raise AssertionError(puts)


async def _events() -> AsyncGenerator[bytes, None]:
    for _ in range(EVENT_COUNT):
        # Each comes by itself, as pushed records do.
        await asyncio.sleep(0)
        yield EVENT


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer as the dialect above does."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", _JSON)]})
    if scope["method"] == "POST":
        await send({"type": "http.response.body", "body": _BODY})
        return
    async for event in _events():
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)
    async with asyncio.TaskGroup() as group:
        door = HttpDoor(_Dialect(), {}, AnswerRoom())
        await door.open(listener, group)


def main() -> None:
    """Serve the application on streamd's door."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(flags.parse_args().port))


if __name__ == "__main__":
    main()
