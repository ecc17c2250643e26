"""Runs the program's own commands in a process of their own, as an operator would."""

import subprocess
import sys
from pathlib import Path

__all__ = ["inspect_data", "serve_in_vain"]


def inspect_data(verb: str, data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run ``streamd data check`` or ``stats``."""
    return _run("data", verb, str(data), *flags)


def serve_in_vain(data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run ``streamd serve`` where it must refuse to serve."""
    return _run("serve", "--port", "0", "--data", str(data), *flags)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamd", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
