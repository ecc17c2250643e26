"""DryRun: every check is made and answered as usual, a call that would succeed says so, and nothing is done."""

from typing import Any

import pytest

from tests.kinesis.calls import records_of
from tests.kinesis.refusals import refusal

__all__: list[str] = []

_FIRST = "shardId-000000000000"


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of one shard that holds one record."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, Data=b"data", PartitionKey="key")
    return stream_name


def _iterator(kinesis: Any, stream: str) -> str:
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=_FIRST, ShardIteratorType="TRIM_HORIZON")
    return str(answer["ShardIterator"])


def _calls(kinesis: Any, stream: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    entry = {"Data": b"dry", "PartitionKey": "key"}
    place = {"StreamName": stream, "ShardId": _FIRST, "ShardIteratorType": "LATEST"}
    return {
        "PutRecord": (kinesis.put_record, {"StreamName": stream} | entry),
        "PutRecords": (kinesis.put_records, {"StreamName": stream, "Records": [entry]}),
        "GetShardIterator": (kinesis.get_shard_iterator, place),
        "GetRecords": (kinesis.get_records, {"ShardIterator": _iterator(kinesis, stream)}),
    }


@pytest.mark.parametrize("operation", ["PutRecord", "PutRecords", "GetShardIterator", "GetRecords"])
def test_a_call_that_would_succeed_is_answered_by_saying_so(kinesis: Any, stream: str, operation: str) -> None:
    call, members = _calls(kinesis, stream)[operation]

    found = refusal(call, DryRun=True, **members)

    assert found == (
        "DryRunOperationException",
        (
            f"DryRunOperation validation succeeded while calling {operation} operation.: "
            "Request would have succeeded, but DryRun flag is set."
        ),
    )
    assert [record["Data"] for record in records_of(kinesis, stream)] == [b"data"]


@pytest.mark.parametrize("operation", ["PutRecord", "PutRecords", "GetShardIterator", "GetRecords"])
def test_a_dry_run_that_is_off_changes_nothing(kinesis: Any, stream: str, operation: str) -> None:
    call, members = _calls(kinesis, stream)[operation]

    answer = call(DryRun=False, **members)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_faults_are_answered_as_in_earnest(kinesis: Any, stream: str) -> None:
    large = {"Data": bytes(1 << 20), "PartitionKey": "key"}
    place = {"ShardId": _FIRST, "ShardIteratorType": "AT_SEQUENCE_NUMBER"}
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (kinesis.put_record, {"StreamName": "no-such-stream", "Data": b"", "PartitionKey": "key"}),
        (kinesis.put_record, {"StreamName": stream} | large),
        (kinesis.put_record, {"StreamName": stream, "Data": b"", "PartitionKey": "k", "ExplicitHashKey": "9" * 39}),
        (kinesis.put_records, {"StreamName": stream, "Records": []}),
        (kinesis.put_records, {"StreamName": stream, "Records": [large]}),
        (kinesis.get_shard_iterator, {"StreamName": stream} | place),
        (kinesis.get_shard_iterator, {"StreamName": stream, "ShardId": "shardId-7", "ShardIteratorType": "LATEST"}),
        (kinesis.get_records, {"ShardIterator": "forged"}),
        (kinesis.get_records, {"ShardIterator": _iterator(kinesis, stream), "Limit": 0}),
    ]

    dry = [refusal(call, DryRun=True, **members) for call, members in wrong]
    in_earnest = [refusal(call, **members) for call, members in wrong]

    assert dry == in_earnest
    assert "DryRunOperationException" not in [code for code, _ in dry]


def test_the_flag_must_be_a_boolean(kinesis: Any, stream: str) -> None:
    found = refusal(kinesis.put_record, StreamName=stream, Data=b"", PartitionKey="key", DryRun=5)

    assert found[0] == "SerializationException"
    assert len(records_of(kinesis, stream)) == 1
