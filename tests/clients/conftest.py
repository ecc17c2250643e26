"""What tests of clients share: the table that they write, and a daemon with a port for TLS."""

import os
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamd import cli
from tests.clients.client_table import DEFAULT_PATH, ClientRow, ClientTable
from tests.daemons import Daemon, start_daemon

__all__: list[str] = []

_TABLE = pytest.StashKey[ClientTable]()
_FAILED = pytest.StashKey[bool]()
SeenBy = Callable[..., ClientRow]


@dataclass(frozen=True)
class TlsDaemon:
    """A daemon that speaks TLS on a second port."""

    daemon: Daemon
    url: str
    authority: Path


@pytest.fixture(scope="session")
def tls_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsDaemon]:
    """Give one daemon with both ports; use stream names of your own."""
    place = tmp_path_factory.mktemp("tls")
    assert cli.main(["tls", "init", str(place)]) == 0
    files = ("--tls-cert", str(place / "server.pem"), "--tls-key", str(place / "server.key"))
    running = start_daemon(place / "data", "--tls-port", "0", *files)
    found = re.search(r"https://127\.0\.0\.1:(\d+)", running.log.read_text())
    assert found is not None
    yield TlsDaemon(running, f"https://localhost:{found[1]}", place / "ca.pem")
    running.stop()


@pytest.fixture
def seen_by(request: pytest.FixtureRequest) -> Iterator[SeenBy]:
    """Give a function that gives the row of a client; a test that fails afterwards marks its rows."""
    table = request.config.stash.setdefault(_TABLE, ClientTable())
    rows: list[ClientRow] = []

    def row(client: str, *, version: str, transport: str) -> ClientRow:
        rows.append(table.row(client, version=version, transport=transport))
        return rows[-1]

    yield row
    if request.node.stash.get(_FAILED, False):
        for seen in rows:
            seen.result = "failed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was seen."""
    table = session.config.stash.get(_TABLE, None)
    if table is not None:
        table.write(Path(os.environ.get("STREAMD_CLIENT_TABLE", DEFAULT_PATH)))
