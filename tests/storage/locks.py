"""Another process that holds the store's writer lock, as a second worker in the middle of a long commit would."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["writer_lock_held"]

_HOLDER = """
import sys
import lmdb
environment = lmdb.open(sys.argv[1], max_dbs=8, map_size=1 << 31)
with environment.begin(write=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writer_lock_held(directory: Path) -> Iterator[None]:
    """Hold the writer lock of a data directory's log in a process of its own, for as long as the block runs."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(directory / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
            holder.wait(30)
