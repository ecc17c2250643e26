"""PutRecord: where a record goes, what it may be, and each way in which it is refused."""

import hashlib
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.calls import held_daemon, records_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_HASH_KEY_MAX = (1 << 128) - 1
_KIB = 1024
_MIB = 1024 * _KIB


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of four shards."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=4)
    return stream_name


def _too_large(byte_count: int, *, byte_count_max: int) -> tuple[str, str]:
    return (
        "ValidationException",
        (
            f"1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim={byte_count} cap={byte_count}]' "
            f"at 'data' failed to satisfy constraint: Member must have length less than or equal to {byte_count_max}"
        ),
    )


def test_a_record_is_answered_with_its_place_and_is_there(kinesis: Any, stream: str) -> None:
    answer = kinesis.put_record(StreamName=stream, Data=b"\x00data\xff", PartitionKey="key")
    (record,) = records_of(kinesis, stream)

    assert answer.keys() == {"ShardId", "SequenceNumber", "ResponseMetadata"}
    assert len(answer["SequenceNumber"]) == 56
    assert answer["SequenceNumber"].isdigit()
    assert record["SequenceNumber"] == answer["SequenceNumber"]
    assert record["Data"] == b"\x00data\xff"
    assert record["PartitionKey"] == "key"
    assert record.keys() == {"SequenceNumber", "ApproximateArrivalTimestamp", "Data", "PartitionKey"}


def test_the_stream_is_named_by_name_by_arn_or_by_both(kinesis: Any, stream: str) -> None:
    kinesis.put_record(StreamName=stream, Data=b"1", PartitionKey="key")
    kinesis.put_record(StreamARN=stream_arn_of(stream), Data=b"2", PartitionKey="key")
    kinesis.put_record(StreamARN=stream_arn_of(stream, region="eu-west-3"), Data=b"3", PartitionKey="key")
    kinesis.put_record(StreamARN=stream_arn_of(stream), StreamName=stream, Data=b"4", PartitionKey="key")

    assert [record["Data"] for record in records_of(kinesis, stream)] == [b"1", b"2", b"3", b"4"]


def test_names_that_name_no_stream_are_refused(kinesis: Any, stream: str) -> None:
    members = {"Data": b"data", "PartitionKey": "key"}
    other_account = stream_arn_of(stream, account_id="999999999999")

    assert refusal(kinesis.put_record, **members) == (
        "InvalidArgumentException",
        "Stream arn and stream name can't be empty at the same time",
    )
    assert refusal(kinesis.put_record, StreamName="another", StreamARN=stream_arn_of(stream), **members) == (
        "InvalidArgumentException",
        f"Input stream name another doesn't match the inferred name in stream arn {stream}",
    )
    assert refusal(kinesis.put_record, StreamARN=other_account, **members) == (
        "ResourceNotFoundException",
        f"Stream {stream} under account 999999999999 not found.",
    )
    assert refusal(kinesis.put_record, StreamName="no-such-stream", **members) == (
        "ResourceNotFoundException",
        "Stream no-such-stream under account 000000000000 not found.",
    )
    assert records_of(kinesis, stream) == []


def test_the_member_that_aws_reserves_is_not_silently_ignored(daemon: Daemon, kinesis: Any, stream: str) -> None:
    # botocore would send it to another host.
    answer = raw(
        daemon.url,
        "PutRecord",
        {"StreamName": stream, "StreamId": "a" * 20 + "-abc", "Data": "", "PartitionKey": "key"},
    )

    assert answer.status == 400
    assert answer.json() == {
        "__type": "InvalidArgumentException",
        "message": "StreamId is not implemented. Use StreamName or StreamARN.",
    }
    assert records_of(kinesis, stream) == []


def test_a_stream_that_is_being_created_or_deleted_takes_no_records(daemon_factory: DaemonFactory) -> None:
    daemon = held_daemon(daemon_factory, "dying", ShardCount=1)
    client = daemon.client()
    client.create_stream(StreamName="coming", ShardCount=1)
    client.delete_stream(StreamName="dying")

    refusals = [
        refusal(client.put_record, StreamName=name, Data=b"data", PartitionKey="key") for name in ("coming", "dying")
    ]

    assert refusals == [
        ("ResourceNotFoundException", "Stream coming under account 000000000000 not found."),
        ("ResourceNotFoundException", "Stream dying under account 000000000000 not found."),
    ]


def test_a_key_goes_where_its_md5_lies(kinesis: Any, stream: str) -> None:
    keys = [f"key-{number}" for number in range(24)] + ["é", "\N{GRINNING FACE}", " "]

    shards = [kinesis.put_record(StreamName=stream, Data=b"", PartitionKey=key)["ShardId"] for key in keys]

    quarter = 1 << 126
    owners = [int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()) // quarter for key in keys]
    assert shards == [f"shardId-{owner:012d}" for owner in owners]
    assert len(set(shards)) == 4


@pytest.mark.parametrize(
    ("hash_key", "shard_index"),
    [("0", 0), (str((1 << 126) - 1), 0), (str(1 << 126), 1), (str((1 << 127) + 5), 2), (str(_HASH_KEY_MAX), 3)],
)
def test_an_explicit_hash_key_overrules_the_key(kinesis: Any, stream: str, hash_key: str, shard_index: int) -> None:
    for key in ("a", "b", "c", "d", "e"):
        answer = kinesis.put_record(StreamName=stream, Data=b"", PartitionKey=key, ExplicitHashKey=hash_key)

        assert answer["ShardId"] == f"shardId-{shard_index:012d}"


def test_hash_keys_outside_the_ring_are_refused(kinesis: Any, stream: str) -> None:
    members = {"StreamName": stream, "Data": b"", "PartitionKey": "key"}

    for hash_key in (str(_HASH_KEY_MAX + 1), "9" * 39):
        assert refusal(kinesis.put_record, ExplicitHashKey=hash_key, **members) == (
            "InvalidArgumentException",
            (
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "
                f"Specified value was {hash_key}"
            ),
        )
    for hash_key in ("-1", "01", "", "1.5", "0x10", "1" * 40, "١"):
        assert refusal(kinesis.put_record, ExplicitHashKey=hash_key, **members)[0] == "ValidationException"


@pytest.mark.parametrize(
    "key", ["k", "k" * 256, "\N{GRINNING FACE}" * 256, "\x00", "a\nb", "\N{COMBINING ACUTE ACCENT}"]
)
def test_a_key_of_up_to_256_characters_comes_back_as_it_was(kinesis: Any, stream: str, key: str) -> None:
    kinesis.put_record(StreamName=stream, Data=b"data", PartitionKey=key)

    (record,) = records_of(kinesis, stream)

    assert record["PartitionKey"] == key


def test_a_key_that_is_missing_empty_or_too_long_is_refused(kinesis: Any, stream: str) -> None:
    long = "\N{GRINNING FACE}" * 257

    missing = refusal(kinesis.put_record, StreamName=stream, Data=b"data")
    empty = refusal(kinesis.put_record, StreamName=stream, Data=b"data", PartitionKey="")
    too_long = refusal(kinesis.put_record, StreamName=stream, Data=b"data", PartitionKey=long)

    start = "1 validation error detected: Value"
    end = "at 'partitionKey' failed to satisfy constraint: Member must"
    assert missing == ("ValidationException", f"{start} null {end} not be null")
    assert empty == ("ValidationException", f"{start} '' {end} have length greater than or equal to 1")
    assert too_long[0] == "ValidationException"
    assert too_long[1].endswith(f"{end} have length less than or equal to 256")


def test_data_may_be_empty_but_not_missing(kinesis: Any, stream: str) -> None:
    kinesis.put_record(StreamName=stream, Data=b"", PartitionKey="key")

    missing = refusal(kinesis.put_record, StreamName=stream, PartitionKey="key")

    assert [record["Data"] for record in records_of(kinesis, stream)] == [b""]
    assert missing == (
        "ValidationException",
        "1 validation error detected: Value null at 'data' failed to satisfy constraint: Member must not be null",
    )


@pytest.mark.parametrize("key", ["key", "\N{GRINNING FACE}" * 256])
def test_a_record_counts_its_data_and_its_key_to_the_last_byte(kinesis: Any, stream: str, key: str) -> None:
    room = _MIB - len(key.encode())

    kinesis.put_record(StreamName=stream, Data=bytes(room), PartitionKey=key)
    over = refusal(kinesis.put_record, StreamName=stream, Data=bytes(room + 1), PartitionKey=key)

    assert over == _too_large(room + 1, byte_count_max=_MIB)
    assert [len(record["Data"]) for record in records_of(kinesis, stream)] == [room]


def test_a_stream_may_take_records_of_ten_mebibytes(kinesis: Any, stream: str) -> None:
    kinesis.update_max_record_size(StreamARN=stream_arn_of(stream), MaxRecordSizeInKiB=10240)
    room = 10 * _MIB - 1

    kinesis.put_record(StreamName=stream, Data=b"x" * room, PartitionKey="k")
    key_over = refusal(kinesis.put_record, StreamName=stream, Data=bytes(room + 1), PartitionKey="k")
    model_over = refusal(kinesis.put_record, StreamName=stream, Data=bytes(10 * _MIB + 1), PartitionKey="k")

    assert key_over == _too_large(room + 1, byte_count_max=10 * _MIB)
    assert model_over == _too_large(10 * _MIB + 1, byte_count_max=10 * _MIB)
    (record,) = records_of(kinesis, stream)
    assert record["Data"] == b"x" * room


def test_sequence_numbers_grow_and_one_may_order_the_next(kinesis: Any, stream: str) -> None:
    members = {"StreamName": stream, "Data": b"data", "PartitionKey": "key"}
    numbers = [kinesis.put_record(**members)["SequenceNumber"]]
    for _ in range(20):
        numbers.append(kinesis.put_record(SequenceNumberForOrdering=numbers[-1], **members)["SequenceNumber"])

    other_shard = kinesis.put_record(ExplicitHashKey="0", **members)["SequenceNumber"]
    kinesis.put_record(SequenceNumberForOrdering=other_shard, **members)

    assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})


@pytest.mark.parametrize("number", ["0", "1", "4" * 56, "9" * 56, "1" + "0" * 128])
def test_a_number_that_is_none_cannot_order_a_record(kinesis: Any, stream: str, number: str) -> None:
    found = refusal(
        kinesis.put_record, StreamName=stream, Data=b"", PartitionKey="key", SequenceNumberForOrdering=number
    )

    assert found == (
        "InvalidArgumentException",
        (
            f"ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} "
            "under account 000000000000 is invalid."
        ),
    )
    assert records_of(kinesis, stream) == []


def test_faults_are_found_in_the_order_of_aws(kinesis: Any, stream: str) -> None:
    large = bytes(2 * _MIB)
    wrong = {"ExplicitHashKey": "9" * 39, "SequenceNumberForOrdering": "1", "Data": large, "PartitionKey": "key"}

    no_stream = refusal(kinesis.put_record, StreamName="no-such-stream", **wrong)
    hash_key = refusal(kinesis.put_record, StreamName=stream, **wrong)
    ordering = refusal(kinesis.put_record, StreamName=stream, **(wrong | {"ExplicitHashKey": "0"}))

    assert no_stream[0] == "ResourceNotFoundException"
    assert hash_key[1].startswith("Invalid ExplicitHashKey.")
    assert ordering[1].startswith("ExclusiveMinimumSequenceNumber 1 used")


def test_automatic_distribution_spreads_records_whatever_their_keys(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    kinesis.update_stream_record_distribution_strategy(
        StreamARN=stream_arn_of(stream_name), RecordDistributionStrategy="AUTO"
    )
    members: dict[str, Any] = {"StreamName": stream_name, "Data": b"data"}

    same_key = [kinesis.put_record(PartitionKey="key", ExplicitHashKey="0", **members)["ShardId"] for _ in range(8)]
    no_key = [kinesis.put_record(**members)["ShardId"] for _ in range(8)]
    records = records_of(kinesis, stream_name)
    kinesis.update_stream_record_distribution_strategy(
        StreamARN=stream_arn_of(stream_name), RecordDistributionStrategy="USER_PARTITION_KEY"
    )
    restored = {kinesis.put_record(PartitionKey="key", **members)["ShardId"] for _ in range(8)}

    assert sorted(same_key) == sorted(no_key) == sorted([f"shardId-{index:012d}" for index in range(4)] * 2)
    assert [record.get("PartitionKey") for record in records].count("key") == 8
    assert [record.get("PartitionKey") for record in records].count(None) == 8
    assert len(restored) == 1
    assert refusal(kinesis.put_record, **members)[0] == "ValidationException"
