"""`streamd tail --deaggregate`: aggregated records by themselves, and everything else as it is."""

from typing import Any

import pytest
from aws_kinesis_agg.aggregator import AggRecord

from tests.cli.shell import Shell

HASH_KEYS = ("0", str(1 << 127), None)


def _aggregate(*, name: str, count: int) -> bytes:
    aggregate = AggRecord()
    for number in range(count):
        assert aggregate.add_user_record(f"key-{number % 2}", f"{name} {number}\n", HASH_KEYS[number % 3])
    data: bytes = aggregate.get_contents()[2]
    return data


@pytest.fixture
def stream(shell: Shell, stream_name: str, kinesis: Any) -> str:
    """Give a stream of an aggregate of three, a plain record, a broken aggregate, and an aggregate of two."""
    shell.at("stream", "create", stream_name, "--shards", "1")
    broken = _aggregate(name="broken", count=2)[:-1]
    for data in (_aggregate(name="first", count=3), b"plain", broken, _aggregate(name="last", count=2)):
        kinesis.put_record(StreamName=stream_name, PartitionKey="outer", Data=data)
    return stream_name


def test_aggregates_come_apart_and_all_else_stays_whole(shell: Shell, stream: str) -> None:
    whole = shell.at("tail", stream, "--no-follow", "--json").json_lines()
    apart = shell.at("tail", stream, "--no-follow", "--json", "--deaggregate").json_lines()

    texts = [line.get("data") for line in apart]
    assert texts == ["first 0\n", "first 1\n", "first 2\n", "plain", None, "last 0\n", "last 1\n"]
    assert [line["key"] for line in apart] == ["key-0", "key-1", "key-0", "outer", "outer", "key-0", "key-1"]
    assert [line.get("sub_sequence_number") for line in apart] == [0, 1, 2, None, None, 0, 1]
    assert [line.get("explicit_hash_key") for line in apart[:3]] == list(HASH_KEYS)
    assert [line["sequence_number"] for line in apart[2:6]] == [line["sequence_number"] for line in whole]
    assert apart[3:5] == whole[1:3]
    assert len(whole) == 4
    assert all("sub_sequence_number" not in line for line in whole)


def test_people_see_the_number_behind_the_shard(shell: Shell, stream: str) -> None:
    lines = shell.at("tail", stream, "--no-follow", "--deaggregate").out.splitlines()

    assert [line.split(" ", 1)[1] for line in lines[:4]] == [
        "shardId-000000000000#0 key-0 first 0\\n",
        "shardId-000000000000#1 key-1 first 1\\n",
        "shardId-000000000000#2 key-0 first 2\\n",
        "shardId-000000000000 outer plain",
    ]


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_each_record_counts_for_the_maximum(shell: Shell, stream: str, count: int) -> None:
    lines = shell.at("tail", stream, "--from", "horizon", "--deaggregate", "--max", str(count)).out.splitlines()

    assert len(lines) == count
