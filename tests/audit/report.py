"""What an audit found, for people and programs, and how far it is."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamd import __version__

__all__ = ["Outcome", "markdown_of", "progress_of", "write_outcomes"]

_FAULT_COUNT_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=False)
class Outcome:
    """One audit's: its name, the seed it ran with, how long, what was counted, and the faults."""

    name: str
    seed: int | None = None
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()


@contextmanager
def progress_of(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give what hears how far the audit is; draws a bar at a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


def markdown_of(outcomes: Sequence[Outcome]) -> str:
    """Write a report for people."""
    lines = [f"# Audits of streamd {__version__}, {datetime.now(UTC):%Y-%m-%d}", ""]
    for outcome in outcomes:
        seed = "" if outcome.seed is None else f", seed {outcome.seed}"
        verdict = "no fault" if not outcome.faults else f"{len(outcome.faults):,} faults"
        lines += [f"## {outcome.name}: {verdict}", "", f"{outcome.seconds:,.0f} s{seed}", ""]
        lines += [f"- {what}: {_text(count)}" for what, count in outcome.figures.items()]
        lines += [f"- **fault**: {fault}" for fault in outcome.faults[:_FAULT_COUNT_SHOWN]]
        lines.append("")
    return "\n".join(lines)


def write_outcomes(outcomes: Sequence[Outcome], folder: Path) -> int:
    """Print the report, and give the exit status; what the audits left stays only if there was a fault."""
    sys.stdout.write(markdown_of(outcomes))
    if any(outcome.faults for outcome in outcomes):
        (folder / "report.json").write_bytes(orjson.dumps(outcomes, option=orjson.OPT_INDENT_2))
        sys.stdout.write(f"What the audit left is in {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


def _text(count: object) -> str:
    return f"{count:,}" if isinstance(count, int) else str(count)
