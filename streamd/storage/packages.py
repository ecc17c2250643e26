"""Packages of code: zips, kept by the hash of their bytes, and unpacked beside them for the environments to read.

The zip is what was promised: it is on disk, synced, when `keep` returns. What is unpacked comes from it and is made
again whenever it is not there or was not finished. Refused are zips that cannot be read, that hold too much, or that
name a place outside their own folder: absolute paths, ``..``, links that lead away, anything but files, folders and
links.
"""

import asyncio
import hashlib
import io
import os
import posixpath
import shutil
import stat
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import PackageInvalid
from streamd.storage.private import make_private_folder

__all__ = ["UNZIPPED_BYTE_COUNT_MAX", "Package", "Packages", "kept_packages"]

UNZIPPED_BYTE_COUNT_MAX = 262_144_000
_ENTRY_COUNT_MAX = 100_000
_CHUNK_BYTE_COUNT = 1 << 20
_CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


@dataclass(frozen=True, slots=True)
class Package:
    """A kept zip: the hash of its bytes (base64 of SHA-256), their count, and where it lies unpacked."""

    sha256: str
    byte_count: int
    unzipped_byte_count: int
    folder: Path


class Packages:
    """The packages of a data directory. One process keeps and removes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def keep(self, content: bytes) -> Package:
        """Keep a zip and unpack it. Raises PackageInvalid, and OSError when the disk is full."""
        async with self._lock:
            return await asyncio.to_thread(self._keep, content)

    async def check(self, content: bytes) -> Package:
        """Look at a zip as ``keep`` does, and keep nothing. Raises PackageInvalid."""
        return await asyncio.to_thread(self._look, content)

    async def unpack(self, sha256: str) -> Path:
        """Give the folder of a kept package, unpacked again if need be. Raises PackageInvalid when it is lost."""
        folder = self._place(sha256)
        if folder.is_dir():
            return folder
        async with self._lock:
            return await asyncio.to_thread(self._unpack_again, sha256)

    async def content(self, sha256: str) -> bytes:
        """Read a kept zip. Raises PackageInvalid when it is lost."""
        return await asyncio.to_thread(self._content, sha256)

    async def keep_only(self, sha256s: Iterable[str]) -> None:
        """Remove every package but these, and what an interrupted unpacking left."""
        wanted = {self._place(sha256).name for sha256 in sha256s}
        async with self._lock:
            await asyncio.to_thread(self._sweep, wanted)

    def _place(self, sha256: str) -> Path:
        # Base64 has slashes, and a file system need not tell its cases apart.
        return self._folder / b64decode(sha256).hex()

    def _look(self, content: bytes) -> Package:
        digest = b64encode(hashlib.sha256(content).digest()).decode()
        with _opened(content) as archive:
            byte_count = sum(entry.file_size for entry in _checked(archive))
        return Package(digest, len(content), byte_count, self._place(digest))

    def _keep(self, content: bytes) -> Package:
        package = self._look(content)
        make_private_folder(self._folder)
        kept = package.folder.with_suffix(".zip")
        if not kept.exists():
            _write_synced(kept, content)
        if not package.folder.is_dir():
            self._unpack(content, package.folder)
        return package

    def _unpack_again(self, sha256: str) -> Path:
        folder = self._place(sha256)
        if not folder.is_dir():
            self._unpack(self._content(sha256), folder)
        return folder

    def _content(self, sha256: str) -> bytes:
        try:
            content = self._place(sha256).with_suffix(".zip").read_bytes()
        except OSError as error:
            raise PackageInvalid(f"the package {sha256} is lost: {error.strerror}") from None
        if b64encode(hashlib.sha256(content).digest()).decode() != sha256:
            raise PackageInvalid(f"the package {sha256} is damaged")
        return content

    def _unpack(self, content: bytes, folder: Path) -> None:
        """Unpack beside the place and move there at the end, so that a folder in place is always a whole one."""
        unfinished = folder.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o755)
        try:
            with _opened(content) as archive:
                room = UNZIPPED_BYTE_COUNT_MAX
                for entry in _checked(archive):
                    room -= _extract(archive, entry, unfinished, room=room)
            _check_links(unfinished)
            _sync_tree(unfinished)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _sweep(self, wanted: set[str]) -> None:
        if not self._folder.is_dir():
            return
        for place in self._folder.iterdir():
            if place.stem in wanted and place.suffix in ("", ".zip"):
                continue
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)


def kept_packages(folder: Path) -> Iterator[tuple[str, bool]]:
    """Look at every kept zip, one at a time: its hash by its name, and whether its bytes have that hash."""
    for path in sorted(folder.glob("*.zip")):
        with suppress(FileNotFoundError, ValueError):
            name = bytes.fromhex(path.stem)
            yield b64encode(name).decode(), hashlib.sha256(path.read_bytes()).digest() == name


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise PackageInvalid(_CANNOT_UNZIP) from None


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Give the entries. Raises PackageInvalid for what may not be unpacked."""
    entries = archive.infolist()
    if not entries:
        raise PackageInvalid("Uploaded file must be a non-empty zip")
    if sum(entry.file_size for entry in entries) >= UNZIPPED_BYTE_COUNT_MAX or len(entries) > _ENTRY_COUNT_MAX:
        raise PackageInvalid(f"Unzipped size must be smaller than {UNZIPPED_BYTE_COUNT_MAX} bytes")
    for entry in entries:
        path = entry.filename
        kind = stat.S_IFMT(entry.external_attr >> 16)
        leads_away = path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/")
        if leads_away or kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) or entry.flag_bits & 1:
            raise PackageInvalid(_CANNOT_UNZIP)
    return entries


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, root: Path, *, room: int) -> int:
    """Write one entry below a folder; its bytes. Raises PackageInvalid."""
    place = root / entry.filename
    mode = entry.external_attr >> 16
    try:
        # A link that was unpacked before must not carry what follows it out of the folder.
        if not place.parent.resolve().is_relative_to(root.resolve()) or place.is_symlink():
            raise PackageInvalid(_CANNOT_UNZIP)
        if entry.is_dir():
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            return 0
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if stat.S_ISLNK(mode):
            return _link(archive.read(entry).decode(), entry.filename, place)
        return _write(archive, entry, place, room=room, is_executable=bool(mode & 0o111))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError):
        raise PackageInvalid(_CANNOT_UNZIP) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        # A file and a folder of one name.
        raise PackageInvalid(_CANNOT_UNZIP) from None


def _link(target: str, name: str, place: Path) -> int:
    """Make a link that stays inside."""
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or inside == ".." or inside.startswith("../"):
        raise PackageInvalid(_CANNOT_UNZIP)
    place.symlink_to(target)
    return len(target)


def _check_links(root: Path) -> None:
    """Refuse links that lead out by way of other links, which no single entry tells. Raises PackageInvalid."""
    inside = root.resolve()
    for parent, folders, files in os.walk(root):
        for place in (Path(parent, name) for name in (*folders, *files)):
            # Not resolve(), which raises over links that lead in a circle; those lead nowhere.
            if place.is_symlink() and not Path(os.path.realpath(place)).is_relative_to(inside):
                raise PackageInvalid(_CANNOT_UNZIP)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, *, room: int, is_executable: bool) -> int:
    """Write a file; what the entry says of its size is not believed."""
    byte_count = 0
    with archive.open(entry) as source, place.open("xb") as copy:
        while chunk := source.read(_CHUNK_BYTE_COUNT):
            byte_count += len(chunk)
            if byte_count >= room:
                raise PackageInvalid(f"Unzipped size must be smaller than {UNZIPPED_BYTE_COUNT_MAX} bytes")
            copy.write(chunk)
        os.fchmod(copy.fileno(), 0o755 if is_executable else 0o644)
    return byte_count


def _write_synced(place: Path, content: bytes) -> None:
    """Write a file whole, or not at all."""
    unfinished = place.with_suffix(".part")
    with unfinished.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(place)
    _sync(place.parent)


def _sync_tree(root: Path) -> None:
    """Sync what was unpacked: after a power cut a folder in place must still be a whole one."""
    for parent, _, files in os.walk(root):
        for name in files:
            if not (place := Path(parent, name)).is_symlink():
                _sync(place)
        _sync(Path(parent))


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
