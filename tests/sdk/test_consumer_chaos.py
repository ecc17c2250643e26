"""A short run of the chaos; ``python -m tests.sdk.chaos`` is the long one."""

from pathlib import Path

import pytest

from tests.conftest import DaemonFactory
from tests.sdk.chaos import SETTLING_BEATS_MAX, Chaos

__all__: list[str] = []


@pytest.mark.timeout(300)
async def test_whatever_happens_to_members_and_shards_the_group_keeps_its_promises(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory()

    report = await Chaos(daemon.url, tmp_path / "logs", seed=3).run(15, members=6, shards=32)

    assert report.findings is not None
    assert report.findings.faults == [], report.text()
    assert report.findings.record_count > 1000
    assert max(report.settling_beats) <= SETTLING_BEATS_MAX, report.text()
    assert {"kill", "stop"} & report.event_counts.keys()
