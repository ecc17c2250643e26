"""Figures: single measurements, and rows that sum up the rounds of one case and one system.

A row's ratio says how many times better the reference is than this system in the same run: above 1 the reference is
ahead. It is made of medians, and turned over where less is better. A case that the reference is not part of is
compared with its own first row: then flat is 1.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load import Latency

__all__ = ["Measurement", "Row", "rows_of"]

_GENERATOR_CORES_MAX = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure of one round. ``fault`` says why it must not be trusted; it is empty when all is well.

    A figure that is not compared stands beside others of which it is a part, and has no ratio.
    """

    work: str
    case: str
    system: str
    value: float
    unit: str
    is_more_better: bool = True
    durability: str = ""
    latency: Latency | None = None
    server_cores: float | None = None
    generator_cores: float | None = None
    fault: str = ""
    is_compared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The rounds of one case and one system. Latencies and cores are medians over the rounds."""

    work: str
    case: str
    system: str
    durability: str
    unit: str
    round_count: int
    minimum: float
    median: float
    maximum: float
    ratio: float | None
    p50_ms: float | None
    p99_ms: float | None
    server_cores: float | None
    generator_cores: float | None
    faults: tuple[str, ...]


def rows_of(measurements: Sequence[Measurement], *, reference: str) -> list[Row]:
    """Sum up rounds, in the order in which cases and systems were first measured."""
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    for measurement in measurements:
        found.setdefault((measurement.work, measurement.case, measurement.system), []).append(measurement)
    reference_by_case: dict[tuple[str, str], float] = {}
    for (work, case, system), rounds in found.items():
        if system == reference or (work, case) not in reference_by_case:
            reference_by_case[work, case] = statistics.median(measurement.value for measurement in rounds)
    rows = [_row(rounds, reference_by_case[work, case]) for (work, case, _), rounds in found.items()]
    places = {(row.work, row.case): place for place, row in reversed(list(enumerate(rows)))}
    return sorted(rows, key=lambda row: places[row.work, row.case])


def _row(rounds: Sequence[Measurement], reference: float) -> Row:
    first = rounds[0]
    values = [measurement.value for measurement in rounds]
    latencies = [measurement.latency for measurement in rounds if measurement.latency is not None]
    median = statistics.median(values)
    ratio = None
    if first.is_compared and reference and median:
        ratio = reference / median if first.is_more_better else median / reference
    generator_cores = _median(measurement.generator_cores for measurement in rounds)
    faults = {measurement.fault: None for measurement in rounds if measurement.fault}
    if generator_cores is not None and generator_cores > _GENERATOR_CORES_MAX:
        faults["the generator was the bound"] = None
    return Row(
        work=first.work,
        case=first.case,
        system=first.system,
        durability=first.durability,
        unit=first.unit,
        round_count=len(rounds),
        minimum=min(values),
        median=median,
        maximum=max(values),
        ratio=ratio,
        p50_ms=_median(latency.p50_ms for latency in latencies),
        p99_ms=_median(latency.p99_ms for latency in latencies),
        server_cores=_median(measurement.server_cores for measurement in rounds),
        generator_cores=generator_cores,
        faults=tuple(faults),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
