"""Folders that outcomes are written to, each a file of its own: whole or not at all, and never over another one.

Only folders that the settings allow, and what lies below them, are written to: what a name or a link would lead out of
them is refused.
"""

import asyncio
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from streamd.errors import ConfigInvalid, DeliveryFailed, TargetUnknown
from streamd.storage.private import make_private_folder, open_private

__all__ = ["OutcomeFolders"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_NAME_LENGTH_MAX = 200


class OutcomeFolders:
    """Writes documents into allowed folders."""

    def __init__(self, allowed: Sequence[Path]) -> None:
        self._allowed = tuple(allowed)

    @classmethod
    def parse(cls, names: object) -> "OutcomeFolders":
        """Read a list of absolute paths from the settings. Raises ConfigInvalid."""
        if not isinstance(names, list):
            raise ConfigInvalid("folders of destinations are a list of absolute paths")
        for name in names:
            if not isinstance(name, str) or not Path(name).is_absolute() or Path(name) == Path("/"):
                raise ConfigInvalid(f"{name!r} is no folder for destinations: it must be an absolute path, and not /")
        return cls([Path(name) for name in names])

    def check(self, folder: Path) -> None:
        """Refuse a folder that is not allowed. Raises TargetUnknown."""
        real = folder.resolve()
        if not folder.is_absolute() or not any(real.is_relative_to(each.resolve()) for each in self._allowed):
            raise TargetUnknown(
                f"the folder {folder} is not allowed as a destination: list it, or one above it, as folders of "
                "[destinations] in the settings of functions"
            )

    async def write(self, folder: Path, key: str, content: bytes) -> str:
        """Write a document under the last part of its key; the file's name. It is on disk when this returns.

        Raises TargetUnknown, and DeliveryFailed when the disk does not take it.
        """
        return await asyncio.to_thread(self._write, folder, key, content)

    def _write(self, folder: Path, key: str, content: bytes) -> str:
        self.check(folder)
        stem = _UNSAFE.sub("_", key.rpartition("/")[2])[:_NAME_LENGTH_MAX].lstrip(".") or "outcome"
        try:
            make_private_folder(folder)
            return _write_new(folder, stem, content)
        except OSError as error:
            raise DeliveryFailed(f"{folder} could not be written to: {error.strerror}") from error


def _write_new(folder: Path, stem: str, content: bytes) -> str:
    """Write beside, for the daemon's user alone, then give it a name that no file has: a link never replaces one."""
    beside = folder / f".{uuid.uuid4().hex}.part"
    try:
        with open(beside, "xb", opener=open_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        name = _link_new(beside, folder, stem)
    finally:
        beside.unlink(missing_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return name


def _link_new(beside: Path, folder: Path, stem: str) -> str:
    name = f"{stem}.json"
    try:
        os.link(beside, folder / name)
    except FileExistsError:
        # A name that is taken is that of a document delivered twice, or one of the same second.
        name = f"{stem}-{uuid.uuid4().hex}.json"
        os.link(beside, folder / name)
    return name
