"""The documents that say which records a mapping gave up, as its failure destinations get them."""

from datetime import UTC, datetime
from typing import Any

import orjson

from streamd.core.mapping_events import RecordEvents
from streamd.core.mapping_steps import Failure

__all__ = ["failure_document", "failure_document_with_payload", "failure_key"]


def failure_document(
    failure: Failure, events: RecordEvents, *, request_id: str, function_arn: str, now_ms: int
) -> bytes:
    """Write the document that points at the records: for queues and topics.

    ``request_id`` stands in where no invocation decided; ``events`` are those that the processor was made with.
    """
    return orjson.dumps(_document(failure, events, request_id=request_id, function_arn=function_arn, now_ms=now_ms))


def failure_document_with_payload(
    failure: Failure, events: RecordEvents, *, request_id: str, function_arn: str, now_ms: int
) -> bytes:
    """Write the document with the records themselves: for S3, and for whatever can hold it."""
    document = failure_document(failure, events, request_id=request_id, function_arn=function_arn, now_ms=now_ms)
    payload = b",".join([record.event for record in failure.records])
    return b'%b,"payload":{"Records":[%b]}}' % (document[:-1], payload)


def failure_key(*, mapping_id: str, shard_id: str, now_ms: int, unique_id: str) -> str:
    """Give the name of the object that holds a failure in S3."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return f"aws/lambda/{mapping_id}/{shard_id}/{moment:%Y/%m/%d}/{moment:%Y-%m-%dT%H.%M.%S}-{unique_id}"


def _document(
    failure: Failure, events: RecordEvents, *, request_id: str, function_arn: str, now_ms: int
) -> dict[str, Any]:
    last = failure.last
    document: dict[str, Any] = {
        "requestContext": {
            "requestId": request_id if last is None else last.request_id,
            "functionArn": function_arn,
            "condition": failure.condition.value,
            "approximateInvokeCount": failure.invoke_count,
        }
    }
    if last is not None:
        document["responseContext"] = {
            "statusCode": 200,
            "executedVersion": last.version,
            "functionError": last.function_error,
        }
    document["version"] = "1.0"
    document["timestamp"] = _iso(now_ms, has_ms=True)
    document[events.batch_info_key] = {
        "shardId": events.shard_id,
        "startSequenceNumber": failure.first_number,
        "endSequenceNumber": failure.last_number,
        "approximateArrivalOfFirstRecord": _iso(failure.first_arrival_ms, has_ms=events.arrivals_have_ms),
        "approximateArrivalOfLastRecord": _iso(failure.last_arrival_ms, has_ms=events.arrivals_have_ms),
        "batchSize": failure.record_count,
        "streamArn": events.source_arn,
    }
    return document


def _iso(moment_ms: int, *, has_ms: bool) -> str:
    seconds = f"{datetime.fromtimestamp(moment_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}"
    return f"{seconds}.{moment_ms % 1000:03d}Z" if has_ms else f"{seconds}Z"
