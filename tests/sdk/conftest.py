"""What tests of the SDK share: a server that answers as a test says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.cli.scripted_server import ScriptedServer

__all__: list[str] = []


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    """Give a server that answers what a test lines up."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stuck_url() -> AsyncIterator[str]:
    """Give the address of a server that takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writers.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.close()
    for writer in writers:
        writer.close()
