"""What is told of asynchronous invocations, member by member as AWS tells it."""

from dataclasses import replace

import orjson
import pytest

from streamd.core.outcomes import Outcome, dead_letter_attributes, destination_record, event_bus_envelope

REQUEST_ID = "e4b46cbf-b738-4a3e-8880-a18cdf61200e"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:process-orders:$LATEST"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
FAILED = Outcome(
    request_id=REQUEST_ID,
    arn=ARN,
    condition="RetriesExhausted",
    attempt_count=3,
    payload=b'{"id":1}',
    version="$LATEST",
    response=b'{"errorMessage":"boom","errorType":"Exception","stackTrace":[]}',
    error="Unhandled",
    ended_ms=1_795_404_300_007,
)
FAILED_RECORD = {
    "version": "1.0",
    "timestamp": "2026-11-23T03:25:00.007Z",
    "requestContext": {
        "requestId": REQUEST_ID,
        "functionArn": ARN,
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    },
    "requestPayload": {"id": 1},
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "responsePayload": {"errorMessage": "boom", "errorType": "Exception", "stackTrace": []},
}


def test_a_failure_is_told_with_its_error() -> None:
    record = destination_record(FAILED)

    assert orjson.loads(record) == FAILED_RECORD
    # As AWS orders them, too: people read these.
    assert list(orjson.loads(record)) == list(FAILED_RECORD)


def test_a_success_is_told_without_an_error() -> None:
    outcome = replace(FAILED, condition="Success", attempt_count=1, response=b'{"ok":true}', error=None)

    record = orjson.loads(destination_record(outcome))

    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == {"ok": True}
    assert record["requestContext"]["condition"] == "Success"


def test_an_event_that_grew_too_old_is_told_with_its_last_error() -> None:
    record = orjson.loads(destination_record(replace(FAILED, condition="EventAgeExceeded", attempt_count=2)))

    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"] == FAILED_RECORD["responsePayload"]


def test_what_never_ran_has_no_response() -> None:
    record = orjson.loads(destination_record(replace(FAILED, response=None, error=None)))

    assert record.keys() == FAILED_RECORD.keys() - {"responseContext", "responsePayload"}


def test_a_response_that_is_no_json_is_told_as_a_text() -> None:
    record = orjson.loads(destination_record(replace(FAILED, response=b"plain \xff")))

    assert record["responsePayload"] == "plain \ufffd"


def test_a_dead_event_carries_its_request_and_its_error() -> None:
    assert dead_letter_attributes(FAILED) == {"RequestID": REQUEST_ID, "ErrorCode": "200", "ErrorMessage": "boom"}


@pytest.mark.parametrize("response", [None, b"[]", b"{}", b"no json", b'{"errorMessage":5}'])
def test_a_dead_event_without_an_error_of_its_own_says_why_it_died(response: bytes | None) -> None:
    attributes = dead_letter_attributes(replace(FAILED, response=response))

    assert attributes["ErrorMessage"] == "RetriesExhausted"


def test_a_long_error_is_cut_at_a_kilobyte_and_not_inside_a_letter() -> None:
    response = orjson.dumps({"errorMessage": "x" + "é" * 2_000})

    message = dead_letter_attributes(replace(FAILED, response=response))["ErrorMessage"]

    assert message == "x" + "é" * 511


def test_an_event_bus_is_told_in_its_envelope() -> None:
    envelope = event_bus_envelope(FAILED_RECORD, bus_arn=BUS, event_id="7bf73129-1428-4cd3-a780-95db273d1602")

    assert envelope == {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "Lambda Function Invocation Result - Failure",
        "source": "lambda",
        "account": "000000000000",
        "time": "2026-11-23T03:25:00Z",
        "region": "us-east-1",
        "resources": [BUS, ARN],
        "detail": FAILED_RECORD,
    }


def test_an_event_bus_is_told_of_success() -> None:
    record = orjson.loads(destination_record(replace(FAILED, condition="Success")))

    assert event_bus_envelope(record, bus_arn=BUS, event_id="1")["detail-type"].endswith("Result - Success")
