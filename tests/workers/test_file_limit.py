"""The limit on open files: a daemon started under a small one takes what the system allows."""

import resource

import pytest

from tests.conftest import DaemonFactory

__all__: list[str] = []

_WANTED = 65_536


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_worker_may_open_as_many_files_as_the_system_allows(daemon_factory: DaemonFactory, count: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        daemon = daemon_factory("--workers", count)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    allowed = {resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] for pid in [daemon.process.pid, *daemon.worker_pids()]}
    assert allowed == {min(hard, _WANTED)}
