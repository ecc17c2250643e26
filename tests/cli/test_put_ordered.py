"""`streamd put --ordered`: the keys keep their order whatever the server refuses, and all is told in order."""

import asyncio
from pathlib import Path

import orjson

from tests.cli.scripted_server import ScriptedServer
from tests.cli.shell import Shell, run_program
from tests.conftest import DaemonFactory


def test_keys_keep_their_order_at_shards_that_are_over_their_limits(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    url = daemon_factory("--limits", "aws").url
    run_program("stream", "create", "orders", "--shards", "1", "--endpoint", url)
    lines = [orjson.dumps({"key": f"k{number % 1000}", "number": number}) for number in range(3000)]
    source = tmp_path / "orders.ndjson"
    source.write_bytes(b"\n".join(lines))

    said = run_program(
        "put", "orders", "--ordered", "--file", str(source), "--key-field", "key", "--json", "--endpoint", url
    )
    tailed = run_program("tail", "orders", "--no-follow", "--json", "--endpoint", url)

    assert (said.status, said.err) == (0, "")
    assert [place["line"] for place in said.json_lines()] == list(range(1, 3001))
    stored = [orjson.loads(record["data"]) for record in tailed.json_lines()]
    assert len(stored) == 3000
    last: dict[str, int] = {}
    for record in stored:
        assert record["number"] > last.get(record["key"], -1)
        last[record["key"]] = record["number"]


def test_a_record_that_is_refused_is_named_and_the_later_ones_of_its_key_go_on(
    shell: Shell, stream_name: str, tmp_path: Path
) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")
    source = tmp_path / "lines"
    source.write_bytes(b"\n".join([b"one", b"x" * (1 << 20), b"three"]))

    said = shell.at("put", stream_name, "--ordered", "--key", "k", "--file", str(source))
    stored = shell.at("tail", stream_name, "--no-follow", "--json").json_lines()

    assert said.status == 1
    assert "line 2" in said.err
    assert said.out.startswith(f"{stream_name}: 2 records")
    assert [record["data"] for record in stored] == ["one", "three"]


async def test_a_server_that_refuses_the_stream_ends_the_command_with_one_sentence(scripted: ScriptedServer) -> None:
    scripted.will_answer("DescribeStreamSummary", {"StreamDescriptionSummary": {}})
    scripted.will_refuse("PutRecords", "AccessDeniedException")

    said = await asyncio.to_thread(run_program, "put", "s", "a", "b", "--ordered", "--endpoint", scripted.url)

    assert said.status == 1
    assert said.err.count("AccessDeniedException") == 1
