"""aws-kinesis-agg, which packs and unpacks as the KPL does: its bytes pass unchanged, and tail shows them apart."""

import base64
import importlib.metadata
from typing import Any

from aws_kinesis_agg import aggregator, deaggregator

from tests.cli.shell import run_program
from tests.clients.conftest import SeenBy
from tests.daemons import Daemon

__all__: list[str] = []

_VERSION = importlib.metadata.version("aws-kinesis-agg")


def _aggregated(count: int, *, hash_key: str | None = None) -> tuple[str, str, bytes]:
    packer = aggregator.RecordAggregator()
    for number in range(count):
        packer.add_user_record(f"user-{number % 3}", b"click %d" % number, explicit_hash_key=hash_key)
    contents: tuple[str, str, bytes] = packer.clear_and_get().get_contents()
    return contents


def _read(kinesis: Any, stream: str, shard: str) -> list[dict[str, Any]]:
    place = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records: list[dict[str, Any]] = kinesis.get_records(ShardIterator=place["ShardIterator"])["Records"]
    return records


def test_aggregated_records_pass_unchanged_and_to_the_shard_of_their_hash_key(
    kinesis: Any, stream_name: str, seen_by: SeenBy
) -> None:
    row = seen_by("aws-kinesis-agg", version=_VERSION, transport="records by boto3")
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    upper = str((1 << 127) + 5)
    key, hash_key, data = _aggregated(100, hash_key=upper)

    put = kinesis.put_record(StreamName=stream_name, PartitionKey=key, ExplicitHashKey=hash_key, Data=data)
    batch = [{"PartitionKey": key, "ExplicitHashKey": hash_key, "Data": data} for _ in range(5)]
    assert kinesis.put_records(StreamName=stream_name, Records=batch)["FailedRecordCount"] == 0
    found = _read(kinesis, stream_name, "shardId-000000000001")

    assert (hash_key, put["ShardId"]) == (upper, "shardId-000000000001")
    assert [record["Data"] for record in found] == [data] * 6
    users = _users(found[0])
    assert users == [(f"user-{number % 3}", b"click %d" % number) for number in range(100)]
    row.ran("PutRecord", "PutRecords", "GetRecords")


def _users(record: dict[str, Any]) -> list[tuple[str, bytes]]:
    # Its unpacker takes boto3's records and gives them as Lambda hands them to functions.
    found = [user["kinesis"] for user in deaggregator.iter_deaggregate_records([record], data_format="Boto3")]
    return [(user["partitionKey"], base64.b64decode(user["data"])) for user in found]


def test_tail_shows_aggregated_records_apart(daemon: Daemon, kinesis: Any, stream_name: str, seen_by: SeenBy) -> None:
    row = seen_by("aws-kinesis-agg", version=_VERSION, transport="records by boto3")
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    key, hash_key, data = _aggregated(4)
    put = kinesis.put_record(StreamName=stream_name, PartitionKey=key, ExplicitHashKey=hash_key, Data=data)
    kinesis.put_record(StreamName=stream_name, PartitionKey="plain", Data=b"plain")
    kinesis.put_record(StreamName=stream_name, PartitionKey="broken", Data=data[:-1] + b"?")

    shown = ("--no-follow", "--json", "--endpoint", daemon.url)
    apart = run_program("tail", stream_name, "--deaggregate", *shown).json_lines()
    whole = run_program("tail", stream_name, *shown).json_lines()
    some = run_program("tail", stream_name, "--deaggregate", "--max", "2", *shown).json_lines()

    assert [(line["key"], line.get("data"), line.get("sub_sequence_number")) for line in apart[:5]] == [
        ("user-0", "click 0", 0),
        ("user-1", "click 1", 1),
        ("user-2", "click 2", 2),
        ("user-0", "click 3", 3),
        ("plain", "plain", None),
    ]
    assert {line["sequence_number"] for line in apart[:4]} == {put["SequenceNumber"]}
    assert "data_base64" in apart[5]
    assert len(apart) == 6
    assert len(whole) == 3
    assert some == apart[:2]
    row.ran("streamd tail --deaggregate")
