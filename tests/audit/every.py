"""All audits in one command: ``python -m tests.audit`` in their short form, ``--full`` as long as a published run.

Those that measure a quiet machine run alone at the end, the others side by side, ``--jobs`` of them. There is a
progress bar for each; the report, Markdown and JSON, is written anew as each ends. The exit status is 1 if there is a
fault.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from tests.audit.command import CountedAudit
from tests.audit.flips import run_flip_audit
from tests.audit.histories import run_history_audit
from tests.audit.jumps import run_jump_audit
from tests.audit.kill import run_kill_audit
from tests.audit.load import SCENE_COUNT, run_load_audit
from tests.audit.opening import measure_opening
from tests.audit.power import run_power_audit
from tests.audit.report import Outcome, markdown_of, progresses_of, put_together, write_report
from tests.audit.simulate import run_simulation_audit
from tests.audit.soak import run_soak
from tests.audit.spawning import spawning

__all__ = ["main"]

_LOOK_S = 0.5
_IMAGES_PER_RECORDING = 2_000

_Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit: how much of it there is in either form, and what runs so much of it in a folder."""

    name: str
    short_count: int
    full_count: int
    run: CountedAudit
    is_alone: bool = False

    def count(self, *, is_full: bool) -> int:
        """Tell how much of it there is."""
        return self.full_count if is_full else self.short_count


def main(argv: Sequence[str] | None = None) -> int:
    """Run every audit."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--full", action="store_true", help="as long as a published run: hours")
    flags.add_argument("--seed", type=int, default=1, help="decides what is done (default 1)")
    flags.add_argument("--jobs", type=int, default=os.cpu_count(), help="audits at once (default: one for each core)")
    names = [audit.name for audit in _AUDITS]
    flags.add_argument("--only", action="append", choices=names, help="one of them; may be given again")
    flags.add_argument("--folder", type=Path, help="where the report goes, and what is audited (default: a new one)")
    given = flags.parse_args(argv)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="streamd-audit-"))
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Outcome] = {}
    totals = {audit.name: audit.count(is_full=given.full) for audit in _AUDITS if audit.name in (given.only or names)}
    with spawning().Manager() as manager, progresses_of(totals) as drawn:
        done_by_name: MutableMapping[str, int] = manager.dict()
        for job_count, is_alone in ((given.jobs, False), (1, True)):
            with ProcessPoolExecutor(job_count, mp_context=spawning(), max_tasks_per_child=1) as pool:
                chosen = [audit for audit in _AUDITS if audit.name in totals and audit.is_alone is is_alone]
                futures = [
                    pool.submit(_outcome, audit, folder, totals[audit.name], given.seed, done_by_name)
                    for audit in chosen
                ]
                for outcome in _as_they_end(futures, lambda: drawn(done_by_name)):
                    outcomes[outcome.name] = outcome
                    write_report(_in_order(outcomes), folder)
    sys.stdout.write(f"{markdown_of(_in_order(outcomes))}\nThe report is in {folder}\n")
    return 1 if any(outcome.faults for outcome in outcomes.values()) else 0


def _in_order(outcomes: dict[str, Outcome]) -> list[Outcome]:
    return [outcomes[audit.name] for audit in _AUDITS if audit.name in outcomes]


def _as_they_end(futures: Iterable[Future[Outcome]], look: Callable[[], None]) -> Iterable[Outcome]:
    left = set(futures)
    while left:
        ended, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        look()
        yield from (future.result() for future in ended)


def _outcome(audit: _Audit, folder: Path, count: int, seed: int, done_by_name: MutableMapping[str, int]) -> Outcome:
    started = time.monotonic()
    own = folder / audit.name.replace(" ", "-")

    def told(done: int) -> None:
        done_by_name[audit.name] = done

    try:
        own.mkdir()
        return replace(audit.run(own, count=count, seed=seed, told=told), name=audit.name)
    except Exception:
        # What hangs or does not start is a fault like others, and the other audits go on.
        faults = [traceback.format_exc()]
        return Outcome(audit.name, seed=seed, seconds=time.monotonic() - started, faults=faults)


def _power(folder: Path, *, count: int, seed: int, told: _Told) -> Outcome:
    # An image costs as much as there is in it: many short recordings, each with a seed of its own, show more.
    outcomes: list[Outcome] = []
    for start in range(0, count, _IMAGES_PER_RECORDING):
        recording = folder / str(start)
        recording.mkdir()
        part = min(_IMAGES_PER_RECORDING, count - start)
        told(start)
        outcomes.append(
            run_power_audit(
                recording, image_count=part, seed=seed + len(outcomes), told=lambda _done: None, acknowledged=500
            )
        )
        if outcomes[-1].faults:
            break
        shutil.rmtree(recording)
    told(count)
    return put_together(outcomes)


def _simulation(folder: Path, *, count: int, seed: int, told: _Told) -> Outcome:
    del folder  # nothing is written
    return run_simulation_audit(seed_count=count, first_seed=seed, told=told, process_count=1)


def _load(folder: Path, *, count: int, seed: int, told: _Told) -> Outcome:
    return run_load_audit(folder, seconds=count, seed=seed, told=lambda done: told(done * count // SCENE_COUNT))


def _soak(folder: Path, *, count: int, seed: int, told: _Told) -> Outcome:
    return run_soak(folder / "soak", seconds=count, seed=seed, told=told)


def _opening(folder: Path, *, count: int, seed: int, told: _Told) -> Outcome:
    """Open a store of so many tenths of a gigabyte."""
    del seed  # there is nothing to decide
    started = time.monotonic()
    cold_s, *warm_s = measure_opening(folder, byte_count=count * 100_000_000)
    told(count)
    figures = {
        "gigabytes stored": f"{count / 10:g}",
        "seconds to the first answer, cold": f"{cold_s:.3f}",
        "the same, warm, the slowest of four": f"{max(warm_s):.3f}",
    }
    return Outcome("opening", seconds=time.monotonic() - started, figures=figures)


# The longest first, so that none is left over at the end.
_AUDITS = (
    _Audit("soak", 10, 3_600, _soak),
    _Audit("flipped bits", 150, 100_000, run_flip_audit),
    _Audit("simulation", 300, 100_000, _simulation),
    _Audit("power cuts", 200, 50_000, _power),
    _Audit("kills", 20, 2_000, run_kill_audit),
    _Audit("time", 10, 1_000, run_jump_audit),
    _Audit("histories", 100, 10_000, run_history_audit),
    _Audit("load and abuse", 1, 120, _load, is_alone=True),
    _Audit("opening", 1, 100, _opening, is_alone=True),
)
