"""Several runs as one: their rows in one table, one chart and one baseline.

``python -m benchmarks.summary FOLDER...`` takes the folders that `benchmarks.peers` wrote, each perhaps with other
works (a run of everything takes long, and can be cut in pieces), and writes into ``--out`` the whole report, a chart,
and tables of medians, fit for a README. Runs must be of one machine, or it refuses; ratios stay those within each run.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.baseline import merge
from benchmarks.charts import draw
from benchmarks.machine import Machine
from benchmarks.report import Report, figure
from benchmarks.results import Row

__all__ = ["compact_table", "growth_table", "main", "read_report", "united"]

_GROWTH = "growth"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
@click.option("--write-baseline", is_flag=True, help="Accept these runs' ratios.")
def main(*, folders: tuple[Path, ...], out: Path, write_baseline: bool) -> None:
    """Put the runs in FOLDERS together."""
    report = united([read_report(folder / "peers.json") for folder in folders])
    report.write(out, "peers")
    grown = [row for row in report.rows if row.work == _GROWTH]
    table = compact_table([row for row in report.rows if row.work != _GROWTH])
    text = "\n\n".join([table, *([growth_table(grown)] if grown else [])])
    (out / "summary.md").write_text(text + "\n")
    print(text)
    print(draw(report, out, "peers"))
    if write_baseline:
        merge(report, "peers")


def read_report(path: Path) -> Report:
    """Read the document of a run."""
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    rows = [Row(**{**row, "faults": tuple(row["faults"])}) for row in document.pop("rows")]
    machine = Machine(**document.pop("machine"))
    return Report(machine=machine, rows=rows, **document)


def united(reports: Sequence[Report]) -> Report:
    """Put reports of one machine together. Ends the command when they are of several."""
    first = reports[0]
    if len({(r.machine.core_count, r.machine.processor, r.machine.file_system) for r in reports}) > 1:
        sys.exit("The runs are of different machines: their figures cannot stand in one table.")
    return replace(
        first,
        machine=replace(first.machine, command="; ".join(report.machine.command for report in reports)),
        rows=[row for report in reports for row in report.rows],
        version_by_system={name: v for report in reports for name, v in report.version_by_system.items()},
        install_by_absent={name: c for report in reports for name, c in report.install_by_absent.items()},
        problems=[problem for report in reports for problem in report.problems],
    )


def compact_table(rows: Sequence[Row]) -> str:
    """Write medians, a line for each case and a column for each system; a star where the run found a fault."""
    names = list(dict.fromkeys(_column_of(row) for row in rows))
    lines = ["| work | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for (work, case), found in groupby(rows, key=lambda row: (row.work, row.case)):
        in_case = list(found)
        cells = [" / ".join(_cell(row) for row in in_case if _column_of(row) == name) for name in names]
        lines.append(f"| {work}: {case}, {in_case[0].unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth_table(rows: Sequence[Row]) -> str:
    """Write the medians of what grew, a line for each case."""
    lines = ["| what grew | medians |", "|---|---|"]
    for case, found in groupby(rows, key=lambda row: row.case):
        steps = [f"{row.system}: {figure(row.median)} {row.unit}{'*' if row.faults else ''}" for row in found]
        lines.append(f"| {case} | {'; '.join(steps)} |")
    return "\n".join(lines)


def _column_of(row: Row) -> str:
    """Name the system without its pipeline; where several were measured, they stand in one cell, in their order."""
    return row.system.partition(", pipeline")[0]


def _cell(row: Row) -> str:
    return figure(row.median) + ("*" if row.faults else "")


if __name__ == "__main__":
    main()
