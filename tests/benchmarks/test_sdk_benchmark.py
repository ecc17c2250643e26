"""The SDK's benchmark runs and names what it measured. How fast anything is, no test asks."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

__all__: list[str] = []

_ROOT = Path(__file__).resolve().parents[2]
_CASES = {
    "Producer",
    "Producer on uvloop",
    "Producer, aggregating",
    "Producer, ordered",
    "Producer, put_many of 500",
    "boto3, put_records in turn",
}


def test_the_producer_is_measured_in_every_case(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.sdk", "--only", "producer", "--records", "2000", "--rounds", "1"]

    ended = subprocess.run(
        [*command, "--dir", str(tmp_path), "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    rows = orjson.loads((tmp_path / "out" / "sdk-producer.json").read_bytes())["rows"]
    assert {row["system"] for row in rows} == _CASES
    # The daemon's processor time is counted in ticks, and so few records may take less than one.
    assert all(row["median"] > 0 for row in rows if row["work"] != "processor time of the daemon")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
