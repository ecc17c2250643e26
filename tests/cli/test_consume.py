"""`streamd consume`: batches as lines, for a pipe or for a program that answers with checkpoints."""

import base64
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.shell import Shell

__all__: list[str] = []

# It notes each record of each batch, answers for all, and dies as the file `plan` beside it says, one word a start:
# an `x` without an answer, an `h` after half of a batch, a `g` says nonsense first, and none of these lives on.
_PROGRAM = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
plan = folder / "plan"
words = plan.read_text() if plan.exists() else ""
plan.write_text(words[1:])
word = words[:1]
if word == "g":
    print("nonsense", flush=True)
    print('{"shardId": "shardId-000000000099", "checkpoint": "1"}', flush=True)
for line in sys.stdin:
    batch = json.loads(line)
    with (folder / "seen").open("a") as seen:
        seen.write(line)
    if word == "x":
        sys.exit(3)
    records = batch["records"]
    done = records[len(records) // 2 - 1] if word == "h" else records[-1]
    answer = {"shardId": batch["shardId"], "checkpoint": done["sequenceNumber"]}
    print(json.dumps(answer), flush=True)
    if word == "h":
        sys.exit(0)
with (folder / "seen").open("a") as seen:
    seen.write('{"end": true}\\n')
"""


@pytest.fixture
def stream(shell: Shell, stream_name: str) -> str:
    shell.at("stream", "create", stream_name, "--shards", "2")
    return stream_name


@pytest.fixture
def begin(shell: Shell, stream: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "streamd", "consume", stream, "--group", "g", "--member-timeout", "2"]
        process = subprocess.Popen(
            [*command, "--endpoint", shell.url, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def _exec(folder: Path) -> list[str]:
    program = folder / "program.py"
    program.write_text(_PROGRAM)
    return ["--exec", f"{sys.executable} {program} {folder}", "--batch-records", "10"]


def _put(shell: Shell, stream: str, *texts: str) -> None:
    assert shell.at("put", stream, *texts, "--key", "k").status == 0


def _texts(batch: Any) -> list[str]:
    return [base64.b64decode(record["data"]).decode() for record in batch["records"]]


def _seen(folder: Path) -> list[Any]:
    path = folder / "seen"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _until(shell: Shell, is_so: Callable[[], bool]) -> None:
    """Wait until something is so; each look asks the server something, so that it is no empty loop."""
    for _ in range(5000):
        if is_so():
            return
        shell.at("stream", "list")
    raise AssertionError("it never was so")


def test_batches_are_printed_and_not_again_to_the_next(
    shell: Shell, stream: str, begin: Callable[..., subprocess.Popen[bytes]]
) -> None:
    _put(shell, stream, "one", "two")
    first = begin()
    assert first.stdout is not None
    batch = orjson.loads(first.stdout.readline())
    first.terminate()
    status = first.wait()
    _put(shell, stream, "three")

    second = begin("--from", "latest")
    assert second.stdout is not None
    later = orjson.loads(second.stdout.readline())
    second.send_signal(signal.SIGINT)

    assert (_texts(batch), status) == (["one", "two"], 0)
    assert batch["endsShard"] is False
    assert batch["records"][0].keys() == {
        "data",
        "partitionKey",
        "sequenceNumber",
        "approximateArrivalTimestamp",
    }
    assert batch["shardId"].startswith("shardId-")
    assert _texts(later) == ["three"]
    assert later["epoch"] > batch["epoch"]
    assert second.wait() == 130


def test_a_new_group_begins_where_it_is_told(
    shell: Shell, stream: str, begin: Callable[..., subprocess.Popen[bytes]]
) -> None:
    _put(shell, stream, "old")

    process = begin("--from", "-0s")
    _until(shell, lambda: _owned(shell, stream) == 2)
    _put(shell, stream, "new")
    assert process.stdout is not None

    assert _texts(orjson.loads(process.stdout.readline())) == ["new"]


def test_a_program_gets_batches_and_what_it_did_not_answer_comes_again(
    shell: Shell, stream: str, begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    _put(shell, stream, *(str(number) for number in range(30)))
    (tmp_path / "plan").write_text("xhg")

    process = begin(*_exec(tmp_path))
    _until(shell, lambda: len(_seen(tmp_path)) >= 5)
    process.terminate()
    _, err = process.communicate()

    seen = [_texts(batch) for batch in _seen(tmp_path) if "records" in batch]
    numbers = [str(number) for number in range(30)]
    assert seen == [numbers[:10], numbers[:10], numbers[5:10], numbers[10:20], numbers[20:]]
    assert _seen(tmp_path)[-1] == {"end": True}
    assert process.returncode == 0
    assert b"ended with status 3; it is started again in 0.25 s" in err
    assert b"a line of the program is ignored: it is no JSON" in err
    assert b"a checkpoint is ignored" in err


def test_a_program_that_does_not_end_is_killed_and_its_batch_comes_to_the_next_member(
    shell: Shell, stream: str, begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    _put(shell, stream, "one")

    process = begin("--exec", f"trap '' TERM; read line; echo \"$line\" >{tmp_path}/seen; while :; do read x; done")
    _until(shell, lambda: len(_seen(tmp_path)) == 1)
    process.terminate()
    _, err = process.communicate()
    other = begin()
    assert other.stdout is not None
    again = orjson.loads(other.stdout.readline())

    assert b"it is killed" in err
    assert process.returncode == 0
    assert _texts(again) == ["one"]


def test_a_program_follows_a_shard_to_its_end_and_its_children(
    shell: Shell, stream: str, begin: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    _put(shell, stream, "before")
    process = begin(*_exec(tmp_path))
    for number in ("0", "1"):
        assert shell.at("stream", "split", stream, number).status == 0
    _put(shell, stream, "after")

    _until(shell, lambda: [_texts(batch) for batch in _seen(tmp_path)] == [["before"], ["after"]])
    process.terminate()

    assert process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--group", "g", "--from", "someday"], "is no start: give trim-horizon, latest, -10m or a time"),
        (["--group", "g", "--from", "4958"], "is no start"),
        ([], "Missing option '--group'"),
    ],
)
def test_what_cannot_be_is_refused(shell: Shell, arguments: list[str], sentence: str) -> None:
    said = shell.at("consume", "orders", *arguments)

    assert said.status == 2
    assert sentence in said.err


def test_a_stream_that_is_not_there_is_told(shell: Shell) -> None:
    printed = shell.at("consume", "no-such-stream", "--group", "g")
    handed_on = shell.at("consume", "no-such-stream", "--group", "g", "--exec", "cat")

    assert printed.status == handed_on.status == 1
    assert "`streamd stream list` shows the streams there are" in printed.err
    assert "`streamd stream list` shows the streams there are" in handed_on.err


def _owned(shell: Shell, stream: str) -> int:
    said = shell.at("group", "describe", stream, "g", "--json")
    return sum(bool(lease.get("Owner")) for lease in said.json()["Leases"]) if said.status == 0 else 0
