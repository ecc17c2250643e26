"""The Kinesis dialect in CBOR, through a raw client: requests, answers, errors, and moments in their own form."""

import time
from collections.abc import Sequence
from typing import Any

import cbor2
import pytest

from tests.daemons import Daemon, raw
from tests.server.connections import CBOR, JSON, ask_cbor, exchange, whole_request

__all__: list[str] = []

_FIRST = "shardId-000000000000"


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    """Give a stream of one shard."""
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_name


def _iterator(daemon: Daemon, stream: str, kind: str, **members: Any) -> Any:
    place = {"StreamName": stream, "ShardId": _FIRST, "ShardIteratorType": kind}
    _, document = ask_cbor(daemon, "GetShardIterator", place | members)
    return document["ShardIterator"]


def test_records_go_in_and_out_as_byte_strings(daemon: Daemon, stream: str) -> None:
    payloads = [b"", b"\x00\xff", bytes(range(256)) * 20]
    entries = [{"Data": data, "PartitionKey": "\N{GRINNING FACE}é"} for data in payloads]

    first, put = ask_cbor(daemon, "PutRecord", {"StreamName": stream, "Data": b"one", "PartitionKey": "key"})
    second, rows = ask_cbor(daemon, "PutRecords", {"StreamName": stream, "Records": entries})
    third, got = ask_cbor(daemon, "GetRecords", {"ShardIterator": _iterator(daemon, stream, "TRIM_HORIZON")})

    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    assert {answer.headers["content-type"] for answer in (first, second, third)} == {CBOR}
    assert rows["FailedRecordCount"] == 0
    numbers = [put["SequenceNumber"], *(row["SequenceNumber"] for row in rows["Records"])]
    assert [record["SequenceNumber"] for record in got["Records"]] == numbers
    assert [record["Data"] for record in got["Records"]] == [b"one", *payloads]
    assert {record["PartitionKey"] for record in got["Records"]} == {"key", "\N{GRINNING FACE}é"}
    assert got["MillisBehindLatest"] == 0


def test_moments_are_tag_1_with_milliseconds_here_and_seconds_in_json(daemon: Daemon, stream: str) -> None:
    before_ms = time.time_ns() // 1_000_000
    ask_cbor(daemon, "PutRecord", {"StreamName": stream, "Data": b"", "PartitionKey": "key"})
    place = _iterator(daemon, stream, "TRIM_HORIZON")

    _, in_cbor = ask_cbor(daemon, "GetRecords", {"ShardIterator": place})
    in_json = raw(daemon.url, "GetRecords", {"ShardIterator": place}).json()
    _, described = ask_cbor(daemon, "DescribeStreamSummary", {"StreamName": stream})

    moment = in_cbor["Records"][0]["ApproximateArrivalTimestamp"]
    assert moment.tag == 1
    assert isinstance(moment.value, int)
    assert before_ms <= moment.value <= time.time_ns() // 1_000_000
    assert in_json["Records"][0]["ApproximateArrivalTimestamp"] == moment.value / 1000
    created = described["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    assert created.tag == 1
    assert isinstance(created.value, int)
    assert abs(created.value - before_ms) < 600_000


def test_a_moment_is_read_in_milliseconds(daemon: Daemon, stream: str) -> None:
    ask_cbor(daemon, "PutRecord", {"StreamName": stream, "Data": b"1", "PartitionKey": "key"})
    _, got = ask_cbor(daemon, "GetRecords", {"ShardIterator": _iterator(daemon, stream, "TRIM_HORIZON")})
    arrival_ms = got["Records"][0]["ApproximateArrivalTimestamp"].value

    found = []
    for value in (cbor2.CBORTag(1, arrival_ms), cbor2.CBORTag(1, float(arrival_ms)), cbor2.CBORTag(1, arrival_ms + 1)):
        place = _iterator(daemon, stream, "AT_TIMESTAMP", Timestamp=value)
        _, got = ask_cbor(daemon, "GetRecords", {"ShardIterator": place})
        found.append(len(got["Records"]))

    assert found == [1, 1, 0]


def test_an_empty_answer_has_no_body(daemon: Daemon, stream_name: str) -> None:
    answer, document = ask_cbor(daemon, "CreateStream", {"StreamName": stream_name, "ShardCount": 1})

    assert (answer.status, answer.body, document) == (200, b"", None)
    assert answer.headers["content-type"] == CBOR


@pytest.mark.parametrize(
    ("document", "code", "key", "sentence"),
    [
        ({"StreamName": "no-such"}, "ResourceNotFoundException", "message", "Stream no-such under account"),
        ({"StreamName": "?"}, "ValidationException", "message", "1 validation error detected: Value '?' at"),
        ({"StreamName": 5}, "SerializationException", "Message", "class com.amazon.coral.value.json.numbers"),
        ({"StreamName": b"x"}, "SerializationException", "Message", ""),
        ([], "SerializationException", "Message", "Start of list found where not expected"),
    ],
)
def test_errors_are_cbor_too(daemon: Daemon, document: object, code: str, key: str, sentence: str) -> None:
    answer, fault = ask_cbor(daemon, "DescribeStreamSummary", document)

    assert answer.status == 400
    assert answer.headers["content-type"] == CBOR
    assert fault["__type"] == code
    assert fault[key].startswith(sentence)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\xa1",
        b"\xa1\x61a",
        b"{}",
        b"\x01",
        b"\xf6",
        b"\x9f" * 5000,
        b"\x81" * 100_000,
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61a\xd8\x1d\x00",
        b"\xa1\x61a\xc2\x41\x01",
        b"\xa1\x61a\x61\xff",
    ],
)
def test_what_is_not_the_cbor_of_a_client_is_refused_without_a_word(daemon: Daemon, body: bytes) -> None:
    answer = raw(daemon.url, "DescribeStreamSummary", body, content_type=CBOR)

    assert answer.status == 400
    assert answer.headers["content-type"] == CBOR
    assert cbor2.loads(answer.body) == {"__type": "SerializationException"}


def test_maps_and_texts_of_unknown_length_are_read(daemon: Daemon, stream: str) -> None:
    name = stream.encode()
    body = b"\xbf\x6aStreamName\x7f" + _chunks(name[:7], name[7:]) + b"\xff\xff"

    answer = raw(daemon.url, "DescribeStreamSummary", body, content_type=CBOR)

    assert answer.status == 200
    assert (
        cbor2.loads(answer.body, semantic_decoders={1: lambda value, _: value})["StreamDescriptionSummary"][
            "StreamName"
        ]
        == stream
    )


def _chunks(*texts: bytes) -> bytes:
    return b"".join(bytes([0x60 | len(text)]) + text for text in texts)


def test_a_batch_may_come_in_one_language_and_be_read_in_the_other(daemon: Daemon, kinesis: Any, stream: str) -> None:
    ask_cbor(daemon, "PutRecords", {"StreamName": stream, "Records": [{"Data": b"\x80", "PartitionKey": "é"}]})
    kinesis.put_record(StreamName=stream, Data=b"\x81", PartitionKey="ü")

    _, got = ask_cbor(daemon, "GetRecords", {"ShardIterator": _iterator(daemon, stream, "TRIM_HORIZON")})
    place = _iterator(daemon, stream, "TRIM_HORIZON")
    records: Sequence[dict[str, Any]] = kinesis.get_records(ShardIterator=place)["Records"]

    expected = [(b"\x80", "é"), (b"\x81", "ü")]
    assert [(record["Data"], record["PartitionKey"]) for record in got["Records"]] == expected
    assert [(record["Data"], record["PartitionKey"]) for record in records] == expected


def test_the_end_of_a_closed_shard_names_its_children(daemon: Daemon, stream: str) -> None:
    ask_cbor(daemon, "SplitShard", {"StreamName": stream, "ShardToSplit": _FIRST, "NewStartingHashKey": "1000"})

    _, end = ask_cbor(daemon, "GetRecords", {"ShardIterator": _iterator(daemon, stream, "TRIM_HORIZON")})

    assert "NextShardIterator" not in end
    assert [child["ShardId"] for child in end["ChildShards"]] == ["shardId-000000000001", "shardId-000000000002"]


@pytest.mark.parametrize("content_type", [CBOR, f"{CBOR}; charset=utf-8", CBOR.upper()])
def test_the_language_is_told_by_the_content_type_before_its_semicolon(daemon: Daemon, content_type: str) -> None:
    answer = exchange(daemon, whole_request("DescribeLimits", cbor2.dumps({}), content_type=content_type))

    assert answer.status == 200
    assert cbor2.loads(answer.body)["OnDemandStreamCountLimit"] == 50


def test_json_under_the_name_of_cbor_is_not_read(daemon: Daemon) -> None:
    as_cbor = exchange(daemon, whole_request("DescribeLimits", b"{}", content_type=CBOR))
    as_json = exchange(daemon, whole_request("DescribeLimits", cbor2.dumps({}), content_type=JSON))

    assert cbor2.loads(as_cbor.body) == {"__type": "SerializationException"}
    assert as_json.json() == {"__type": "SerializationException"}
