"""The audit of load and abuse: ``python -m tests.audit.load --seconds 30 --seed 1``.

Scenes of thousands of connections, slow ones, large bodies, a slow disk and clients that vanish, each before a fresh
daemon. Its memory stays within a stated bound (what the bodies at its door may hold, four times over: as text, decoded,
in a block and on its way to the disk; and a small body for each connection; twice the room of answers and two in the
making are less), its descriptors come back, a well-behaved
client beside is always served, and nobody's connection ends without an answer. Then a soak (``--soak``), see
``tests.audit.soak``.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from streamd.core.limits import BODY_BYTE_COUNT_MAX, DOOR_BYTE_COUNT_MAX, SMALL_BODY_BYTE_COUNT_MAX
from tests.audit.load_clients import STREAM, Bystander, Tally
from tests.audit.load_scenes import SCENES, Scene, Setting
from tests.audit.load_watch import sample_of, watching
from tests.audit.report import Outcome, progress_of, write_outcomes
from tests.audit.soak import run_soak
from tests.daemons import Daemon, start_daemon
from tests.durability.preloads import compiled, has_compiler
from tests.workers.wire import until

__all__ = ["SCENE_COUNT", "main", "memory_mib_max", "run_load_audit"]

SCENE_COUNT = len(SCENES)
_BAD_DISK = Path(__file__).parents[1] / "durability" / "bad_disk.c"
_COPY_COUNT = 4
_LOOK_PAUSE_S = 0.05
# Files that a worker opens later than at its start: pages, the first log.
_DESCRIPTOR_COUNT_MORE = 8
_MIB = 1 << 20


def memory_mib_max(connection_count: int) -> float:
    """Tell how much memory a worker may take beyond what it has when it is idle."""
    bodies = _COPY_COUNT * (DOOR_BYTE_COUNT_MAX + BODY_BYTE_COUNT_MAX)
    return (bodies + connection_count * SMALL_BODY_BYTE_COUNT_MAX) / _MIB


def run_load_audit(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    told: Callable[[int], None],
    share: float = 1.0,
    only: Collection[str] | None = None,
) -> Outcome:
    """Play every scene for so many seconds, with all of its clients or a share of them."""
    started = time.monotonic()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures: dict[str, Any] = {}
    faults: list[str] = []
    for number, scene in enumerate(SCENES):
        if only is not None and scene.name not in only:
            continue
        place = folder / f"scene-{number}"
        place.mkdir(parents=True)
        told_figures, found = _play(_shrunk(scene, share), place, seconds=seconds, random=Random(seed * 100 + number))
        figures |= {f"{scene.name}: {what}": figure for what, figure in told_figures.items()}
        faults += found
        told(number + 1)
    return Outcome("load", seed=seed, seconds=time.monotonic() - started, figures=figures, faults=faults)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit with a progress bar, and print what was found."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [scene.name for scene in SCENES]
    flags.add_argument("--only", action="append", choices=names, help="one of the scenes; may be given again")
    flags.add_argument("--seconds", type=float, default=10, help="how long each scene lasts (default 10)")
    flags.add_argument("--soak", type=float, default=60, help="how long the soak lasts, 0 for none (default 60)")
    flags.add_argument("--seed", type=int, default=1, help="decides what is done (default 1)")
    given = flags.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="streamd-load-audit-"))
    with progress_of("scenes", SCENE_COUNT) as told:
        load = run_load_audit(folder, seconds=given.seconds, seed=given.seed, told=told, only=given.only or names)
    if not given.soak:
        return write_outcomes([load], folder)
    with progress_of("soak", int(given.soak)) as told:
        soak = run_soak(folder / "soak", seconds=given.soak, seed=given.seed, told=told)
    return write_outcomes([load, soak], folder)


def _shrunk(scene: Scene, share: float) -> Scene:
    return replace(scene, client_count=int(scene.client_count * share))


def _play(scene: Scene, place: Path, *, seconds: float, random: Random) -> tuple[dict[str, Any], list[str]]:
    environment = {}
    if scene.has_slow_disk:
        if not has_compiler():
            return {"not played": "there is no C compiler to make the library that slows the disk"}, []
        environment = {"LD_PRELOAD": str(compiled(_BAD_DISK, place)), "BAD_DISK": str(place)}
    daemon = start_daemon(place / "data", environment=environment)
    try:
        daemon.client().create_stream(StreamName=STREAM, ShardCount=4)
        if scene.has_slow_disk:
            (place / "syncs-slow").touch()
        return _judged(scene, daemon, seconds=seconds, random=random)
    finally:
        (place / "syncs-slow").unlink(missing_ok=True)
        daemon.stop()


def _judged(scene: Scene, daemon: Daemon, *, seconds: float, random: Random) -> tuple[dict[str, Any], list[str]]:
    idle = sample_of(daemon)
    setting = Setting(port=daemon.port, seconds=seconds, random=random, tally=Tally())
    bystander = Bystander(daemon.port)
    with watching(daemon, pause_s=_LOOK_PAUSE_S) as watch:
        asyncio.run(_together(scene, setting, bystander))
    faults = setting.tally.faults(scene.name, allowed=scene.allowed)
    faults += bystander.tally.faults(f"{scene.name}: beside it", allowed=frozenset({"200"}))
    bound_mib = idle.memory_mib + memory_mib_max(scene.client_count)
    if watch.most.memory_mib > bound_mib:
        faults.append(f"{scene.name}: {watch.most.memory_mib:,.0f} MiB of memory, over {bound_mib:,.0f}")
    try:
        until(lambda: sample_of(daemon).descriptor_count <= idle.descriptor_count + _DESCRIPTOR_COUNT_MORE)
    except AssertionError:
        faults.append(f"{scene.name}: {sample_of(daemon).descriptor_count} descriptors stay open")
    if "Traceback" in daemon.log.read_text():
        faults.append(f"{scene.name}: there is a traceback in the log")
    figures = {
        "answers": _text(setting.tally),
        "beside it": f"{_text(bystander.tally)}, the slowest in {bystander.tally.slowest_s:.2f} s",
        "memory, idle, most, bound": f"{idle.memory_mib:,.0f}, {watch.most.memory_mib:,.0f}, {bound_mib:,.0f} MiB",
        "descriptors, idle, most": f"{idle.descriptor_count:,}, {watch.most.descriptor_count:,}",
    }
    return figures, faults


async def _together(scene: Scene, setting: Setting, bystander: Bystander) -> None:
    is_over = False
    async with asyncio.TaskGroup() as group:
        group.create_task(bystander.run(lambda: is_over))
        await scene.play(setting, scene.client_count)
        is_over = True


def _text(tally: Tally) -> str:
    return ", ".join(f"{count:,} x {what}" for what, count in sorted(tally.answers.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
