"""A data directory that cannot be served from: the daemon says why in one sentence, and ends with 1."""

from pathlib import Path

from streamd.storage.directory import DataDirectory
from tests.conftest import DaemonFactory
from tests.durability.commands import inspect_data, serve_in_vain


def _only_sentence(text: str) -> str:
    (line,) = text.splitlines()
    return line


def test_a_second_daemon_on_the_same_data_is_refused_and_harms_nobody(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", "2", data=data)
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)

    refused = serve_in_vain(data)

    assert refused.returncode == 1
    sentence = f"streamd: data directory {data} is in use by another streamd (process {daemon.process.pid})"
    assert _only_sentence(refused.stderr) == sentence
    assert refused.stdout == ""
    client.put_record(StreamName="s", Data=b"x", PartitionKey="k")
    assert inspect_data("check", data).returncode == 0


def test_data_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    DataDirectory(data).open().close()
    (data / "FORMAT").write_text("2\n")

    for refused in (serve_in_vain(data), inspect_data("check", data), inspect_data("stats", data)):
        assert refused.returncode == 1
        assert _only_sentence(refused.stderr) == (
            f"streamd: data directory {data} has format version 2; this version of streamd knows 1. "
            "Use the streamd that wrote it, or a newer one."
        )


def test_a_place_where_nobody_can_write_is_refused() -> None:
    # Not even root makes a folder here.
    refused = serve_in_vain(Path("/proc/streamd-data"))

    assert refused.returncode == 1
    assert "cannot use /proc/streamd-data as data directory" in _only_sentence(refused.stderr)


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused = serve_in_vain(tmp_path / "file" / "data")

    assert refused.returncode == 1
    assert "Not a directory" in _only_sentence(refused.stderr)


def test_what_is_no_data_directory_is_neither_checked_nor_changed(tmp_path: Path) -> None:
    refused = inspect_data("check", tmp_path)

    assert refused.returncode == 1
    assert "is not a streamd data directory" in _only_sentence(refused.stderr)
    assert list(tmp_path.iterdir()) == []
