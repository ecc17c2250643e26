"""The consumer's benchmarks run and name what they measured. How fast anything is, no test asks."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

__all__: list[str] = []

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("work", "systems"),
    [
        ("consumer", {"Consumer", "Consumer on uvloop", "Consumer, by push"}),
        ("takeover", {"Consumer"}),
        ("unrest", {"Consumer"}),
    ],
)
def test_reading_is_measured_in_every_case(work: str, systems: set[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.sdk", "--only", work, "--records", "2000", "--rounds", "1"]

    ended = subprocess.run(
        [*command, "--dir", str(tmp_path), "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    rows = orjson.loads((tmp_path / "out" / f"sdk-{work}.json").read_bytes())["rows"]
    assert {row["system"] for row in rows} == systems
    assert all(not row["faults"] for row in rows)
    assert all(row["median"] == 0 for row in rows if row["work"] == "missing")
