"""All audits in one command (`python -m tests.audit`): its report, and its exit status."""

import sys
from pathlib import Path
from subprocess import run

import orjson

_AUDIT = [sys.executable, "-m", "tests.audit"]
_ROOT = Path(__file__).resolve().parents[2]


def test_the_chosen_audits_are_run_and_reported_for_people_and_programs(tmp_path: Path) -> None:
    command = [*_AUDIT, "--only", "histories", "--only", "flipped bits", "--seed", "3", "--folder", str(tmp_path)]
    ended = run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=300)

    assert ended.returncode == 0, ended.stderr
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    assert [(audit["name"], audit["seed"], audit["faults"]) for audit in report["audits"]] == [
        ("flipped bits", 3, []),
        ("histories", 3, []),
    ]
    assert report["audits"][0]["figures"]["flipped bits"] == 150
    text = (tmp_path / "report.md").read_text()
    assert "## flipped bits: no fault" in text
    assert text in ended.stdout


def test_an_audit_that_cannot_run_is_a_fault_and_the_others_go_on(tmp_path: Path) -> None:
    # Its folder is there already, so it cannot make it.
    (tmp_path / "simulation").mkdir()
    command = [*_AUDIT, "--only", "simulation", "--only", "flipped bits", "--folder", str(tmp_path)]
    ended = run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=300)

    assert ended.returncode == 1, ended.stderr
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    assert {audit["name"]: len(audit["faults"]) for audit in report["audits"]} == {"flipped bits": 0, "simulation": 1}
    assert "FileExistsError" in ended.stdout
