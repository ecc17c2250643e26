"""`streamd data`: a directory that is whole, one that is damaged, and one that is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.daemons import Daemon


@pytest.fixture
def directory(shell: Shell, daemon_factory: Callable[..., Daemon]) -> Path:
    """Give a directory with two streams, whose daemon has ended."""
    daemon = daemon_factory()
    for name, shard_count in (("first", "1"), ("second", "2")):
        shell("stream", "create", name, "--shards", shard_count, "--endpoint", daemon.url)
        shell("put", name, "--key", "a", "marked-record", "two", "--endpoint", daemon.url)
    assert daemon.stop() == 0
    return daemon.data


def test_a_whole_directory_has_no_fault(shell: Shell, directory: Path) -> None:
    said = shell("data", "check", str(directory))

    assert said.status == 0
    assert said.out == "2 streams, 3 shards, 2 blocks, 4 records, 36 bytes: no fault\n"


def test_a_running_daemon_s_directory_can_be_checked(shell: Shell, daemon: Daemon) -> None:
    said = shell("data", "check", str(daemon.data), "--json")

    assert said.status == 0
    assert said.json()["faults"] == []


def test_a_damaged_record_is_a_fault_that_is_named(shell: Shell, directory: Path) -> None:
    damaged = 0
    for file in directory.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        if b"marked-record" in content:
            file.write_bytes(content.replace(b"marked-record", b"masked-record"))
            damaged += 1
    assert damaged

    text, document = shell("data", "check", str(directory)), shell("data", "check", str(directory), "--json")

    assert (text.status, document.status) == (1, 1)
    assert "2 faults" in text.out
    assert [fault["place"].partition(" at position ")[0] for fault in document.json()["faults"]] == [
        "first/shardId-000000000000",
        "second/shardId-000000000000",
    ]


def test_stats_tell_what_each_shard_holds(shell: Shell, directory: Path) -> None:
    text, document = shell("data", "stats", str(directory)), shell("data", "stats", str(directory), "--json")

    found = {(each["stream_name"], each["shard_id"][-1]): each["record_count"] for each in document.json()}
    assert found == {("first", "0"): 2, ("second", "0"): 2, ("second", "1"): 0}
    rows = [line.split() for line in text.out.splitlines() if "shardId-" in line]
    assert rows[0][:6] == ["first", "shardId-000000000000", "OPEN", "2", "18", "1"]
    assert rows[2][3:] == ["0", "0", "0", "-", "-"]


@pytest.mark.parametrize("verb", ["check", "stats"])
def test_a_directory_that_holds_no_data_is_refused_in_one_line(shell: Shell, tmp_path: Path, verb: str) -> None:
    said = shell("data", verb, str(tmp_path))

    assert said.status == 1
    assert "is not a streamd data directory" in said.err
    assert said.err.count("\n") == 1


def test_a_directory_that_is_not_there_is_wrong_use(shell: Shell, tmp_path: Path) -> None:
    assert shell("data", "check", str(tmp_path / "nothing")).status == 2
