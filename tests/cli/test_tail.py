"""`streamd tail`: every record, in the order of arrival, through reshards, to people and to programs."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from tests.cli.shell import Shell


@pytest.fixture
def stream(shell: Shell, stream_name: str) -> str:
    shell.at("stream", "create", stream_name, "--shards", "4")
    return stream_name


@contextmanager
def _following(shell: Shell, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "streamd", "tail", *arguments, "--endpoint", shell.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def _next(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return orjson.loads(process.stdout.readline())


def _data(lines: list[Any]) -> list[str]:
    return [line["data"] for line in lines]


def test_all_shards_are_merged_by_arrival(shell: Shell, stream: str) -> None:
    for number in range(40):
        shell.at("put", stream, str(number), "--key", f"key-{number}")

    lines = shell.at("tail", stream, "--no-follow", "--json").json_lines()

    assert _data(lines) == [str(number) for number in range(40)]
    assert len({line["shard"] for line in lines}) == 4
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_people_get_time_shard_key_and_data_in_one_line(shell: Shell, stream: str) -> None:
    shell.at("put", stream, "héllo\nwörld\x1b[31m\ttab", "--key", "my key")

    said = shell.at("tail", stream, "--no-follow")

    moment, shard, rest = said.out.split(" ", 2)
    assert moment.endswith("Z")
    assert shard.startswith("shardId-")
    assert rest == "my key héllo\\nwörld\\x1b[31m\\ttab\n"


def test_data_that_is_no_text_is_written_as_base64(shell: Shell, stream: str, kinesis: Any) -> None:
    data = b"\xff\x00\xfe"
    kinesis.put_record(StreamName=stream, PartitionKey="k", Data=data)

    text, document = (
        shell.at("tail", stream, "--no-follow"),
        shell.at("tail", stream, "--no-follow", "--json"),
    )

    encoded = base64.b64encode(data).decode()
    assert text.out.endswith(f" k base64:{encoded}\n")
    assert document.json()["data_base64"] == encoded
    assert "data" not in document.json()


def test_records_from_before_and_after_reshards_come_in_order(shell: Shell, stream: str) -> None:
    changes = [["split", stream, "0"], ["merge", stream, "1", "2"], ["scale", stream, "2"]]
    expected = []
    for number, change in enumerate(changes):
        expected += [f"{number}-{letter}" for letter in "abcdef"]
        shell.at("put", stream, *expected[-6:], "--key", "same")
        assert shell.at("stream", *change).status == 0
    shell.at("put", stream, "last", "--key", "same")

    lines = shell.at("tail", stream, "--no-follow", "--json").json_lines()

    assert _data(lines) == [*expected, "last"]


def test_new_records_are_followed_through_reshards(shell: Shell, stream: str) -> None:
    with _following(shell, stream, "--from", "horizon", "--json") as process:
        for number, change in enumerate([["split", stream, "0"], ["scale", stream, "3"], ["scale", stream, "6"]]):
            shell.at("put", stream, f"before {number}", "--key", "k")
            assert _next(process)["data"] == f"before {number}"
            assert shell.at("stream", *change).status == 0
            shell.at("put", stream, f"after {number}", "--key", "k")
            assert _next(process)["data"] == f"after {number}"


def test_following_from_now_leaves_older_records_out(shell: Shell, stream: str, kinesis: Any) -> None:
    shell.at("put", stream, "old")

    # Nobody can tell from outside when a reader has begun, so records come until it shows one.
    with _following(shell, stream, "--json", "--max", "1") as process:
        while process.poll() is None:
            kinesis.put_record(StreamName=stream, PartitionKey="k", Data=b"new")
        assert process.stdout is not None
        line = orjson.loads(process.stdout.read())

    assert line["data"] == "new"


def test_a_held_answer_comes_at_once_when_a_record_does(shell: Shell, stream: str) -> None:
    with _following(shell, stream, "--from", "horizon", "--json") as process:
        shell.at("put", stream, "first")
        _next(process)

        began_s = time.monotonic()
        shell.at("put", stream, "second")
        _next(process)
        took_s = time.monotonic() - began_s

    # A reader that asked once a second or less often would need half of that on average.
    assert took_s < 1


def test_the_end_comes_after_the_number_of_records_asked_for(shell: Shell, stream: str) -> None:
    shell.at("put", stream, *map(str, range(20)), "--key", "k")

    followed = shell.at("tail", stream, "--from", "horizon", "--max", "3", "--json")
    at_once = shell.at("tail", stream, "--no-follow", "--max", "5", "--json")

    assert _data(followed.json_lines()) == ["0", "1", "2"]
    assert _data(at_once.json_lines()) == ["0", "1", "2", "3", "4"]


def test_reading_begins_at_a_sequence_number(shell: Shell, stream: str) -> None:
    places = shell.at("put", stream, "a", "b", "c", "--key", "k", "--json").json_lines()

    said = shell.at(
        *("tail", stream, "--no-follow", "--json", "--shard", places[1]["shard"]),
        *("--from", places[1]["sequence_number"]),
    )

    assert _data(said.json_lines()) == ["b", "c"]


def test_reading_begins_at_a_time(shell: Shell, stream: str) -> None:
    shell.at("put", stream, "a", "--key", "k")
    shell.at("stream", "split", stream, "0")
    shell.at("put", stream, "b", "--key", "k")
    times = [line["time"] for line in shell.at("tail", stream, "--no-follow", "--json").json_lines()]

    since_b = shell.at("tail", stream, "--no-follow", "--json", "--from", times[1])
    lately = shell.at("tail", stream, "--no-follow", "--json", "--from", "-1h")

    assert times[0] < times[1]
    assert _data(since_b.json_lines()) == ["b"]
    assert _data(lately.json_lines()) == ["a", "b"]


def test_one_shard_is_read_to_its_end_and_no_further(shell: Shell, stream: str) -> None:
    place = shell.at("put", stream, "before", "--key", "k", "--json").json()
    shell.at("stream", "split", stream, place["shard"])
    shell.at("put", stream, "after", "--key", "k")

    said = shell.at("tail", stream, "--shard", str(int(place["shard"][-12:])), "--from", "horizon", "--json")

    assert said.status == 0
    assert _data(said.json_lines()) == ["before"]


def test_a_quiet_stream_ends_at_once_when_nobody_follows(shell: Shell, stream: str) -> None:
    said = shell.at("tail", stream, "--no-follow")

    assert (said.status, said.out, said.err) == (0, "", "")


def test_thousands_of_records_on_many_shards_come_exactly_once(shell: Shell, stream_name: str, kinesis: Any) -> None:
    shell.at("stream", "create", stream_name, "--shards", "40")
    for batch in range(12):
        entries = [{"Data": f"{batch}-{number}".encode(), "PartitionKey": f"{batch}-{number}"} for number in range(500)]
        assert kinesis.put_records(StreamName=stream_name, Records=entries)["FailedRecordCount"] == 0

    lines = shell.at("tail", stream_name, "--no-follow", "--json").json_lines()

    assert sorted(_data(lines)) == sorted(f"{batch}-{number}" for batch in range(12) for number in range(500))
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--from", "yesterday"], "is no start"),
        (["--from", "4" * 56], "say which by --shard"),
        (["--max", "0"], "x>=1"),
    ],
)
def test_a_start_that_is_none_is_refused_with_status_2(shell: Shell, flags: list[str], reason: str) -> None:
    said = shell.at("tail", "any", *flags)

    assert said.status == 2
    assert reason in said.err
    assert said.err.count("\n") == 1


def test_a_shard_that_is_not_there_is_told(shell: Shell, stream: str) -> None:
    said = shell.at("tail", stream, "--shard", "77", "--from", "horizon")

    assert said.status == 1
    assert "shardId-000000000077" in said.err


def test_a_reader_that_goes_away_ends_it_quietly(shell: Shell, stream: str) -> None:
    shell.at("put", stream, "first")

    with _following(shell, stream, "--from", "horizon", "--json") as process:
        _next(process)
        assert process.stdout is not None
        process.stdout.close()
        shell.at("put", stream, "second")
        status = process.wait(30)
        assert process.stderr is not None
        err = process.stderr.read()

    assert (status, err) == (0, b"")


def test_ctrl_c_ends_it_quietly(shell: Shell, stream: str) -> None:
    shell.at("put", stream, "first")

    with _following(shell, stream, "--from", "horizon", "--json") as process:
        _next(process)
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
        assert process.stderr is not None
        err = process.stderr.read()

    assert (status, err) == (130, b"")


def test_lines_put_by_a_pipe_that_stays_open_arrive_while_it_does(shell: Shell, stream: str) -> None:
    command = [sys.executable, "-m", "streamd", "put", stream, "--json", "--endpoint", shell.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"typed\n")
        place = _next(process)
        arrived = shell.at("tail", stream, "--no-follow", "--json").json()
        process.stdin.close()
        status = process.wait(30)

    assert (status, arrived["data"], arrived["sequence_number"]) == (0, "typed", place["sequence_number"])
