"""What tests of the SDK share: a server that answers as a test says."""

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
