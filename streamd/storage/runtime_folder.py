"""What runtimes need on disk: the folder that is /var/runtime inside, programs on the PATH, and scratch folders.

The runtime's folder is made anew at each start, from copies: what is in it, and nothing beside it, is what a function
sees of streamd. Scratch folders of a daemon that was killed are removed at the next start.
"""

import asyncio
import compileall
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from streamd.errors import SandboxFailed
from streamd.storage.private import make_private_folder

__all__ = ["ScratchFolders", "find_program", "lay_out"]

_LOG = logging.getLogger(__name__)


def find_program(name: str) -> str | None:
    """Find a program on the PATH; links are followed."""
    found = shutil.which(name)
    return None if found is None else os.path.realpath(found)


def lay_out(folder: Path, sources: Mapping[str, Path]) -> Path:
    """Fill a folder with copies of files and folders, under these names, compiled where they are Python.

    Who runs functions is another user than the daemon's: everybody may read it, nobody but the daemon write.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    for name, source in sources.items():
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copyfile(source, folder / name)
    # Nobody can write there later, and compiling at each start of an environment would be most of its time.
    compileall.compile_dir(folder, quiet=2)
    for place in [folder, *folder.rglob("*")]:
        place.chmod(0o755 if place.is_dir() else 0o644)
    return folder


class ScratchFolders:
    """The folders that are /tmp inside, one for each environment, gone with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sweep(self) -> None:
        """Remove what a daemon that was killed left behind, and begin empty."""
        shutil.rmtree(self._folder, ignore_errors=True)
        make_private_folder(self._folder)

    def place(self) -> Path:
        """Name a new one."""
        return self._folder / uuid.uuid4().hex

    async def make(self, place: Path) -> None:
        """Make one, if it is not there. Raises SandboxFailed when the disk is full."""
        await asyncio.to_thread(_make, place)

    async def remove(self, place: Path) -> None:
        """Remove one, with all that is in it."""
        await asyncio.to_thread(_remove, place)


def _make(place: Path) -> None:
    try:
        make_private_folder(place)
    except OSError as error:
        raise SandboxFailed(f"a scratch folder cannot be made: {error}") from error


def _remove(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        _LOG.warning("the scratch folder %s cannot be removed: %s", place, error)
