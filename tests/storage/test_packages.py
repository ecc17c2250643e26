"""Packages of code: kept whole, unpacked safely, refused when they would lead out of their folder."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from streamd.errors import PackageInvalid
from streamd.storage import packages as module
from streamd.storage.packages import Packages


def zip_of(*entries: tuple[str, bytes, int]) -> bytes:
    """Zip entries, each a path, its content and its mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content, mode in entries:
            entry = zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def unpacked_below(folder: Path) -> list[Path]:
    """List the files that are no packages."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".zip"]


FILE, PROGRAM, LINK = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFLNK | 0o777


async def test_a_package_is_unpacked_with_its_modes_and_links(tmp_path: Path) -> None:
    content = zip_of(("bootstrap", b"#!/bin/sh\n", PROGRAM), ("lib/a.py", b"a", FILE), ("lib/b.py", b"a.py", LINK))

    package = await Packages(tmp_path / "code").keep(content)

    assert (package.folder / "bootstrap").stat().st_mode & 0o777 == 0o755
    assert (package.folder / "lib/a.py").read_bytes() == b"a"
    assert (package.folder / "lib/b.py").read_bytes() == b"a"
    assert await Packages(tmp_path / "code").content(package.sha256) == content


async def test_what_was_not_finished_is_unpacked_again(tmp_path: Path) -> None:
    packages = Packages(tmp_path / "code")
    package = await packages.keep(zip_of(("a.py", b"a", FILE)))
    package.folder.rename(package.folder.with_suffix(".new"))

    folder = await packages.unpack(package.sha256)

    assert (folder / "a.py").read_bytes() == b"a"


async def test_only_packages_that_are_needed_are_kept(tmp_path: Path) -> None:
    packages = Packages(tmp_path / "code")
    needed = await packages.keep(zip_of(("a.py", b"a", FILE)))
    other = await packages.keep(zip_of(("a.py", b"b", FILE)))

    await packages.keep_only([needed.sha256])

    assert needed.folder.is_dir()
    assert not other.folder.exists()
    with pytest.raises(PackageInvalid):
        await packages.unpack(other.sha256)


@pytest.mark.parametrize(
    "entries",
    [
        [("../a.py", b"a", FILE)],
        [("/a.py", b"a", FILE)],
        [("x/../../a.py", b"a", FILE)],
        [("a\\b.py", b"a", FILE)],
        [("away", b"/etc/passwd", LINK)],
        [("away", b"../../x", LINK)],
        [("away", b"..", LINK), ("away/a.py", b"a", FILE)],
        # Each of these leads out by a link that stays inside, made before it or after.
        [("p/q/up", b"../..", LINK), ("p/q/up/away", b"../..", LINK)],
        [("x/away", b"y/../..", LINK), ("x/y", b"..", LINK)],
        [("x/away", b"y/../../data.mdb", LINK), ("x/y", b"..", LINK)],
        [("x/one", b"two/x", LINK), ("x/two", b"one/x", LINK), ("x/one/a.py", b"a", FILE)],
        [("a", b"a", FILE), ("a/b", b"b", FILE)],
        [("device", b"", stat.S_IFCHR | 0o666)],
        [],
    ],
)
async def test_a_package_that_leads_out_of_its_folder_is_refused(
    tmp_path: Path, entries: list[tuple[str, bytes, int]]
) -> None:
    with pytest.raises(PackageInvalid):
        await Packages(tmp_path / "code").keep(zip_of(*entries))

    assert unpacked_below(tmp_path) == []


async def test_a_bomb_is_refused_by_what_it_holds_and_not_by_what_it_says(tmp_path: Path) -> None:
    honest = zip_of(("a", b"\0" * module.UNZIPPED_BYTE_COUNT_MAX, FILE))
    size = module.UNZIPPED_BYTE_COUNT_MAX.to_bytes(4, "little")
    lying = honest.replace(size, (10).to_bytes(4, "little"))

    for bomb in (honest, lying):
        with pytest.raises(PackageInvalid):
            await Packages(tmp_path / "code").keep(bomb)


async def test_a_damaged_package_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_of(("a.py", b"a" * 1000, FILE)))
    content[45] ^= 0xFF

    with pytest.raises(PackageInvalid):
        await Packages(tmp_path / "code").keep(bytes(content))
