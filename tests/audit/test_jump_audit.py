"""The short form of the audit of time: as the long one (`python -m tests.audit.jumps`), with few cycles."""

from pathlib import Path

import pytest

from tests.audit.jumps import run_jump_audit
from tests.durability.preloads import has_compiler

__all__: list[str] = []

CYCLE_COUNT = 3


@pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")
def test_whatever_the_clock_does_nothing_is_lost_early_doubled_or_out_of_order(tmp_path: Path) -> None:
    outcome = run_jump_audit(tmp_path, count=CYCLE_COUNT, seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["cycles"] == CYCLE_COUNT
    for what in ("clock: jump", "clock: freeze", "actions: end", "actions: fall", "times tried", "iterators tried"):
        assert outcome.figures[what], f"{what}: never"
    assert outcome.figures["acknowledged records"] > 10 * CYCLE_COUNT
