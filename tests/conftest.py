"""What tests share: real daemons on free ports, and real clients to talk to them."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, start_daemon
from tests.durability.preloads import has_compiler
from tests.durability.wall_clock import WallClock
from tests.moto import running_moto

__all__: list[str] = []

DaemonFactory = Callable[..., Daemon]


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give one daemon that the whole session shares; use stream names of your own."""
    running = start_daemon(tmp_path_factory.mktemp("shared") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Give the address of moto's server."""
    with running_moto() as url:
        yield url


@pytest.fixture
def daemon_factory(tmp_path: Path) -> Iterator[DaemonFactory]:
    """Give a function that starts daemons with flags; they are stopped after the test."""
    running: list[Daemon] = []

    def start(
        *flags: str, data: Path | None = None, port: int = 0, environment: Mapping[str, str] | None = None
    ) -> Daemon:
        place = data or tmp_path / f"data-{len(running)}"
        started = start_daemon(place, *flags, port=port, environment=environment)
        running.append(started)
        return started

    yield start
    for started in running:
        started.stop()


@pytest.fixture
def kinesis(daemon: Daemon) -> Any:
    """Give a boto3 client of the shared daemon that does not retry."""
    return daemon.client()


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """Give a wall clock for daemons that are started with its environment."""
    if not has_compiler():
        pytest.skip("there is no C compiler")
    folder = tmp_path / "clock"
    folder.mkdir()
    return WallClock(folder)


@pytest.fixture
def stream_name() -> str:
    """Give a stream name that nobody else uses."""
    return f"stream-{uuid.uuid4().hex[:12]}"
