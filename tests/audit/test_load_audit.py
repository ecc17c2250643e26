"""The short form of the audit of load and abuse (`python -m tests.audit.load`), and of its soak."""

import os
from pathlib import Path

import pytest

from tests.audit.load import run_load_audit
from tests.audit.load_scenes import SCENES
from tests.audit.soak import run_soak

SECONDS = float(os.environ.get("STREAMD_AUDIT_LOAD_S", "0.5"))
# Half of the large bodies still take more than the bound where the door has no budget.
SHARE = 0.5


@pytest.mark.timeout(300 + 10 * SECONDS)
def test_memory_stays_bounded_others_are_served_and_nobody_is_cut_off_whatever_clients_do(tmp_path: Path) -> None:
    outcome = run_load_audit(tmp_path, seconds=SECONDS, seed=1, told=lambda _done: None, share=SHARE)

    assert outcome.faults == []
    for scene in SCENES:
        assert outcome.figures[f"{scene.name}: answers"] != "none", "nobody came"


@pytest.mark.timeout(120 + 20 * SECONDS)
def test_memory_and_descriptors_are_flat_under_a_mixed_load(tmp_path: Path) -> None:
    outcome = run_soak(tmp_path / "soak", seconds=10 * SECONDS, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert " x 200" in outcome.figures["answers"]
