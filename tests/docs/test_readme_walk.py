"""README's lines about functions, typed into a shell as they stand, with a relative data directory as by default."""

import os
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from tests.conftest import DaemonFactory

__all__: list[str] = []

_README = (Path(__file__).parents[2] / "README.md").read_text()


def _script_below(heading: str) -> str:
    """Read the first console session below a heading: what is typed there, without the prompt."""
    session = _README.split(f"\n## {heading}\n", 1)[1].split("```console\n", 1)[1].split("```", 1)[0]
    return "".join(line.removeprefix("$ ") for line in session.splitlines(keepends=True))


def test_deploying_and_seeing_works_as_it_is_written(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    with chdir(tmp_path):
        daemon = daemon_factory(data=Path("streamd-data"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    shell = subprocess.Popen(
        ["bash", "-e", "-c", _script_below("Functions on streams")],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "STREAMD_ENDPOINT": daemon.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    said = []
    for line in shell.stdout:
        said.append(line)
        if line.endswith("got hello, function\n"):
            break
    else:
        pytest.fail("".join(said))
    # It follows the log until somebody ends it.
    os.killpg(shell.pid, signal.SIGTERM)
    shell.communicate()
