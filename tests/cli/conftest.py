"""A shell that talks to the shared daemon, and a server that answers by script."""

from collections.abc import AsyncIterator

import pytest

from tests.cli.scripted_server import ScriptedServer
from tests.cli.shell import Shell
from tests.daemons import Daemon

__all__: list[str] = []


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], daemon: Daemon) -> Shell:
    """Give a shell whose `at` uses the shared daemon."""
    return Shell(capsys, daemon.url)


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    """Give a server on a free port that answers what the test tells it to."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()
