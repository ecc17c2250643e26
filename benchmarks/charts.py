"""The chart of a run: for each case a bar for each system, as PNG and SVG.

Drawn with matplotlib, which is in the `bench` extra; without it there is a sentence instead of a chart.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.report import Report, figure
from benchmarks.results import Row

__all__ = ["draw"]

_OURS_COLOUR = "#1f6f5c"
_PEER_COLOUR = "#b9b2a3"
_ROW_HEIGHT_INCHES = 0.28
_HEAD_HEIGHT_INCHES = 0.75
_WIDTH_INCHES = 13.0
_COLUMN_COUNT = 2


def draw(report: Report, folder: Path, name: str) -> str:
    """Draw the chart; a sentence that says where it is or why it is not."""
    if importlib.util.find_spec("matplotlib") is None:
        return "No chart: matplotlib is not installed (pip install -e '.[bench]')."
    # By name and only here: it takes a second to load, and the checks run where it is not installed.
    importlib.import_module("matplotlib").use("Agg")
    plt = importlib.import_module("matplotlib.pyplot")
    cases = [list(rows) for _, rows in groupby(report.rows, key=lambda row: (row.work, row.case))]
    # A bar alone says nothing that its number does not.
    cases = [rows for rows in cases if len(rows) > 1]
    if not cases:
        return "No chart: there is nothing to compare."
    lines = [cases[place : place + _COLUMN_COUNT] for place in range(0, len(cases), _COLUMN_COUNT)]
    heights = [_HEAD_HEIGHT_INCHES + _ROW_HEIGHT_INCHES * max(map(len, line)) for line in lines]
    drawing, panels = plt.subplots(
        len(lines),
        _COLUMN_COUNT,
        figsize=(_WIDTH_INCHES, sum(heights) + _HEAD_HEIGHT_INCHES),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for place, panel in enumerate(panels.flat):
        if place < len(cases):
            _draw_case(panel, cases[place])
        else:
            panel.set_axis_off()
    drawing.suptitle(str(report.machine), fontsize=7)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("png", "svg"):
        drawing.savefig(folder / f"{name}.{suffix}", dpi=110)
    plt.close(drawing)
    return f"Chart: {folder / name}.png and .svg"


def _draw_case(panel: Any, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    medians = [row.median for row in rows]
    spans = [[row.median - row.minimum for row in rows], [row.maximum - row.median for row in rows]]
    colours = [
        _OURS_COLOUR if row.work == "growth" or row.system.startswith("streamd") else _PEER_COLOUR for row in rows
    ]
    panel.barh(places, medians, xerr=spans, color=colours, error_kw={"elinewidth": 0.8, "capsize": 2})
    panel.set_yticks(places, [row.system for row in rows], fontsize=8)
    panel.invert_yaxis()
    panel.set_title(f"{rows[0].work}: {rows[0].case} ({rows[0].unit})", fontsize=9, loc="left")
    panel.tick_params(axis="x", labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.12)
    for place, row in zip(places, rows, strict=True):
        panel.annotate(
            figure(row.median), (row.maximum, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
        )
