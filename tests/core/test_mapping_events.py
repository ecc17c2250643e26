"""The documents of mappings: events as functions get them, and failure records as destinations get them."""

import base64
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.batch_outcomes import given_up
from streamd.core.failure_documents import failure_document, failure_document_with_payload, failure_key
from streamd.core.mapping_events import DynamoEvents, KinesisEvents, plain_envelope, window_envelope
from streamd.core.mapping_records import QueuedRecord, SourceRecords
from streamd.core.mapping_steps import Attempted, Condition, Failure
from tests.core.mapping_sketches import EVENTS, FIRST_NUMBER, STREAM_ARN

NUMBERS = [str(FIRST_NUMBER + place) for place in (1, 2)]
RECORDS = SourceRecords(
    NUMBERS,
    [b"customer-9", b"customer-7"],
    [b'{"order":2,"total":25}', b"not json at all"],
    [1_795_404_000_225, 1_795_404_000_325],
)
FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:process-orders"
REQUEST_ID = "6f8f3f4b-9f2f-4a51-9a40-0c1d2e3f4a5b"
NOW_MS = 1_795_404_007_512
TABLE_ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-11-23T03:30:26.438"


def event_of(number: str, key: str, data: str, arrival_s: str) -> str:
    """Write the record of a Kinesis event field by field, in AWS's order."""
    return (
        f'{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{key}","sequenceNumber":"{number}","data":"{data}",'
        f'"approximateArrivalTimestamp":{arrival_s}}},"eventSource":"aws:kinesis","eventVersion":"1.0",'
        f'"eventID":"shardId-000000000000:{number}","eventName":"aws:kinesis:record",'
        '"invokeIdentityArn":"arn:aws:iam::000000000000:role/process-orders","awsRegion":"us-east-1",'
        '"eventSourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/orders"}'
    )


def failure_of(condition: Condition, last: Attempted | None, *, events: list[bytes] | None = None) -> Failure:
    columns = zip(NUMBERS, RECORDS.arrivals_ms, events or EVENTS.write(RECORDS), strict=True)
    records = [QueuedRecord(0, number, None, arrival_ms, event) for number, arrival_ms, event in columns]
    return given_up(records, condition, invoke_count=3 if last else 1, last=last)


def attempted(function_error: str | None) -> Attempted:
    return Attempted(request_id=REQUEST_ID, version="$LATEST", function_error=function_error)


def test_a_kinesis_record_is_written_byte_for_byte_as_aws_does() -> None:
    first, second = EVENTS.write(RECORDS)

    assert first.decode() == event_of(NUMBERS[0], "customer-9", "eyJvcmRlciI6MiwidG90YWwiOjI1fQ==", "1795404000.225")
    assert second.decode() == event_of(NUMBERS[1], "customer-7", "bm90IGpzb24gYXQgYWxs", "1795404000.325")


@given(
    st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=40), st.integers(0, 4_000_000_000_000)), max_size=5),
    st.text(max_size=20),
)
def test_whatever_keys_and_data_hold_the_event_says_exactly_that(
    rows: list[tuple[str, bytes, int]], shard_id: str
) -> None:
    keys = [key.encode("utf-8", "replace") for key, _, _ in rows]
    numbers = [str(place) for place in range(len(rows))]
    events = KinesisEvents(
        shard_id=shard_id.encode("utf-8", "replace").decode(), source_arn="a", role_arn="", region="r"
    )

    written = events.write(SourceRecords(numbers, keys, [row[1] for row in rows], [row[2] for row in rows]))

    head, tail = plain_envelope()
    parsed = json.loads(head + b",".join(written) + tail)["Records"]
    assert [record["kinesis"]["partitionKey"].encode() for record in parsed] == keys
    assert [base64.b64decode(record["kinesis"]["data"]) for record in parsed] == [row[1] for row in rows]
    assert [round(record["kinesis"]["approximateArrivalTimestamp"] * 1000) for record in parsed] == [r[2] for r in rows]
    assert [record["eventID"] for record in parsed] == [f"{events.shard_id}:{number}" for number in numbers]


def test_an_event_of_a_window_has_its_bounds_its_state_and_where_it_comes_from() -> None:
    start_ms = 1_795_404_000_000

    head, tail = window_envelope(
        start_ms=start_ms,
        end_ms=start_ms + 120_000,
        state=b'{"customer-7":10}',
        shard_id="shardId-000000000000",
        source_arn=STREAM_ARN,
        is_final=True,
        is_early=False,
    )

    assert list(json.loads(head + tail).items()) == [
        ("Records", []),
        ("window", {"start": "2026-11-23T03:20:00Z", "end": "2026-11-23T03:22:00Z"}),
        ("state", {"customer-7": 10}),
        ("shardId", "shardId-000000000000"),
        ("eventSourceARN", STREAM_ARN),
        ("isFinalInvokeForWindow", True),
        ("isWindowTerminatedEarly", False),
    ]


def test_a_record_of_a_table_is_handed_on_with_the_arn_of_its_stream() -> None:
    record = b'{"eventID":"c4ca","eventName":"MODIFY","dynamodb":{"SequenceNumber":"1100"}}'

    (written,) = DynamoEvents(shard_id="s", source_arn=TABLE_ARN).write(SourceRecords(["1100"], [b"k"], [record], [0]))

    assert written == record[:-1] + b',"eventSourceARN":"%b"}' % TABLE_ARN.encode()


@pytest.mark.parametrize("function_error", ["Unhandled", None])
def test_a_failure_record_points_at_the_records_in_aws_s_words_and_order(function_error: str | None) -> None:
    failure = failure_of(Condition.RETRIES_EXHAUSTED, attempted(function_error))

    document = failure_document(failure, EVENTS, request_id="", function_arn=FUNCTION_ARN, now_ms=NOW_MS)

    assert document == orjson.dumps(
        {
            "requestContext": {
                "requestId": REQUEST_ID,
                "functionArn": FUNCTION_ARN,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": function_error},
            "version": "1.0",
            "timestamp": "2026-11-23T03:20:07.512Z",
            "KinesisBatchInfo": {
                "shardId": "shardId-000000000000",
                "startSequenceNumber": NUMBERS[0],
                "endSequenceNumber": NUMBERS[1],
                "approximateArrivalOfFirstRecord": "2026-11-23T03:20:00.225Z",
                "approximateArrivalOfLastRecord": "2026-11-23T03:20:00.325Z",
                "batchSize": 2,
                "streamArn": STREAM_ARN,
            },
        }
    )


def test_records_that_were_too_old_have_no_response() -> None:
    failure = failure_of(Condition.AGE_EXCEEDED, None)

    document = failure_document(failure, EVENTS, request_id=REQUEST_ID, function_arn=FUNCTION_ARN, now_ms=NOW_MS)

    parsed = json.loads(document)
    assert list(parsed) == ["requestContext", "version", "timestamp", "KinesisBatchInfo"]
    assert parsed["requestContext"]["requestId"] == REQUEST_ID
    assert parsed["requestContext"]["approximateInvokeCount"] == 1


def test_the_object_in_s3_holds_the_records_too() -> None:
    failure = failure_of(Condition.RETRIES_EXHAUSTED, attempted("Unhandled"))

    document = failure_document_with_payload(failure, EVENTS, request_id="", function_arn=FUNCTION_ARN, now_ms=NOW_MS)

    parsed = json.loads(document)
    assert list(parsed)[-1] == "payload"
    assert parsed["payload"] == {"Records": [json.loads(event) for event in EVENTS.write(RECORDS)]}


def test_the_object_s_name_sorts_by_mapping_shard_and_time() -> None:
    key = failure_key(
        mapping_id="2f1c9d0e-6d0b-4f56-9a55-0b7b8a3f9c11",
        shard_id="shardId-000000000000",
        now_ms=NOW_MS,
        unique_id="3b1f7c52-5d3e-4f7b-8f39-8a4a5b6c7d8e",
    )

    assert key == (
        "aws/lambda/2f1c9d0e-6d0b-4f56-9a55-0b7b8a3f9c11/shardId-000000000000/2026/11/23/"
        "2026-11-23T03.20.07-3b1f7c52-5d3e-4f7b-8f39-8a4a5b6c7d8e"
    )


def test_a_failure_of_a_table_s_records_names_its_batch_for_tables_in_whole_seconds() -> None:
    events = DynamoEvents(shard_id="shardId-00000001573689847184-864758bb", source_arn=TABLE_ARN)
    failure = failure_of(Condition.RETRIES_EXHAUSTED, attempted("Unhandled"), events=[b"{}", b"{}"])

    document = failure_document(failure, events, request_id="", function_arn=FUNCTION_ARN, now_ms=NOW_MS)

    batch = json.loads(document)["DDBStreamBatchInfo"]
    assert batch["approximateArrivalOfFirstRecord"] == "2026-11-23T03:20:00Z"
    assert batch["streamArn"] == TABLE_ARN


def test_filters_of_a_table_see_its_records_whole() -> None:
    events = DynamoEvents(shard_id="s", source_arn=TABLE_ARN)
    record = b'{"eventName":"MODIFY","dynamodb":{"NewImage":{"n":{"N":"9"}}}}'

    (document,) = events.documents(SourceRecords(["1100"], [b"k"], [record], [0]), load=orjson.loads)

    assert document == json.loads(record)
