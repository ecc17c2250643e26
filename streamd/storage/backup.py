"""A copy of a data directory: made beside a running daemon, of one moment of its log, whole or not there at all.

The log is copied by LMDB from one frozen moment, without its free pages. Code that a function of that moment needs is
copied with it: packages are only removed when a daemon starts, so when nothing came or went in their folder meanwhile,
nothing is missing. Secrets come last, since those that the copied log needs were made before it needed them. What is
made anew at each start (counters, runtimes, scratch folders, unpacked code) is left out.

Everything is synced, and FORMAT is written at the very end: a copy that was interrupted is not taken for a data
directory by anybody. What the log says is verified by ``inspect``, afterwards.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamd.errors import ConfigInvalid
from streamd.storage.directory import SECRET_NAMES, DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.private import make_private_folder, open_private

__all__ = ["copy_data"]

_ATTEMPT_COUNT_MAX = 100


def copy_data(source: Path, destination: Path) -> None:
    """Copy a data directory to a place that is not there yet, or empty.

    Raises ConfigInvalid and FormatUnknown; nothing is left at the destination then.
    """
    origin = DataDirectory(source)
    origin.require_known_format()
    copy = DataDirectory(destination)
    if copy.path.resolve().is_relative_to(origin.path.resolve()):
        raise ConfigInvalid(f"{destination} lies inside {source}: choose a place outside of it")
    with _fresh(copy.path):
        # A daemon that is started on the unfinished copy meets a log without FORMAT, and refuses.
        copy.log_path.mkdir(mode=0o700)
        copy.functions_path.mkdir(mode=0o700)
        _copy_log(origin, copy)
        _copy_logs_of_functions(origin.function_logs_path, copy.function_logs_path)
        for name in SECRET_NAMES:
            if (origin.path / name).exists():
                _copy_file(origin.path / name, copy.path / name)
        _sync_tree(copy.path)
        copy.stamp()


def _copy_log(origin: DataDirectory, copy: DataDirectory) -> None:
    environment = Environment(origin.log_path, size_max=0, read_only=True)
    try:
        if not any(_has_copied_moment(environment, origin, copy) for _ in range(_ATTEMPT_COUNT_MAX)):
            raise ConfigInvalid(f"{origin.path} cannot be copied: a function's code kept changing meanwhile")
    finally:
        environment.close()


def _has_copied_moment(environment: Environment, origin: DataDirectory, copy: DataDirectory) -> bool:
    """Copy packages, and the log as it was before; False when packages came or went meanwhile."""
    before = _stamp_of(origin.packages_path)
    with environment.read() as moment:
        _copy_packages(origin.packages_path, copy.packages_path)
        if _stamp_of(origin.packages_path) != before:
            return False
        environment.copy(copy.log_path, moment)
        return True


def _copy_packages(folder: Path, copies: Path) -> None:
    """Copy the zips; those that are there already, from the attempt before, never change."""
    for path in sorted(folder.glob("*.zip")) if folder.is_dir() else ():
        copies.mkdir(mode=0o700, exist_ok=True)
        if not (copies / path.name).exists():
            _copy_file(path, copies / path.name)


def _copy_logs_of_functions(folder: Path, copies: Path) -> None:
    """Copy what functions printed. A segment that is removed meanwhile is one of the oldest, which may go any time."""
    for path in sorted(folder.glob("*/*")) if folder.is_dir() else ():
        make_private_folder(copies / path.parent.name)
        _copy_file(path, copies / path.parent.name / path.name)


def _copy_file(source: Path, copy: Path) -> None:
    try:
        content = source.open("rb")
    except FileNotFoundError:
        return
    with content, open(copy, "xb", opener=open_private) as file:
        shutil.copyfileobj(content, file)


def _stamp_of(folder: Path) -> int:
    """Give what changes whenever something comes into a folder or goes."""
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


@contextmanager
def _fresh(path: Path) -> Iterator[None]:
    """Make a folder for what is written meanwhile, and remove it unless all went well. Raises ConfigInvalid."""
    was_there = path.exists()
    try:
        if was_there and (not path.is_dir() or any(path.iterdir())):
            raise ConfigInvalid(f"{path} is there already, and not an empty folder: nothing of it is written over")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield
    except OSError as error:
        _remove(path, keep_folder=was_there)
        raise ConfigInvalid(f"the copy to {path} failed, and was removed: {error}") from error
    except BaseException:
        _remove(path, keep_folder=was_there)
        raise


def _remove(path: Path, *, keep_folder: bool) -> None:
    """Remove an unfinished copy; a folder that was there before stays, empty."""
    for place in path.iterdir():
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    if not keep_folder:
        path.rmdir()


def _sync_tree(root: Path) -> None:
    for place in [*root.rglob("*"), root, root.parent]:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
