"""The folder of counts: nothing of it is left, not even by a daemon that was killed."""

from pathlib import Path

import pytest

from streamd.cli.metrics_folder import metrics_folder
from tests.conftest import DaemonFactory

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is looked at only


def test_a_folder_is_made_and_removed(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as first, metrics_folder(tmp_path) as second:
        assert first != second
        assert {path.name for path in tmp_path.iterdir()} == {Path(first).name, Path(second).name}
        assert Path(first).stat().st_mode & 0o777 == 0o700
        (Path(first) / "counter.db").touch()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_daemon_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "streamd-metrics-abandoned").mkdir()
    (tmp_path / "streamd-metrics-abandoned" / "counter.db").touch()
    (tmp_path / "streamd-metrics-no-folder").touch()
    (tmp_path / "other").mkdir()

    with metrics_folder(tmp_path) as folder:
        left = {path.name for path in tmp_path.iterdir()}

    assert left == {Path(folder).name, "streamd-metrics-no-folder", "other"}


def test_without_shared_memory_the_folder_is_an_ordinary_temporary_one(tmp_path: Path) -> None:
    with metrics_folder(tmp_path / "none") as folder:
        assert Path(folder).is_dir()

    assert not Path(folder).exists()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="this machine has no shared memory folder")
def test_a_daemon_removes_what_the_one_before_it_left(daemon_factory: DaemonFactory) -> None:
    def folders() -> set[Path]:
        return set(SHARED_MEMORY.glob("streamd-metrics-*"))

    killed = daemon_factory("--workers", "2")
    (left,) = {folder for folder in folders() if _is_used_by(folder, killed.process.pid)}
    killed.kill()

    daemon_factory().stop()

    assert left not in folders()


def _is_used_by(folder: Path, pid: int) -> bool:
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return any(descriptor.is_symlink() and descriptor.readlink() == folder for descriptor in descriptors)
