"""The simulation audit: ``python -m tests.audit.simulate --seeds 100000 --processes 2``.

Each seed is a short story of the real engine, store and committer on a simulated disk, clock, loop and threads:
producers, readers, a group and reshards, days that pass, a clock that is set back, disks that fail and fill up, power
cuts and kills. After each of these everything is read: what was acknowledged or shown is there once, unaltered, in
order, until it expires. A seed tells the same story whenever it is run; ``--first-seed S --seeds 1 --log`` prints it.

``--lie NO_SYNC`` (or EARLY_SIGHT, TORN) runs on a disk that lies: the audit must find what is lost then.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from streamd.metrics import Metrics
from tests.audit.report import Outcome, progress_of, write_outcomes
from tests.audit.spawning import spawning
from tests.simulation.disk import Lie
from tests.simulation.run import Story, tell

__all__ = ["main", "run_simulation_audit", "stories"]

_CHUNK_COUNT = 200
_FAULT_COUNT_MAX = 1_000


def run_simulation_audit(
    *,
    seed_count: int,
    first_seed: int,
    told: Callable[[int], None],
    process_count: int | None = None,
    lie: Lie = Lie.NONE,
) -> Outcome:
    """Run so many seeds, on all cores unless told otherwise."""
    started = time.monotonic()
    figures: Counter[str] = Counter()
    faults: list[str] = []
    ends = range(first_seed, first_seed + seed_count)
    chunks = [ends[place : place + _CHUNK_COUNT] for place in range(0, seed_count, _CHUNK_COUNT)]
    with ProcessPoolExecutor(process_count or os.cpu_count(), mp_context=spawning()) as pool:
        for found, told_faults in pool.map(_counted, chunks, [lie] * len(chunks)):
            figures.update(found)
            faults += told_faults[: _FAULT_COUNT_MAX - len(faults)]
            told(figures["seeds"])
    return Outcome(
        "simulation",
        seed=first_seed,
        seconds=time.monotonic() - started,
        figures=dict(sorted(figures.items())),
        faults=faults,
    )


def stories(seeds: Sequence[int], *, lie: Lie = Lie.NONE) -> Iterator[Story]:
    """Tell the stories of seeds, one after another."""
    # What goes wrong is part of the story, and not for a log.
    logging.disable(logging.CRITICAL)
    # Costly to make, and decides nothing.
    metrics = Metrics()
    try:
        for seed in seeds:
            yield tell(seed, metrics, lie=lie)
    finally:
        logging.disable(logging.NOTSET)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seeds", type=int, default=1_000, help="how many are run (default 1,000)")
    flags.add_argument("--first-seed", type=int, default=1, help="the first of them (default 1)")
    flags.add_argument("--processes", type=int, help="how many at once (default: one for each core)")
    flags.add_argument("--lie", choices=[lie.name for lie in Lie], default=Lie.NONE.name, help="what the disk does")
    flags.add_argument("--log", action="store_true", help="print all that happens instead, seed after seed")
    given = flags.parse_args(argv)
    if given.log:
        for story in stories(range(given.first_seed, given.first_seed + given.seeds), lie=Lie[given.lie]):
            sys.stdout.write("\n".join([*story.log, *(f"fault: {fault}" for fault in story.faults), ""]))
        return 0
    with progress_of("simulation", given.seeds) as told:
        outcome = run_simulation_audit(
            seed_count=given.seeds,
            first_seed=given.first_seed,
            told=told,
            process_count=given.processes,
            lie=Lie[given.lie],
        )
    return write_outcomes([outcome], Path(tempfile.mkdtemp(prefix="streamd-simulation-audit-")))


def _counted(seeds: Sequence[int], lie: Lie) -> tuple[dict[str, int], list[str]]:
    figures: Counter[str] = Counter()
    faults: list[str] = []
    for story in stories(seeds, lie=lie):
        figures.update({"seeds": 1, "seeds with a fault": bool(story.faults), **story.figures})
        faults += [f"seed {story.seed}: {fault}" for fault in story.faults]
    return dict(figures), faults


if __name__ == "__main__":
    sys.exit(main())
