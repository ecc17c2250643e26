"""The short form of the simulation (`python -m tests.audit.simulate`), and that it repeats itself and can fail."""

import os
import subprocess
import sys

import pytest

from tests.audit.simulate import run_simulation_audit, stories
from tests.simulation.disk import Lie

SEED_COUNT = int(os.environ.get("STREAMD_SIMULATION_SEEDS", "300"))


@pytest.mark.timeout(120 + SEED_COUNT)
def test_whatever_a_seed_brings_nothing_acknowledged_or_shown_is_lost_doubled_altered_or_out_of_order() -> None:
    outcome = run_simulation_audit(seed_count=SEED_COUNT, first_seed=1, told=lambda _done: None)

    assert outcome.faults == []
    assert outcome.figures["seeds"] == SEED_COUNT
    assert outcome.figures["acknowledged records"] > 10 * SEED_COUNT
    for kind in (
        "power cuts",
        "kills",
        "repeated puts",
        "meddling: split",
        "meddling: delete",
        "meddling: leap",
        "meddling: kill",
        "meddling: clock",
        "checkpoints",
        "refused checkpoints",
        "looks at what must be encrypted",
        "events pushed",
        "keys followed into another shard",
    ):
        assert outcome.figures[kind] > SEED_COUNT // 10, f"hardly any {kind}"


def test_a_seed_tells_the_same_story_in_another_process_that_hashes_otherwise() -> None:
    seeds = range(40, 52)

    here = "".join("\n".join([*story.log, ""]) for story in stories(seeds))
    again = [
        subprocess.run(
            [sys.executable, "-m", "tests.audit.simulate", "--first-seed", "40", "--seeds", "12", "--log"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert again == [here, here]
    assert len({story.digest for story in stories(seeds)}) == len(seeds), "different seeds tell different stories"


# Each starts a little before a seed that finds it, for the sake of time; another is never far.
@pytest.mark.parametrize(("lie", "first_seed"), [(Lie.NO_SYNC, 1), (Lie.EARLY_SIGHT, 20), (Lie.TORN, 1)])
def test_a_disk_that_lies_is_found_out(lie: Lie, first_seed: int) -> None:
    seeds = range(first_seed, first_seed + 3_000)

    faulty = next((story for story in stories(seeds, lie=lie) if story.faults), None)

    assert faulty is not None
