"""The short form of the kill audit: as the long one (`python -m tests.audit.kill`), with fewer cycles."""

import os
from pathlib import Path

import pytest

from tests.audit.kill import run_kill_audit

CYCLE_COUNT = int(os.environ.get("STREAMD_AUDIT_CYCLES", "50"))


@pytest.mark.timeout(120 + 30 * CYCLE_COUNT)
def test_nothing_acknowledged_is_lost_doubled_altered_or_out_of_order_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run_kill_audit(tmp_path, count=CYCLE_COUNT, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["cycles"] == CYCLE_COUNT
    assert outcome.figures["acknowledged records"] > 10 * CYCLE_COUNT
    for kind in ("worker", "all"):
        assert outcome.figures[f"endings: {kind}"], "nothing was killed"
    for kind in ("reshard", "doom", "retention"):
        assert outcome.figures[f"meddling: {kind}"], "nobody meddled"
