"""The benchmarks run: the smallest run of each writes its rows. How fast anything is, no test asks."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

__all__: list[str] = []

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 100


def _run(module: str, *flags: str, out: Path) -> tuple[dict[str, Any], str]:
    """Run a benchmark to its end; its document and what it printed."""
    words = [sys.executable, "-m", f"benchmarks.{module}", *flags, "--dir", str(out.parent), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    ended = subprocess.run(
        words, cwd=out.parent, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return orjson.loads((out / f"{module}.json").read_bytes()), ended.stdout


def _systems_by_work(document: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in document["rows"]:
        found.setdefault(row["work"], set()).add(row["system"])
    return found


def _faults(document: dict[str, Any]) -> list[str]:
    """List what the run found wrong; a generator that is the bound is nobody's fault on so small a machine."""
    return [fault for row in document["rows"] for fault in row["faults"] if "generator" not in fault]


def test_peers_measures_streamd_in_every_work_and_finds_all_that_was_acknowledged(tmp_path: Path) -> None:
    works = "put-record,put-records,get-records,latency,mixed,start"
    ours = {"streamd, 1 worker", "streamd, 1 worker, signed"}

    document, printed = _run("peers", "--quick", "--system", "1 worker", "--work", works, out=tmp_path / "out")

    found = _systems_by_work(document)
    assert found == dict.fromkeys(
        ("PutRecord", "PutRecords", "GetRecords", "put to consumer", "mixed", "start", "memory"), ours
    )
    assert all(row["median"] > 0 for row in document["rows"])
    assert not _faults(document)
    assert "## PutRecord: 1 KiB, 64 connections" in printed
    assert "| streamd, 1 worker, signed | synced before each answer |" in printed
    assert [path for path in tmp_path.iterdir() if path.name != "out"] == []


def test_peers_leaves_out_what_is_not_installed_and_says_how_to_install_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    document, printed = _run(
        "peers", "--work", "put-record", "--system", "kinesalite", "--npm-dir", str(nowhere), out=tmp_path / "out"
    )

    assert document["rows"] == []
    assert document["install_by_absent"]["kinesalite"] in {
        f"npm install --prefix {nowhere} kinesalite",
        "apt-get install nodejs npm",
    }
    assert "Left out: kinesalite is not installed" in printed


def test_limit_states_streamd_as_a_share_of_the_floor(tmp_path: Path) -> None:
    document, printed = _run("limit", "--quick", "--workers", "1", out=tmp_path / "out")

    found = _systems_by_work(document)
    assert {"floor", "streamd, 1 worker", "streamd, 1 worker, signed"} <= found["PutRecord"] & found["PutRecords"]
    assert "hash the body (SHA-256)" in found["steps"]
    assert all(row["ratio"] > 0 for row in document["rows"] if row["work"] != "steps")
    assert not _faults(document)
    assert "| share |" in printed


def test_runs_of_several_works_are_put_together(tmp_path: Path) -> None:
    folders = [tmp_path / "reads", tmp_path / "starts"]
    for folder, work in zip(folders, ("get-records", "start"), strict=True):
        _run("peers", "--quick", "--system", "1 worker", "--work", work, out=folder)
    words = [sys.executable, "-m", "benchmarks.summary", *map(str, folders), "--out", str(tmp_path / "all")]

    ended = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)

    assert ended.returncode == 0, ended.stderr
    document = orjson.loads((tmp_path / "all" / "peers.json").read_bytes())
    assert _systems_by_work(document).keys() == {"GetRecords", "start", "memory"}
    table = (tmp_path / "all" / "summary.md").read_text()
    assert "| work | streamd, 1 worker | streamd, 1 worker, signed |" in table
    assert table in ended.stdout


def test_profile_tells_where_the_time_of_a_put_goes(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.profile", "--work", "PutRecord 1 KiB", "--seconds", "1"]
    out = tmp_path / "out"

    ended = subprocess.run(
        [*words, "--dir", str(tmp_path), "--out", str(out)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )

    if "Permission Denied" in ended.stderr or "Operation not permitted" in ended.stderr:
        pytest.skip("only root may look into another process here")
    assert ended.returncode == 0, ended.stderr
    page = (out / "profile.md").read_text()
    assert "## PutRecord 1 KiB, 64 connections" in page
    assert "commits/s" in page
    # Which of our functions have a row depends on a second's samples.
    assert len(re.findall(r"^\| `streamd/[a-z0-9_/]+\.py: [\w.]+` \|", page, re.MULTILINE)) >= 3
    assert [path for path in tmp_path.iterdir() if path.name != "out"] == []


def test_http2_measures_the_door_and_http2_beside_http1(tmp_path: Path) -> None:
    document, printed = _run("http2", "--seconds", "0.3", "--rounds", "1", "--workers", "1", out=tmp_path / "out")

    found = _systems_by_work(document)
    assert "streamd's door (h2)" in found["library"]
    assert found["streamd"] == {"HTTP/1.1", "HTTP/2"}
    assert all(row["median"] > 0 for row in document["rows"])
    assert not _faults(document)
    assert "100 pushed streams" in printed


def test_push_measures_both_transports_and_idle_subscriptions(tmp_path: Path) -> None:
    flags = ["--seconds", "0.5", "--rounds", "1", "--workers", "1", "--subscriptions", "30", "--idle-seconds", "0.5"]

    document, printed = _run("push", *flags, "--npm-dir", str(tmp_path / "none"), out=tmp_path / "out")

    found = _systems_by_work(document)
    assert found["put to event"] == {"streamd, 1 worker, HTTP/1.1", "streamd, 1 worker, HTTP/2"}
    assert "30, an empty event every 5 s each" in found["idle subscriptions"]
    assert "kinesis-local is not installed" in printed


def test_checkpoints_measures_members_of_a_group(tmp_path: Path) -> None:
    flags = ["--seconds", "0.3", "--rounds", "1", "--workers", "1", "--leases", "3", "--members", "2"]

    document, _ = _run("checkpoints", *flags, out=tmp_path / "out")

    assert [(row["case"], row["median"] > 0) for row in document["rows"]] == [("3 leases, 2 members", True)]


def test_functions_measures_every_work_beside_its_aim(tmp_path: Path) -> None:
    document, printed = _run("functions", "--quick", "--seconds", "0.5", out=tmp_path / "out")

    values = {row["name"]: row["value"] for row in document["rows"]}
    assert sum(bool(row["aim"]) for row in document["rows"]) == 6
    assert values["no-op Invoke, 32 connections"] > 0
    assert values["no-op Invoke, refused"] == 0
    assert values["mapping, 100 records of 1 KiB, two environments"] > 0
    assert values["a poller that looks once a second, same function"] > 0
    assert 0 < values["its Init Duration, p50"] <= values["its Init Duration, p90"]
    assert "| put to handler start, p50 |" in printed
