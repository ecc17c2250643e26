"""What tests of durability are given: disks that are soon full."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__: list[str] = []

_DISK_MIB = 96
_SMALL_DISK_MIB = 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of its own that is soon full."""
    with _mounted(tmp_path / "disk", mib=_DISK_MIB) as place:
        yield place


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of its own of a few MB."""
    with _mounted(tmp_path / "small-disk", mib=_SMALL_DISK_MIB) as place:
        yield place


@contextmanager
def _mounted(place: Path, *, mib: int) -> Iterator[Path]:
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root and mount")
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounting.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounting.stderr.decode().strip()}")
    try:
        yield place
    finally:
        # Lazily, since a daemon whose test failed may still be about to end.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
