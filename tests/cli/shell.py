"""Runs streamd's command line as a shell would, and keeps what it said."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from streamd import cli

__all__ = ["Said", "Shell", "run_program"]

_PATIENCE_S = 60


@dataclass(frozen=True)
class Said:
    """What one command left behind."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Read stdout as one JSON document."""
        return orjson.loads(self.out)

    def json_lines(self) -> list[Any]:
        """Read stdout as one JSON document a line."""
        return [orjson.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs commands inside the test's process."""

    def __init__(self, capture: pytest.CaptureFixture[str], url: str) -> None:
        self.url = url
        self._capture = capture

    def __call__(self, *arguments: str) -> Said:
        """Run a command as it is."""
        self._capture.readouterr()
        status = cli.main(arguments)
        out, err = self._capture.readouterr()
        return Said(status, out, err)

    def at(self, *arguments: str) -> Said:
        """Run a command that takes a server, on the test's daemon."""
        marker = arguments.index("--") if "--" in arguments else len(arguments)
        return self(*arguments[:marker], "--endpoint", self.url, *arguments[marker:])


def run_program(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Said:
    """Run the program in a process of its own, with an input."""
    finished = subprocess.run(
        [sys.executable, "-m", "streamd", *arguments],
        input=stdin,
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Said(finished.returncode, finished.stdout.decode(), finished.stderr.decode())
