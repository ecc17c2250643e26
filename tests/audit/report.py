"""What an audit found, for people and programs, and how far it is."""

import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamd import __version__

__all__ = ["Outcome", "markdown_of", "progress_of", "progresses_of", "put_together", "write_outcomes", "write_report"]

_FAULT_COUNT_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=False)
class Outcome:
    """One audit's: its name, the seed it ran with, how long, what was counted, and the faults."""

    name: str
    seed: int | None = None
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()


def put_together(outcomes: Iterable[Outcome]) -> Outcome:
    """Make one of several runs of the same audit: the first one's name and seed, all that was counted and found."""
    first, *others = outcomes
    figures = Counter(first.figures)
    for other in others:
        figures.update(other.figures)
    runs = [first, *others]
    return replace(
        first,
        seconds=sum(run.seconds for run in runs),
        figures=dict(sorted(figures.items())),
        faults=[fault for run in runs for fault in run.faults],
    )


@contextmanager
def progresses_of(totals: Mapping[str, int]) -> Iterator[Callable[[Mapping[str, int]], None]]:
    """Give what hears how far each audit is; draws a bar for each at a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done_by_name: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {name: progress.add_task(name, total=total) for name, total in totals.items()}

        def draw(done_by_name: Mapping[str, int]) -> None:
            for name, done in done_by_name.items():
                progress.update(tasks[name], completed=done)

        yield draw


@contextmanager
def progress_of(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give what hears how far one audit is; draws a bar at a terminal."""
    with progresses_of({name: total}) as drawn:
        yield lambda done: drawn({name: done})


def markdown_of(outcomes: Sequence[Outcome]) -> str:
    """Write a report for people."""
    lines = [f"# Audits of streamd {__version__}, {datetime.now(UTC):%Y-%m-%d}", "", _origin(), ""]
    for outcome in outcomes:
        seed = "" if outcome.seed is None else f", seed {outcome.seed}"
        verdict = "no fault" if not outcome.faults else f"{len(outcome.faults):,} faults"
        lines += [f"## {outcome.name}: {verdict}", "", f"{outcome.seconds:,.0f} s{seed}", ""]
        lines += [f"- {what}: {_text(count)}" for what, count in outcome.figures.items()]
        lines += [f"- **fault**: {fault}" for fault in outcome.faults[:_FAULT_COUNT_SHOWN]]
        lines.append("")
    return "\n".join(lines)


def write_report(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write the report for people and for programs."""
    (folder / "report.md").write_text(markdown_of(outcomes))
    report = {"streamd": __version__, "ended": datetime.now(UTC), "origin": _origin(), "audits": outcomes}
    (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def write_outcomes(outcomes: Sequence[Outcome], folder: Path) -> int:
    """Print the report, and give the exit status; what the audits left stays only if there was a fault."""
    sys.stdout.write(markdown_of(outcomes))
    if any(outcome.faults for outcome in outcomes):
        write_report(outcomes, folder)
        sys.stdout.write(f"What the audit left is in {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


def _origin() -> str:
    """Tell what was audited where: the commit of the checkout, and the machine."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    commit = told.stdout.strip() or "of no checkout"
    return f"Commit {commit}; Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores."


def _text(count: object) -> str:
    return f"{count:,}" if isinstance(count, int) else str(count)
