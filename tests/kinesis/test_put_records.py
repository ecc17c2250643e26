"""PutRecords: many records at once, each with its own answer; whole requests that are refused."""

import hashlib
import re
from typing import Any

import pytest

from tests.daemons import Daemon, raw
from tests.kinesis.calls import records_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_MIB = 1 << 20


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of four shards."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=4)
    return stream_name


def _entries(count: int, *, byte_count: int = 8) -> list[dict[str, Any]]:
    return [{"Data": b"%08d" % place + bytes(byte_count - 8), "PartitionKey": f"key-{place}"} for place in range(count)]


def test_each_record_is_answered_in_its_place(kinesis: Any, stream: str) -> None:
    entries = _entries(100)

    answer = kinesis.put_records(StreamName=stream, Records=entries)
    records = {record["SequenceNumber"]: record for record in records_of(kinesis, stream)}

    assert answer.keys() == {"FailedRecordCount", "Records", "ResponseMetadata"}
    assert answer["FailedRecordCount"] == 0
    assert all(row.keys() == {"SequenceNumber", "ShardId"} for row in answer["Records"])
    assert [records[row["SequenceNumber"]]["Data"] for row in answer["Records"]] == [e["Data"] for e in entries]
    owners = [int.from_bytes(hashlib.md5(e["PartitionKey"].encode(), usedforsecurity=False).digest()) for e in entries]
    assert [row["ShardId"] for row in answer["Records"]] == [f"shardId-{o >> 126:012d}" for o in owners]


def test_records_of_one_shard_keep_their_order(kinesis: Any, stream: str) -> None:
    entries = [{"Data": b"%d" % place, "PartitionKey": "key"} for place in range(500)]

    answer = kinesis.put_records(StreamName=stream, Records=entries)

    numbers = [int(row["SequenceNumber"]) for row in answer["Records"]]
    assert numbers == sorted(set(numbers))
    assert [record["Data"] for record in records_of(kinesis, stream)] == [entry["Data"] for entry in entries]


def test_500_records_are_taken_and_501_are_not(kinesis: Any, stream: str) -> None:
    kinesis.put_records(StreamName=stream, Records=_entries(500))

    code, sentence = refusal(kinesis.put_records, StreamName=stream, Records=_entries(501))

    assert code == "ValidationException"
    assert re.fullmatch(
        r"1 validation error detected: Value '\[com\.amazonaws\.kinesis\.v20131202\.PutRecordsRequestEntry@.*' "
        r"at 'records' failed to satisfy constraint: Member must have length less than or equal to 500",
        sentence,
    )
    assert len(records_of(kinesis, stream)) == 500


def test_no_records_are_too_few(kinesis: Any, stream: str) -> None:
    empty = refusal(kinesis.put_records, StreamName=stream, Records=[])
    missing = refusal(kinesis.put_records, StreamName=stream)

    end = "at 'records' failed to satisfy constraint: Member must"
    assert empty == (
        "ValidationException",
        f"1 validation error detected: Value '[]' {end} have length greater than or equal to 1",
    )
    assert missing == ("ValidationException", f"1 validation error detected: Value null {end} not be null")


def test_ten_mebibytes_with_the_keys_are_taken_and_a_byte_more_is_not(kinesis: Any, stream: str) -> None:
    full = [{"Data": bytes(_MIB - 4), "PartitionKey": f"key{place}"} for place in range(10)]
    half = [{"Data": bytes(_MIB // 2 - 5), "PartitionKey": f"key{place:02d}"} for place in range(20)]

    kinesis.put_records(StreamName=stream, Records=full)
    kinesis.put_records(StreamName=stream, Records=half)
    over = refusal(kinesis.put_records, StreamName=stream, Records=[*full, {"Data": b"", "PartitionKey": "k"}])

    assert over == ("InvalidArgumentException", "Records size exceeds 10 MB limit")
    assert len(records_of(kinesis, stream)) == 30


def test_one_record_too_large_refuses_the_whole_request(kinesis: Any, stream: str) -> None:
    entries = [*_entries(2), {"Data": bytes(_MIB), "PartitionKey": "k"}, *_entries(1)]

    found = refusal(kinesis.put_records, StreamName=stream, Records=entries)

    assert found == (
        "ValidationException",
        (
            "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048576 cap=1048576]' "
            "at 'records.3.member.data' failed to satisfy constraint: "
            "Member must have length less than or equal to 1048576"
        ),
    )
    assert records_of(kinesis, stream) == []


def test_explicit_hash_keys_go_record_by_record(kinesis: Any, stream: str) -> None:
    entries = _entries(8)
    entries[1]["ExplicitHashKey"] = str((1 << 128) - 1)
    entries[5]["ExplicitHashKey"] = "0"

    rows = kinesis.put_records(StreamName=stream, Records=entries)["Records"]
    unbounded = [*_entries(3), {"Data": b"", "PartitionKey": "k", "ExplicitHashKey": str(1 << 128)}]
    found = refusal(kinesis.put_records, StreamName=stream, Records=unbounded)

    keys = [entry["PartitionKey"].encode() for entry in entries]
    expected = [int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest()) >> 126 for key in keys]
    expected[1], expected[5] = 3, 0
    assert [row["ShardId"] for row in rows] == [f"shardId-{index:012d}" for index in expected]
    assert found == (
        "InvalidArgumentException",
        f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {1 << 128}",
    )
    assert len(records_of(kinesis, stream)) == 8


def test_what_is_wrong_with_records_is_listed_with_their_places(kinesis: Any, stream: str) -> None:
    entries = [*_entries(1), {"PartitionKey": "", "Data": b""}, {"PartitionKey": "k"}, {"Data": b""}]

    code, sentence = refusal(kinesis.put_records, StreamName=stream, Records=entries)
    keyless = refusal(kinesis.put_records, StreamName=stream, Records=[*_entries(2), {"Data": b""}])

    assert code == "ValidationException"
    assert sentence.startswith("2 validation errors detected: ")
    assert set(sentence.partition(": ")[2].split("; ")) == {
        (
            "Value '' at 'records.2.member.partitionKey' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        ),
        "Value null at 'records.3.member.data' failed to satisfy constraint: Member must not be null",
    }
    assert keyless == (
        "ValidationException",
        (
            "1 validation error detected: Value null at 'records.3.member.partitionKey' failed to satisfy constraint: "
            "Member must not be null"
        ),
    )
    assert records_of(kinesis, stream) == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"Data": "23456", "PartitionKey": "k"}, "expected a multiple of 4 bytes but found: 5"),
        ({"Data": "=+/=", "PartitionKey": "k"}, "Invalid Base64 character: '='"),
        ({"Data": "+/+=", "PartitionKey": "k"}, "Invalid last non-pad Base64 character dectected"),
        ({"Data": 1, "PartitionKey": "k"}, "can not be converted to a Blob"),
        ({"Data": "", "PartitionKey": 1}, "can not be converted to an String"),
        ({"Data": "", "PartitionKey": ["k"]}, "Start of list found where not expected"),
        ("entry", "Expected null"),
        ([], "Start of list found where not expected"),
    ],
)
def test_an_entry_of_a_wrong_type_refuses_the_whole_request(
    daemon: Daemon, kinesis: Any, stream: str, entry: object, sentence: str
) -> None:
    good = {"Data": "YQ==", "PartitionKey": "k"}

    answer = raw(daemon.url, "PutRecords", {"StreamName": stream, "Records": [good, entry, good]})

    assert answer.status == 400
    assert answer.json().keys() == {"__type", "Message"}
    assert answer.json()["__type"] == "SerializationException"
    assert answer.json()["Message"].endswith(sentence)
    assert records_of(kinesis, stream) == []


def test_a_mix_of_entries_with_and_without_a_hash_key_survives_the_slow_way(
    daemon: Daemon, kinesis: Any, stream: str
) -> None:
    entries = [
        {"Data": "YQ==", "PartitionKey": "k", "ExplicitHashKey": None, "Unknown": 1},
        {"Data": "Yg==", "PartitionKey": "k", "ExplicitHashKey": "0"},
    ]

    answer = raw(daemon.url, "PutRecords", {"StreamName": stream, "Records": entries, "Other": {}})

    assert answer.status == 200
    assert answer.json()["FailedRecordCount"] == 0
    assert sorted(record["Data"] for record in records_of(kinesis, stream)) == [b"a", b"b"]


def test_automatic_distribution_spreads_one_request_evenly(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    kinesis.update_stream_record_distribution_strategy(
        StreamARN=stream_arn_of(stream_name), RecordDistributionStrategy="AUTO"
    )
    entries = [{"Data": b"data", "PartitionKey": "same", "ExplicitHashKey": "0"} for _ in range(200)]
    keyless = [{"Data": b"data"} for _ in range(200)]

    rows = kinesis.put_records(StreamName=stream_name, Records=entries + keyless)["Records"]

    shards = [row["ShardId"] for row in rows]
    assert {shard: shards.count(shard) for shard in shards} == {f"shardId-{index:012d}": 100 for index in range(4)}


def test_an_unknown_stream_takes_nothing(kinesis: Any) -> None:
    found = refusal(kinesis.put_records, StreamName="no-such-stream", Records=_entries(1))

    assert found == ("ResourceNotFoundException", "Stream no-such-stream under account 000000000000 not found.")
