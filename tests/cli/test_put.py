"""`streamd put`: what goes in comes out, and what cannot go in is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.shell import Said, Shell, run_program
from tests.daemons import Daemon

MIB = 1 << 20


@pytest.fixture
def stream(shell: Shell, stream_name: str) -> str:
    shell.at("stream", "create", stream_name, "--shards", "2")
    return stream_name


@pytest.fixture
def stored(shell: Shell, stream: str) -> Callable[[], list[Any]]:
    """Give what reads the whole stream."""

    def read() -> list[Any]:
        return shell.at("tail", stream, "--no-follow", "--json").json_lines()

    return read


Stored = Callable[[], list[Any]]


def _data(records: list[Any]) -> list[str]:
    return sorted(record["data"] for record in records)


def test_arguments_become_records(shell: Shell, stream: str, stored: Stored) -> None:
    said = shell.at("put", stream, "one", "two words", "", "--", "-dash")

    assert (said.status, said.err) == (0, "")
    # Each random key has 16 characters, which count as well.
    assert said.out == f"{stream}: 4 records (81 bytes) put in 1 call\n"
    assert _data(stored()) == ["", "-dash", "one", "two words"]


def test_lines_of_stdin_become_records_and_empty_ones_do_not(shell: Shell, stream: str, stored: Stored) -> None:
    said = run_program("put", stream, "--endpoint", shell.url, stdin=b"one\n\ntwo\r\nthree")

    assert said.out.startswith(f"{stream}: 3 records")
    assert _data(stored()) == ["one", "three", "two\r"]


def test_lines_of_several_files_become_records(shell: Shell, stream: str, stored: Stored, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.txt")]
    files[0].write_bytes(b"one\ntwo\n")
    files[1].write_bytes(b"three\n")

    said = shell.at("put", stream, "--file", str(files[0]), "-f", str(files[1]))

    assert said.status == 0
    assert _data(stored()) == ["one", "three", "two"]


def test_a_whole_file_is_one_record(shell: Shell, stream: str, kinesis: Any, tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(bytes(range(256)) * 100)

    said = shell.at("put", stream, "--whole", "--file", str(file), "--key", "picture", "--json")

    place = said.json()
    assert (place["source"], place["line"], place["key"]) == (str(file), None, "picture")
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=place["shard"], ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    [record] = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert record["Data"] == file.read_bytes()
    assert record["SequenceNumber"] == place["sequence_number"]


def test_a_key_for_all_keeps_them_in_order(shell: Shell, stream: str, stored: Stored) -> None:
    lines = [f"line {number}" for number in range(1200)]

    said = run_program("put", stream, "--key", "k", "--endpoint", shell.url, stdin="\n".join(lines).encode())

    assert said.out.startswith(f"{stream}: 1200 records")
    assert [(record["key"], record["data"]) for record in stored()] == [("k", line) for line in lines]


def test_keys_come_from_a_field_of_each_document(shell: Shell, stream: str, stored: Stored) -> None:
    documents = [{"user": {"id": "ann"}}, {"user": {"id": 7}}, {"user": {"id": "bob"}}]

    said = shell.at("put", stream, "--key-field", "user.id", *(orjson.dumps(each).decode() for each in documents))

    assert said.status == 0
    assert sorted(record["key"] for record in stored()) == ["7", "ann", "bob"]


def test_without_a_key_records_are_spread_over_the_shards(shell: Shell, stream: str) -> None:
    said = shell.at("put", stream, "--json", *map(str, range(100)))

    assert {place["shard"] for place in said.json_lines()} == {"shardId-000000000000", "shardId-000000000001"}


def test_json_tells_each_record_s_place_in_the_order_of_the_input(shell: Shell, stream: str) -> None:
    said = run_program("put", stream, "--json", "--endpoint", shell.url, stdin=b"a\n\nb\n" * 400)

    places = said.json_lines()
    assert [place["line"] for place in places] == [line for line in range(1, 1201) if line % 3 != 2]
    assert set(places[0]) == {"source", "line", "key", "shard", "sequence_number"}


def test_a_line_too_large_is_named_and_the_others_go_on(shell: Shell, stream: str, stored: Stored) -> None:
    stdin = b"before\n" + b"x" * (3 * MIB) + b"\nafter\n" + b"y" * MIB

    said = run_program("put", stream, "--key", "k", "--endpoint", shell.url, stdin=stdin)

    reason = "too large: with its key it has more than the 1024 KiB that a record may have here"
    assert said.status == 1
    assert said.err == f"streamd: line 2 of stdin: {reason}\nstreamd: line 4 of stdin: {reason}\n"
    assert said.out == f"{stream}: 2 records (13 bytes) put in 1 call, 2 failed\n".replace("1 call", _calls(said))
    assert _data(stored()) == ["after", "before"]


def _calls(said: Said) -> str:
    # How many calls a pipe's content takes depends on how it arrived.
    return said.out.partition(" put in ")[2].partition(",")[0]


def test_the_stream_s_own_size_limit_counts(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1", "--max-record-kib", "4096")

    said = run_program("put", stream_name, "--whole", "--endpoint", shell.url, stdin=b"x" * (3 * MIB))

    assert (said.status, said.out) == (0, f"{stream_name}: 1 record (3.0 MiB) put in 1 call\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("plain text", "it is no JSON, so it has no field id"),
        ('{"other": 1}', "its field id is missing or no text or number"),
        ('{"id": null}', "its field id is missing or no text or number"),
        ('{"id": ""}', "its field id has 0 characters: a key has 1 to 256"),
    ],
)
def test_a_line_without_its_key_is_named_and_the_others_go_on(
    shell: Shell, stream: str, stored: Stored, line: str, reason: str
) -> None:
    said = shell.at("put", stream, "--key-field", "id", '{"id": 1}', line, '{"id": 2}')

    assert said.status == 1
    assert said.err == f"streamd: argument 2: {reason}\n"
    assert [record["key"] for record in stored()] in (["1", "2"], ["2", "1"])


@pytest.mark.parametrize(
    "flags",
    [
        ["text", "--whole"],
        ["text", "--file", __file__],
        ["text", "--key", "k", "--key-field", "id"],
        ["text", "--key", ""],
        ["--file", "no-such-file"],
    ],
)
def test_flags_that_contradict_are_refused_with_status_2(shell: Shell, flags: list[str]) -> None:
    said = shell.at("put", "any", *flags)

    assert said.status == 2
    assert said.err.count("\n") == 1


def test_a_stream_that_is_not_there_is_told_before_anything_is_read(shell: Shell) -> None:
    said = shell.at("put", "nowhere-to-be-found", "text")

    assert said.status == 1
    assert said.out == ""
    assert said.err.startswith("streamd: ResourceNotFoundException")


def test_records_refused_for_the_moment_are_put_again(
    shell: Shell, daemon_factory: Callable[..., Daemon], stream_name: str
) -> None:
    # One shard takes 1,000 records a second here, so some of these are refused at first.
    url = daemon_factory("--limits", "aws").url
    shell("stream", "create", stream_name, "--shards", "1", "--endpoint", url)
    lines = [str(number) for number in range(1500)]

    said = run_program("put", stream_name, "--endpoint", url, stdin="\n".join(lines).encode())

    read = shell("tail", stream_name, "--no-follow", "--json", "--endpoint", url).json_lines()
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"{stream_name}: 1500 records")
    assert _data(read) == sorted(lines)
