"""The data directory: private, locked, stamped with a format, and refused in sentences."""

import os
import stat
from pathlib import Path

import pytest

from streamd.errors import ConfigInvalid, FormatUnknown
from streamd.storage.directory import DataDirectory
from tests.storage.stores import open_bench


def _modes_below(path: Path) -> dict[str, int]:
    return {str(p.relative_to(path.parent)): stat.S_IMODE(p.stat().st_mode) for p in [path, *path.rglob("*")]}


async def test_nobody_else_can_read_a_data_directory_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_bench(tmp_path / "data") as bench:
            bench.directory.token_secret()
            bench.directory.master_key(None)
            await bench.store.compare_and_set("a", b"", expected=None)
            modes = _modes_below(tmp_path / "data")
    finally:
        os.umask(before)

    folders = {name for name in modes if (tmp_path / name).is_dir()}
    assert {name: oct(mode) for name, mode in modes.items() if name in folders and mode != 0o700} == {}
    assert {name: oct(mode) for name, mode in modes.items() if name not in folders and mode != 0o600} == {}
    assert {"data/FORMAT", "data/token.secret", "data/master.key", "data/log/data.mdb"} <= modes.keys()


def test_a_format_of_the_future_is_refused_with_both_versions(tmp_path: Path) -> None:
    DataDirectory(tmp_path).open().close()
    (tmp_path / "FORMAT").write_text("2\n")

    with pytest.raises(FormatUnknown, match=r"has format version 2; this version of streamd knows 1\. Use the streamd"):
        DataDirectory(tmp_path).open()

    assert (tmp_path / "FORMAT").read_text() == "2\n"


def test_a_log_without_a_format_is_not_guessed_at(tmp_path: Path) -> None:
    DataDirectory(tmp_path).open().close()
    (tmp_path / "FORMAT").unlink()

    with pytest.raises(ConfigInvalid, match="no FORMAT file"):
        DataDirectory(tmp_path).open()


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_place_that_can_hold_no_directory_is_refused_in_a_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" if place == "a file" else tmp_path / "file" / "data"

    with pytest.raises(ConfigInvalid, match=r"cannot use .* as data directory"):
        DataDirectory(path).open()


def test_a_folder_that_holds_no_data_is_not_taken_for_a_data_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is not a streamd data directory"):
        DataDirectory(tmp_path).require_known_format()


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data").open()
    token_secret, master_key = directory.token_secret(), directory.master_key(None)
    directory.close()

    again = DataDirectory(tmp_path / "data").open()

    assert (again.token_secret(), again.master_key(None)) == (token_secret, master_key)
    assert token_secret != master_key
    assert (len(token_secret), len(master_key)) == (32, 32)
    again.close()


def test_a_secret_that_was_cut_short_is_refused_and_not_made_anew(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data").open()
    directory.master_key(None)
    (tmp_path / "data" / "master.key").write_bytes(b"short")

    with pytest.raises(ConfigInvalid, match="holds 5 bytes; it must hold 32"):
        directory.master_key(None)

    assert (tmp_path / "data" / "master.key").read_bytes() == b"short"
    directory.close()


def test_a_master_key_of_the_users_own_is_used_if_it_is_private_and_whole(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)

    assert directory.master_key(key) == b"k" * 32

    key.chmod(0o640)
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        directory.master_key(key)
    key.chmod(0o600)
    key.write_bytes(b"k" * 33)
    with pytest.raises(ConfigInvalid, match="holds 33 bytes"):
        directory.master_key(key)
    with pytest.raises(ConfigInvalid, match="cannot read the master key"):
        directory.master_key(tmp_path / "none")
