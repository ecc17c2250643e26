"""All audits in one command: ``python -m tests.audit`` in their short form, ``--full`` as long as a published run.

Each has a progress bar; the report is written as Markdown and JSON. The exit status is 1 if there is a fault.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.audit.flips import run_flip_audit
from tests.audit.kill import run_kill_audit
from tests.audit.load import SCENE_COUNT, run_load_audit
from tests.audit.opening import measure_opening
from tests.audit.power import run_power_audit
from tests.audit.report import Outcome, markdown_of, progress_of
from tests.audit.soak import run_soak

__all__ = ["main"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extent:
    cycle_count: int
    image_count: int
    recorded_count: int
    flip_count: int
    opened_byte_count: int
    scene_s: int
    soak_s: int


_SHORT = _Extent(
    cycle_count=20,
    image_count=200,
    recorded_count=500,
    flip_count=150,
    opened_byte_count=100_000_000,
    scene_s=1,
    soak_s=10,
)
_FULL = _Extent(
    cycle_count=2_000,
    image_count=50_000,
    recorded_count=20_000,
    flip_count=100_000,
    opened_byte_count=10_000_000_000,
    scene_s=120,
    soak_s=3_600,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run every audit."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--full", action="store_true", help="as long as a published run: hours")
    flags.add_argument("--seed", type=int, default=1, help="decides what is done (default 1)")
    flags.add_argument("--folder", type=Path, help="where the report goes, and what is audited (default: a new one)")
    given = flags.parse_args(argv)
    extent = _FULL if given.full else _SHORT
    folder = given.folder or Path(tempfile.mkdtemp(prefix="streamd-audit-"))
    outcomes = _outcomes(folder, extent, seed=given.seed)
    (folder / "report.md").write_text(markdown_of(outcomes))
    (folder / "report.json").write_bytes(orjson.dumps(outcomes, option=orjson.OPT_INDENT_2))
    sys.stdout.write(f"{markdown_of(outcomes)}\nThe report is in {folder}\n")
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def _outcomes(folder: Path, extent: _Extent, *, seed: int) -> list[Outcome]:
    places = {name: folder / name for name in ("kill", "power", "flips", "opening", "load")}
    for place in places.values():
        place.mkdir(parents=True)
    with progress_of("kill audit", extent.cycle_count) as told:
        kill = run_kill_audit(places["kill"], cycle_count=extent.cycle_count, seed=seed, told=told)
    with progress_of("power audit", extent.image_count) as told:
        power = run_power_audit(
            places["power"],
            image_count=extent.image_count,
            seed=seed,
            told=told,
            acknowledged=extent.recorded_count,
        )
    with progress_of("flipped bits", extent.flip_count) as told:
        flips = run_flip_audit(places["flips"], count=extent.flip_count, seed=seed, told=told)
    with progress_of("load", SCENE_COUNT) as told:
        load = run_load_audit(places["load"], seconds=extent.scene_s, seed=seed, told=told)
    with progress_of("soak", extent.soak_s) as told:
        soak = run_soak(folder / "soak", seconds=extent.soak_s, seed=seed, told=told)
    return [kill, power, flips, _opening(places["opening"], extent.opened_byte_count), load, soak]


def _opening(place: Path, byte_count: int) -> Outcome:
    started = time.monotonic()
    cold_s, *warm_s = measure_opening(place, byte_count=byte_count)
    figures = {
        "gigabytes stored": f"{byte_count / 1e9:g}",
        "seconds to the first answer, cold": f"{cold_s:.3f}",
        "the same, warm, the slowest of four": f"{max(warm_s):.3f}",
    }
    return Outcome("opening", seconds=time.monotonic() - started, figures=figures)


if __name__ == "__main__":
    sys.exit(main())
