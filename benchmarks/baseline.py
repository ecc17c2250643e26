"""The ratios that were accepted last, in ``baseline.json`` beside this module.

Ratios and not figures, because only they can be compared from one machine to the next. `comparison` names what moved;
it decides nothing, since a benchmark is no test.
"""

from pathlib import Path
from typing import Any

import orjson

from benchmarks.report import Report, figure
from benchmarks.results import Row

__all__ = ["BASELINE", "comparison", "merge"]

BASELINE = Path(__file__).with_name("baseline.json")
_MOVE_MIN = 0.15


def comparison(report: Report, kind: str, baseline: Path = BASELINE) -> list[str]:
    """Say which ratios differ from the accepted ones of this kind by more than the noise of a shared machine."""
    accepted = _read(baseline).get(kind, {"ratios": {}})["ratios"]
    moves = []
    for row in report.rows:
        before = accepted.get(_name(row))
        if before is None or row.ratio is None or abs(row.ratio / before - 1) < _MOVE_MIN:
            continue
        moves.append(f"{_name(row)}: ratio {figure(row.ratio)}, accepted {figure(before)}")
    return moves


def merge(report: Report, kind: str, baseline: Path = BASELINE) -> None:
    """Write this run's ratios over the accepted ones of the same kind and cases; others stay.

    Ratios of rows with a fault, and those of the reference to itself, are not taken.
    """
    document = _read(baseline)
    ratios = document.get(kind, {"ratios": {}})["ratios"]
    for row in report.rows:
        if row.ratio is not None and not row.faults and row.system != report.reference:
            ratios[_name(row)] = round(row.ratio, 3)
    document[kind] = {"reference": report.reference, "machine": str(report.machine), "ratios": ratios}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    baseline.write_bytes(orjson.dumps(document, option=options) + b"\n")


def _read(baseline: Path) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(baseline.read_bytes())
    return document


def _name(row: Row) -> str:
    return f"{row.work} / {row.case} / {row.system}"
