"""The table of several runs leaves nothing out."""

from benchmarks.results import Measurement, rows_of
from benchmarks.summary import compact_table

__all__: list[str] = []


def test_pipelines_of_one_system_stand_in_one_cell_and_a_fault_has_a_star() -> None:
    measurements = [
        Measurement(work="PutRecords", case="50 x 1 KiB", system=system, value=value, unit="MB/s", fault=fault)
        for system, value, fault in (
            ("streamd", 100.0, ""),
            ("Redis, pipeline 1", 10.0, ""),
            ("Redis, pipeline 50", 50.0, "lost"),
        )
    ]

    table = compact_table(rows_of(measurements, reference="streamd"))

    assert table.splitlines() == [
        "| work | streamd | Redis |",
        "|---|--:|--:|",
        "| PutRecords: 50 x 1 KiB, MB/s | 100 | 10.0 / 50.0* |",
    ]
