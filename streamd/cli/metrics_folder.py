"""The folder through which a daemon's workers share their counts: in memory, gone when the daemon is.

The counts are memory-mapped files, and a process that touches a new page of such a file on a full disk is killed by
the kernel. A full disk must stop puts only, so the folder is in the machine's shared memory where there is one. What
a daemon that was killed left behind there is removed by the next one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["metrics_folder"]

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below it is made with a fresh name and mode 0700
_PREFIX = "streamd-metrics-"
_TRY_COUNT = 10


@contextmanager
def metrics_folder(root: Path = _SHARED_MEMORY) -> Iterator[str]:
    """Make the folder, and remove it in the end; ``root`` is used only if it can be written."""
    place = root if os.access(root, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _remove_abandoned(place)
    folder, lock = _made(place)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _made(place: Path) -> tuple[Path, int | None]:
    """Make a folder and lock it. The workers inherit the lock: it is held until the last of them has ended."""
    for _ in range(_TRY_COUNT):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        lock = _locked(folder)
        if lock is not None and folder.exists():
            return folder, lock
        # Another daemon that starts in this moment took it for an abandoned one.
        if lock is not None:
            os.close(lock)
    return Path(tempfile.mkdtemp(prefix=_PREFIX)), None


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        lock = _locked(folder)
        if lock is not None:
            # Only the daemon that made it would still hold it.
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Take a folder's lock; None when another holds it, or it is not ours, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
