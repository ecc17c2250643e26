"""Outcomes written to folders: whole, under names of their own, and never outside."""

import asyncio
from pathlib import Path

import pytest

from streamd.errors import ConfigInvalid, DeliveryFailed, TargetUnknown
from streamd.storage.outcome_folder import OutcomeFolders


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    return tmp_path / "allowed"


@pytest.fixture
def folders(allowed: Path) -> OutcomeFolders:
    return OutcomeFolders.parse([str(allowed)])


async def test_a_document_is_a_file_named_after_its_key(folders: OutcomeFolders, allowed: Path) -> None:
    name = await folders.write(allowed / "deep" / "er", "aws/lambda/async/f/2026/2026-11-23T03.20.07-id", b"{}")

    assert name == "2026-11-23T03.20.07-id.json"
    assert _listing(allowed / "deep" / "er") == {name: b"{}"}


async def test_documents_of_one_key_lie_beside_each_other(folders: OutcomeFolders, allowed: Path) -> None:
    contents = [b"%d" % number for number in range(20)]

    names = await asyncio.gather(*[folders.write(allowed, "same", content) for content in contents])

    assert len(set(names)) == 20
    assert sorted(_listing(allowed).values()) == sorted(contents)


@pytest.mark.parametrize("key", ["../../up", "..", "a/..", ".hidden", "a\0b", "", "x" * 5_000, "/"])
async def test_no_key_leads_out_of_the_folder(folders: OutcomeFolders, allowed: Path, key: str) -> None:
    name = await folders.write(allowed, key, b"{}")

    assert _listing(allowed) == {name: b"{}"}
    assert not _listing(allowed.parent)
    assert not name.startswith(".")


async def test_a_folder_that_is_not_listed_is_refused(folders: OutcomeFolders, allowed: Path, tmp_path: Path) -> None:
    _link(allowed, tmp_path / "other")

    for folder in (tmp_path, tmp_path / "other", allowed / ".." / "other", allowed / "link", Path("allowed")):
        with pytest.raises(TargetUnknown, match="is not allowed as a destination"):
            await folders.write(folder, "key", b"{}")

    assert not _listing(tmp_path / "other")


async def test_a_folder_that_is_a_file_does_not_take_it(folders: OutcomeFolders, allowed: Path) -> None:
    _make_file(allowed)

    with pytest.raises(DeliveryFailed, match="could not be written to"):
        await folders.write(allowed / "file", "key", b"{}")


@pytest.mark.parametrize("names", ["/a", ["a"], [1], ["/"]])
def test_folders_of_the_settings_are_absolute_paths(names: object) -> None:
    with pytest.raises(ConfigInvalid):
        OutcomeFolders.parse(names)


def _listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _link(allowed: Path, other: Path) -> None:
    allowed.mkdir()
    other.mkdir()
    (allowed / "link").symlink_to(other)


def _make_file(allowed: Path) -> None:
    allowed.mkdir()
    (allowed / "file").write_bytes(b"")
