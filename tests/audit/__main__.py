"""All audits in one command: ``python -m tests.audit`` in their short form, ``--full`` as long as a published run.

Each has a progress bar; the report is written as Markdown and JSON. The exit status is 1 if there is a fault.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.audit.flips import run_flip_audit
from tests.audit.histories import run_history_audit
from tests.audit.jumps import run_jump_audit
from tests.audit.kill import run_kill_audit
from tests.audit.load import SCENE_COUNT, run_load_audit
from tests.audit.opening import measure_opening
from tests.audit.power import run_power_audit
from tests.audit.report import Outcome, markdown_of, progress_of
from tests.audit.simulate import run_simulation_audit
from tests.audit.soak import run_soak

__all__ = ["main"]

_Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit: how much of it there is in either form, and what runs so much of it in a folder."""

    name: str
    short_count: int
    full_count: int
    run: Callable[[Path, int, int, _Told], Outcome]


def main(argv: Sequence[str] | None = None) -> int:
    """Run every audit."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--full", action="store_true", help="as long as a published run: hours")
    flags.add_argument("--seed", type=int, default=1, help="decides what is done (default 1)")
    flags.add_argument("--folder", type=Path, help="where the report goes, and what is audited (default: a new one)")
    given = flags.parse_args(argv)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="streamd-audit-"))
    outcomes = [_outcome(audit, folder, is_full=given.full, seed=given.seed) for audit in _AUDITS]
    (folder / "report.md").write_text(markdown_of(outcomes))
    (folder / "report.json").write_bytes(orjson.dumps(outcomes, option=orjson.OPT_INDENT_2))
    sys.stdout.write(f"{markdown_of(outcomes)}\nThe report is in {folder}\n")
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def _outcome(audit: _Audit, folder: Path, *, is_full: bool, seed: int) -> Outcome:
    place = folder / audit.name.replace(" ", "-")
    place.mkdir(parents=True)
    count = audit.full_count if is_full else audit.short_count
    with progress_of(audit.name, count) as told:
        return audit.run(place, count, seed, told)


def _kill(place: Path, count: int, seed: int, told: _Told) -> Outcome:
    return run_kill_audit(place, cycle_count=count, seed=seed, told=told)


def _power(place: Path, count: int, seed: int, told: _Told) -> Outcome:
    # Images are spread over the puts: of longer runs more are made.
    return run_power_audit(place, image_count=count, seed=seed, told=told, acknowledged=max(500, count * 2 // 5))


def _flips(place: Path, count: int, seed: int, told: _Told) -> Outcome:
    return run_flip_audit(place, count=count, seed=seed, told=told)


def _jumps(place: Path, count: int, seed: int, told: _Told) -> Outcome:
    return run_jump_audit(place, cycle_count=count, seed=seed, told=told)


def _histories(place: Path, count: int, seed: int, told: _Told) -> Outcome:
    return run_history_audit(place, count=count, seed=seed, told=told)


def _simulation(_: Path, count: int, seed: int, told: _Told) -> Outcome:
    return run_simulation_audit(seed_count=count, first_seed=seed, told=told)


def _load(place: Path, scene_s: int, seed: int, told: _Told) -> Outcome:
    return run_load_audit(place, seconds=scene_s, seed=seed, told=lambda done: told(done * scene_s // SCENE_COUNT))


def _soak(place: Path, seconds: int, seed: int, told: _Told) -> Outcome:
    return run_soak(place / "soak", seconds=seconds, seed=seed, told=told)


def _opening(place: Path, gigabyte_count_by_ten: int, _seed: int, told: _Told) -> Outcome:
    started = time.monotonic()
    cold_s, *warm_s = measure_opening(place, byte_count=gigabyte_count_by_ten * 100_000_000)
    told(gigabyte_count_by_ten)
    figures = {
        "gigabytes stored": f"{gigabyte_count_by_ten / 10:g}",
        "seconds to the first answer, cold": f"{cold_s:.3f}",
        "the same, warm, the slowest of four": f"{max(warm_s):.3f}",
    }
    return Outcome("opening", seconds=time.monotonic() - started, figures=figures)


_AUDITS = (
    _Audit("kill audit", 20, 2_000, _kill),
    _Audit("power audit", 200, 50_000, _power),
    _Audit("flipped bits", 150, 100_000, _flips),
    _Audit("audit of time", 10, 1_000, _jumps),
    _Audit("histories", 100, 10_000, _histories),
    _Audit("simulation", 300, 100_000, _simulation),
    _Audit("load and abuse", 1, 120, _load),
    _Audit("soak", 10, 3_600, _soak),
    _Audit("opening", 1, 100, _opening),
)


if __name__ == "__main__":
    sys.exit(main())
