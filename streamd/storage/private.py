"""Files and folders for the daemon's user alone, whatever the umask."""

import os
from pathlib import Path

__all__ = ["make_private_folder", "open_private"]


def open_private(path: str, flags: int) -> int:
    """Open a file as ``open`` asks its opener to; one that is made is nobody else's to read."""
    return os.open(path, flags, 0o600)


def make_private_folder(folder: Path) -> None:
    """Make a folder where none is, and those on the way to it, which ``parents=True`` would open to others."""
    if not folder.parent.is_dir():
        make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
