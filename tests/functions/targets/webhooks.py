"""A tiny HTTP server that answers what it is told, and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Heard", "Webhook", "answer", "open_webhook"]


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Webhook:
    """Where it listens, and what it heard. Each answer is used once, the last one for ever."""

    url: str
    answers: list[bytes]
    heard: list[Heard] = field(default_factory=list)


@asynccontextmanager
async def open_webhook(*answers: bytes) -> AsyncIterator[Webhook]:
    """Open it; an answer is what goes over the wire, whole."""
    hook = Webhook("", list(answers))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hook.heard.append(await _read(reader))
            writer.write(hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0])
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hook.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hook
    finally:
        server.close()
        await server.wait_closed()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Write an answer that ends the connection."""
    lines: Sequence[str] = (f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers)
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Heard(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
