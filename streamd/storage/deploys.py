"""A folder or a file on its way to becoming a package: zipped, the same bytes for the same content.

Left out is what nobody deploys: caches, version control, virtual environments.
"""

import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from streamd.errors import ConfigInvalid

__all__ = ["names_in", "zip_of"]

_LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".venv", "venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
_MOMENT = (1980, 1, 1, 0, 0, 0)


def zip_of(path: Path) -> bytes:
    """Zip a folder or a single file; a zip is taken as it is. Raises ConfigInvalid."""
    try:
        if path.suffix == ".zip" and path.is_file():
            return path.read_bytes()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, place in _entries(path):
                _add(archive, name, place)
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from None
    return buffer.getvalue()


def names_in(path: Path) -> frozenset[str]:
    """Name the files at the top of what would be zipped. Raises ConfigInvalid."""
    try:
        if path.suffix == ".zip" and path.is_file():
            with zipfile.ZipFile(path) as archive:
                return frozenset(archive.namelist())
        return frozenset(name for name, _ in _entries(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigInvalid(f"cannot read {path}: {error}") from None


def _entries(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield path.name, path
        return
    for place in sorted(path.rglob("*")):
        name = place.relative_to(path)
        if not _LEFT_OUT.isdisjoint(name.parts) or place.suffix == ".pyc":
            continue
        if place.is_symlink() or place.is_file():
            yield name.as_posix(), place


def _add(archive: zipfile.ZipFile, name: str, place: Path) -> None:
    entry = zipfile.ZipInfo(name, _MOMENT)
    if place.is_symlink():
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, str(place.readlink()))
        return
    is_executable = place.stat().st_mode & 0o111
    entry.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    archive.writestr(entry, place.read_bytes(), zipfile.ZIP_DEFLATED)
