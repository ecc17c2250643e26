"""What the tests of environments share: a bench with environments that run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamd.functions.environments.runtimes import Runtimes
from tests.functions.environments.plain import Bench, open_bench, runtimes_in

__all__: list[str] = []


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    return runtimes_in(tmp_path_factory.mktemp("shared") / "runtime")


@pytest.fixture
async def bench(tmp_path: Path, runtimes: Runtimes) -> AsyncIterator[Bench]:
    """Give a bench with four environments at most and no spares."""
    async with open_bench(tmp_path, runtimes) as opened:
        yield opened
