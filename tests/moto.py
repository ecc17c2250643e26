"""moto's server, which stands in for AWS's services: started once, in a process of its own."""

import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import IO

import pytest

__all__ = ["running_moto"]

_PATIENCE_S = 60


@contextmanager
def running_moto() -> Iterator[str]:
    """Start moto's server and give its address; skip where it is not installed."""
    if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask_cors")):
        pytest.skip("moto[server] is not installed")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found: Queue[str] = Queue()
    reader = threading.Thread(target=_drain, args=(process.stderr, found))
    reader.start()
    try:
        yield found.get(timeout=_PATIENCE_S)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
        reader.join(_PATIENCE_S)
        process.stderr.close()


def _drain(lines: IO[str], found: "Queue[str]") -> None:
    """Read to the end, so that the server never waits for its reader, and tell its address."""
    for line in lines:
        if match := re.search(r"Running on (http://\S+)", line):
            found.put(match[1])
