"""A bench for each tier that this machine gives."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streamd.functions.sandbox.probe import choose, probe
from tests.functions.sandbox.cell_bench import CellBench


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[[str], CellBench]:
    """Make a bench of a tier, in a data directory that is closed to other users; skip where it does not work."""

    def make(mode: str) -> CellBench:
        # What lies above the data directory is not the sandbox's to open.
        tmp_path.chmod(0o711)
        data = tmp_path / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        findings = probe(data / "functions" / "cells")
        if mode == "bwrap" and findings.bwrap is None:
            pytest.skip(findings.bwrap_reason)
        return CellBench(choose(mode, folder=data / "functions" / "cells"), data)

    return make


@pytest.fixture(params=["bwrap", "process", "off"])
async def bench(request: pytest.FixtureRequest, make_bench: Callable[[str], CellBench]) -> AsyncIterator[CellBench]:
    """Give a bench of every tier."""
    made = make_bench(request.param)
    yield made
    await made.close()


@pytest.fixture(params=["bwrap", "process"])
async def walled(request: pytest.FixtureRequest, make_bench: Callable[[str], CellBench]) -> AsyncIterator[CellBench]:
    """Give a bench of each tier that keeps functions from the machine's files."""
    if request.param == "process" and os.geteuid() != 0:
        pytest.skip("only root can be another user")
    made = make_bench(request.param)
    yield made
    await made.close()


@pytest.fixture
async def bwrap(make_bench: Callable[[str], CellBench]) -> AsyncIterator[CellBench]:
    """Give a bench of bubblewrap."""
    made = make_bench("bwrap")
    yield made
    await made.close()
