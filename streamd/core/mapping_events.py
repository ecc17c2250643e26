"""The events that a mapping hands to a function, written by joining bytes, and with them their exact lengths.

A record is written once, when it comes in, and lies in its lane as its JSON: batches, halves and retries only join.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
import pybase64

from streamd.core.mapping_records import SourceRecords

__all__ = [
    "EVENT_BYTE_COUNT_MAX",
    "DynamoEvents",
    "Envelope",
    "KinesisEvents",
    "Loads",
    "RecordEvents",
    "plain_envelope",
    "window_envelope",
]

EVENT_BYTE_COUNT_MAX: Final = 6_291_456
"""The most that an event may be: what a synchronous invocation of Lambda takes."""

Envelope = tuple[bytes, bytes]
"""What stands before the records of an event, and after them."""


Loads = Callable[[bytes], Any]
"""Parses JSON; raises ValueError for what is none."""


class RecordEvents(Protocol):
    """Writes the records of one shard of one kind of source."""

    @property
    def shard_id(self) -> str:
        """The shard."""
        ...

    @property
    def source_arn(self) -> str:
        """The ARN that the mapping was made with."""
        ...

    @property
    def batch_info_key(self) -> str:
        """How the failure record names its part about the batch."""
        ...

    @property
    def arrivals_have_ms(self) -> bool:
        """Whether the failure record's moments of arrival have milliseconds."""
        ...

    def write(self, records: SourceRecords) -> list[bytes]:
        """Write each record as the function gets it."""
        ...

    def documents(self, records: SourceRecords, *, load: Loads) -> list[dict[str, Any]]:
        """Give each record as what patterns are matched against; ``data`` is parsed, absent when it is not JSON."""
        ...


class KinesisEvents:
    """Writes records of a Kinesis shard. ``role_arn`` is the function's role, ``region`` the stream's."""

    batch_info_key = "KinesisBatchInfo"
    arrivals_have_ms = True

    def __init__(self, *, shard_id: str, source_arn: str, role_arn: str, region: str) -> None:
        self.shard_id = shard_id
        self.source_arn = source_arn
        self._place = {
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role_arn,
            "awsRegion": region,
            "eventSourceARN": source_arn,
        }
        self._head = b'{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":'
        start = orjson.dumps(f"{shard_id}:")[:-1]
        self._middle = b'},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":' + start
        self._tail = b'",' + orjson.dumps(self._place)[1:]

    def write(self, records: SourceRecords) -> list[bytes]:
        """Write each record as the function gets it."""
        head, middle, tail = self._head, self._middle, self._tail
        times = {ms: b'","approximateArrivalTimestamp":%b' % repr(ms / 1000).encode() for ms in {*records.arrivals_ms}}
        encoded, written, join = pybase64.b64encode, orjson.dumps, b"".join
        numbers = [number.encode() for number in records.sequence_numbers]
        keys = [written((key or b"").decode()) for key in records.partition_keys]
        columns = zip(keys, numbers, records.data, records.arrivals_ms, strict=True)
        return [
            join(
                (
                    head,
                    key,
                    b',"sequenceNumber":"',
                    number,
                    b'","data":"',
                    encoded(blob),
                    times[ms],
                    middle,
                    number,
                    tail,
                )
            )
            for key, number, blob, ms in columns
        ]

    def documents(self, records: SourceRecords, *, load: Loads) -> list[dict[str, Any]]:
        """Give each record as what patterns are matched against; ``data`` is parsed, absent when it is not JSON."""
        columns = zip(records.sequence_numbers, records.partition_keys, records.data, records.arrivals_ms, strict=True)
        return [self._document(number, key or b"", blob, ms, load) for number, key, blob, ms in columns]

    def _document(self, number: str, key: bytes, blob: bytes, arrival_ms: int, load: Loads) -> dict[str, Any]:
        document: dict[str, Any] = {
            "partitionKey": key.decode(),
            "sequenceNumber": number,
            "approximateArrivalTimestamp": arrival_ms / 1000,
            "kinesisSchemaVersion": "1.0",
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self.shard_id}:{number}",
            **self._place,
        }
        with suppress(ValueError):
            document["data"] = load(blob)
        return document


class DynamoEvents:
    """Writes records of a DynamoDB stream, which come as the function gets them but for their source's ARN."""

    batch_info_key = "DDBStreamBatchInfo"
    arrivals_have_ms = False

    def __init__(self, *, shard_id: str, source_arn: str) -> None:
        self.shard_id = shard_id
        self.source_arn = source_arn
        self._tail = b',"eventSourceARN":%b}' % orjson.dumps(source_arn)

    def write(self, records: SourceRecords) -> list[bytes]:
        """Write each record as the function gets it."""
        tail = self._tail
        return [record.rstrip()[:-1] + tail for record in records.data]

    def documents(self, records: SourceRecords, *, load: Loads) -> list[dict[str, Any]]:
        """Give each record as what patterns are matched against."""
        return [load(record) for record in records.data]


def plain_envelope() -> Envelope:
    """Give what surrounds the records of an event without a window."""
    return b'{"Records":[', b"]}"


def window_envelope(
    *, start_ms: int, end_ms: int, state: bytes, shard_id: str, source_arn: str, is_final: bool, is_early: bool
) -> Envelope:
    """Give what surrounds the records of an event of a tumbling window; ``state`` is JSON."""
    window = orjson.dumps({"start": _iso_seconds(start_ms), "end": _iso_seconds(end_ms)})
    rest = {
        "shardId": shard_id,
        "eventSourceARN": source_arn,
        "isFinalInvokeForWindow": is_final,
        "isWindowTerminatedEarly": is_early,
    }
    return b'{"Records":[', b"".join((b'],"window":', window, b',"state":', state, b",", orjson.dumps(rest)[1:]))


def _iso_seconds(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
