"""Many simulated lives of a mapping keep its promises, and a planted fault breaks them.

``STREAMD_SIMULATION_SEEDS`` sets how many lives there are.
"""

import os
from dataclasses import replace

import pytest

from streamd.core.mapping_steps import Settle
from streamd.core.shard_processor import ShardProcessor
from streamd.core.shard_progress import ShardProgress
from tests.core.mapping_simulation import World

SEED_COUNT = int(os.environ.get("STREAMD_SIMULATION_SEEDS", "400"))
BLOCK = 50
FAULT_SEED_COUNT = 200


class ChecksInEarly(ShardProcessor):
    """Moves the checkpoint past what the function has not answered yet."""

    def _reached(self) -> str | None:
        return self._feed.last


class TakesErrorsForSuccess(ShardProcessor):
    """Lets a batch go although the function failed on it."""

    def failed(
        self, lane: int, *, error: str, now_ms: int, ticks_ms: int, jitter: float, request_id: str, version: str
    ) -> Settle:
        assert error
        return self.succeeded(
            lane, b"{}", now_ms=now_ms, ticks_ms=ticks_ms, jitter=jitter, request_id=request_id, version=version
        )


class ForgetsItsLanes(ShardProcessor):
    """Restarts at the checkpoint as if no lane had done anything beyond it."""

    def _forget(self) -> None:
        for lane in self._lanes:
            lane.finished = None

    def settled(self, settle: Settle) -> None:
        super().settled(settle)
        self._forget()


def live(
    last: int, *, first: int = 0, processor_class: type[ShardProcessor] = ShardProcessor, waits_for_parents: bool = True
) -> list[str]:
    """Live the lives of some seeds; an error names its seed."""
    histories = []
    for seed in range(first, last):
        try:
            histories.append(World(seed, processor_class=processor_class, waits_for_parents=waits_for_parents).run())
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    return histories


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, SEED_COUNT, BLOCK))
def test_every_life_of_a_mapping_keeps_its_promises(first: int) -> None:
    live(min(first + BLOCK, SEED_COUNT), first=first)


def test_a_seed_gives_the_same_history_each_time() -> None:
    first, second = live(20), live(20)

    assert first == second
    assert len(set(first)) == 20


class LosesItsWindow(ShardProcessor):
    """Stores the checkpoint without the window's state."""

    def progress_with(self, settle: Settle) -> ShardProgress:
        return replace(super().progress_with(settle), window=None)


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (ChecksInEarly, "was lost|out of order|is not stored"),
        (TakesErrorsForSuccess, "was lost|out of order|not isolated|is not stored"),
        (LosesItsWindow, "a state was lost or counted twice"),
        (ForgetsItsLanes, "repeated after its outcome was stored"),
    ],
)
def test_a_processor_that_breaks_a_promise_is_found_out(fault: type[ShardProcessor], finding: str) -> None:
    with pytest.raises(AssertionError, match=finding):
        live(FAULT_SEED_COUNT, processor_class=fault)


def test_children_that_do_not_wait_for_their_parents_are_found_out() -> None:
    with pytest.raises(AssertionError, match="a key went out of order"):
        live(FAULT_SEED_COUNT, waits_for_parents=False)
