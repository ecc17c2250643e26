"""What a benchmark leaves behind: a Markdown table for people, a JSON document for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import orjson

from benchmarks.machine import Machine
from benchmarks.results import Row

__all__ = ["Report", "figure"]

_HEADINGS = ("system", "acknowledged when", "median", "min - max", "ratio", "p50 ms", "p99 ms", "server", "load", "")
_SHARE = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run: where, what, and which systems were left out, each with the command that installs it.

    ``shows_share`` turns the ratio over: how much of the reference a system reaches.
    """

    title: str
    machine: Machine
    reference: str
    rows: Sequence[Row]
    version_by_system: Mapping[str, str] = field(default_factory=dict)
    install_by_absent: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    shows_share: bool = False

    @property
    def faults(self) -> list[str]:
        """Everything that makes a figure doubtful."""
        return [f"{row.work}, {row.case}, {row.system}: {fault}" for row in self.rows for fault in row.faults]

    def markdown(self) -> str:
        """Write the tables, one for each work and case."""
        lines = [f"# {self.title}", "", f"{self.machine}.", f"`{self.machine.command}`", ""]
        if self.version_by_system:
            lines += ["; ".join(f"{name} {version}" for name, version in self.version_by_system.items()) + ".", ""]
        for name, command in self.install_by_absent.items():
            lines += [f"Left out: {name} is not installed (`{command}`).", ""]
        lines += [f"**{problem}**\n" for problem in self.problems]
        lines += [
            f"Share: how much of the {self.reference} is reached in the same run, by medians."
            if self.shows_share
            else f"Ratio: how many times better {self.reference} is in the same run, by medians.",
            "Server and load: cores that the system and the load generator were busy on.",
            "",
        ]
        for (work, case), rows in groupby(self.rows, key=lambda row: (row.work, row.case)):
            lines += [f"## {work}: {case}", "", *_table(list(rows), shows_share=self.shows_share), ""]
        return "\n".join(lines)

    def write(self, folder: Path, name: str) -> None:
        """Write both forms into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(self.markdown())
        (folder / f"{name}.json").write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n")


def figure(value: float | None) -> str:
    """Write a number with about three digits that mean something; a blank for none."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(rows: Sequence[Row], *, shows_share: bool) -> list[str]:
    """Write a table, without the columns that are empty in every row."""
    headings = [_SHARE if shows_share and heading == "ratio" else heading for heading in _HEADINGS]
    table = [headings, *(_cells(row, shows_share=shows_share) for row in rows)]
    kept = [place for place in range(len(headings)) if any(line[place] for line in table[1:])]
    lines = ["| " + " | ".join(line[place] for place in kept) + " |" for line in table]
    return [lines[0], "|" + "---|" * len(kept), *lines[1:]]


def _cells(row: Row, *, shows_share: bool) -> list[str]:
    share = f"{100 / row.ratio:.0f} %" if row.ratio else ""
    return [
        row.system,
        row.durability,
        f"{figure(row.median)} {row.unit}",
        f"{figure(row.minimum)} - {figure(row.maximum)}",
        share if shows_share else figure(row.ratio),
        figure(row.p50_ms),
        figure(row.p99_ms),
        figure(row.server_cores),
        figure(row.generator_cores),
        "; ".join(row.faults),
    ]
