"""Both codecs: what goes in comes out, AWS's own forms are kept, and no body does harm."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import cbor2
import orjson
import pytest
from botocore.parsers import JSONParser
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st
from pybase64 import b64decode

from streamd.kinesis.codecs import CBOR, JSON, PLAIN_JSON, Codec, RecordColumns, Timestamp, codec_of
from streamd.kinesis.faults import InternalFailure, SerializationFailed, UnknownOperation, ValidationFailed

MOMENTS_MS = st.integers(0, 4_102_444_800_000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
DOCUMENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS | st.binary(max_size=40),
        lambda members: st.lists(members, max_size=4) | st.dictionaries(TEXTS, members, max_size=4),
        max_leaves=20,
    ),
    max_size=6,
)
ROWS = st.lists(
    st.tuples(
        st.binary(max_size=70),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
        st.integers(0, 10**56 - 1).map(lambda number: f"{number:056d}"),
        MOMENTS_MS,
        st.booleans(),
    ),
    max_size=8,
)


def columns_of(rows: Sequence[tuple[bytes, str | None, str, int, bool]]) -> RecordColumns:
    """Turn rows into columns."""
    return RecordColumns(
        data=[row[0] for row in rows],
        partition_keys=[None if row[1] is None else row[1].encode() for row in rows],
        sequence_numbers=[row[2] for row in rows],
        arrivals_ms=[row[3] for row in rows],
        encrypted=[row[4] for row in rows],
    )


def text_of_blobs(value: Any) -> Any:
    """Write blobs as JSON readers meet them."""
    match value:
        case bytes():
            return orjson.loads(JSON.encode({"": value}))[""]
        case list():
            return [text_of_blobs(member) for member in value]
        case dict():
            return {name: text_of_blobs(member) for name, member in value.items()}
        case _:
            return value


@pytest.mark.parametrize(
    ("content_type", "codec"),
    [
        ("application/x-amz-json-1.1", JSON),
        (" Application/X-Amz-JSON-1.1; charset=utf-8", JSON),
        ("application/json", PLAIN_JSON),
        ("application/x-amz-cbor-1.1", CBOR),
        ("text/plain", None),
        ("", None),
        (None, None),
    ],
)
def test_a_content_type_names_its_codec(content_type: str | None, codec: Codec | None) -> None:
    assert codec_of(content_type) is codec


@given(DOCUMENTS)
def test_a_document_comes_back_from_cbor_as_it_was(document: dict[str, Any]) -> None:
    assert CBOR.decode(CBOR.encode(document)) == document


@given(DOCUMENTS)
def test_a_document_comes_back_from_json_with_blobs_as_text(document: dict[str, Any]) -> None:
    assert JSON.decode(JSON.encode(document)) == text_of_blobs(document)


@given(MOMENTS_MS)
def test_a_moment_is_seconds_in_json_and_tagged_milliseconds_in_cbor(moment_ms: int) -> None:
    document = {"At": Timestamp(moment_ms)}

    in_json = json.loads(JSON.encode(document))
    in_cbor = CBOR.encode(document)

    assert isinstance(in_json["At"], float)
    assert round(in_json["At"] * 1000) == moment_ms
    assert in_cbor == b"\xa1\x62At\xc1" + cbor2.dumps(moment_ms)
    assert CBOR.decode(in_cbor) == document


@given(ROWS, st.one_of(st.none(), st.text("abc", max_size=20)))
def test_records_in_columns_are_written_as_records_one_by_one(
    rows: list[tuple[bytes, str | None, str, int, bool]], next_iterator: str | None
) -> None:
    rest: dict[str, object] = {"NextShardIterator": next_iterator, "MillisBehindLatest": 7}
    records = [
        {
            "SequenceNumber": number,
            "ApproximateArrivalTimestamp": Timestamp(arrival_ms),
            "Data": data,
        }
        | ({} if key is None else {"PartitionKey": key})
        | ({"EncryptionType": "KMS"} if is_encrypted else {})
        for data, key, number, arrival_ms, is_encrypted in rows
    ]

    in_json = JSON.encode_records(columns_of(rows), rest)
    in_cbor = CBOR.encode_records(columns_of(rows), rest)

    assert in_json == JSON.encode({"Records": records, **rest})
    assert CBOR.decode(in_cbor) == {"Records": records, **rest}


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 2_047, 2_048, 65_535, 65_536, 1_048_576])
def test_a_record_of_any_size_keeps_its_bytes_in_cbor(size: int) -> None:
    data = bytes(size)

    document = CBOR.decode(CBOR.encode_records(columns_of([(data, "k", "1" * 56, 1, False)]), {}))

    assert document["Records"][0]["Data"] == data  # type: ignore[index] # decoded: an object


def test_botocore_reads_records_as_they_were() -> None:
    shape = get_session().get_service_model("kinesis").operation_model("GetRecords").output_shape
    rows = [(b"\x00\xff", "kéy", "4" * 56, 1_700_000_000_123, True)]

    body = JSON.encode_records(columns_of(rows), {"MillisBehindLatest": 0})
    answer = JSONParser().parse({"body": body, "headers": {}, "status_code": 200}, shape)

    assert answer["Records"][0]["Data"] == b"\x00\xff"
    assert answer["Records"][0]["PartitionKey"] == "kéy"
    assert answer["Records"][0]["EncryptionType"] == "KMS"
    assert answer["Records"][0]["ApproximateArrivalTimestamp"].astimezone(UTC) == datetime(
        2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC
    )


@pytest.mark.parametrize("codec", [JSON, CBOR])
def test_an_answer_refuses_a_value_it_has_no_form_for(codec: Codec) -> None:
    with pytest.raises(TypeError):
        codec.encode({"At": object()})


def test_faults_have_awss_bodies() -> None:
    assert JSON.encode_fault(UnknownOperation()) == b'{"__type":"UnknownOperationException"}'
    assert JSON.encode_fault(SerializationFailed()) == b'{"__type":"SerializationException"}'
    assert (
        JSON.encode_fault(SerializationFailed("Expected null"))
        == b'{"__type":"SerializationException","Message":"Expected null"}'
    )
    assert JSON.encode_fault(ValidationFailed("No.")) == b'{"__type":"ValidationException","message":"No."}'
    assert CBOR.decode(CBOR.encode_fault(InternalFailure("Full."))) == {
        "__type": "InternalFailureException",
        "message": "Full.",
    }
    assert InternalFailure("Full.").status == 500
    assert str(InternalFailure("Full.")) == "InternalFailureException: Full."
    assert str(UnknownOperation()) == "UnknownOperationException"


def test_the_java_clients_body_is_read() -> None:
    body = (
        b"\xbf\x6aStreamName\x61s\x64Data\x5f\x41a\x42bc\xff\x6cPartitionKey\x7f\x61k\x61y\xff"
        b"\x69Timestamp\xc1\x1b" + struct.pack(">Q", 1_422_000_000_123) + b"\xff"
    )

    document = CBOR.decode(body)

    assert document == {
        "StreamName": "s",
        "Data": b"abc",
        "PartitionKey": "ky",
        "Timestamp": Timestamp(1_422_000_000_123),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'{"a":1',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'"\\ud800"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_broken_json_body_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationFailed) as refusal:
        JSON.decode(body)

    assert refusal.value.document() == {"__type": "SerializationException"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="an end of nothing"),
        pytest.param(b"\x1c", id="an unassigned length"),
        pytest.param(b"\x1f", id="a number of unknown length"),
        pytest.param(b"\xbf\x61a", id="a map that does not end"),
        pytest.param(b"\x5b" + b"\xff" * 8, id="a huge byte string"),
        pytest.param(b"\x7a\x3f\xff\xff\xff", id="a huge text"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="a huge list"),
        pytest.param(b"\xbb" + b"\xff" * 8, id="a huge map"),
        pytest.param(b"\x81" * 100_000 + b"\x00", id="deep lists"),
        pytest.param(b"\x9f" * 100_000, id="deep lists of unknown length"),
        pytest.param(b"\xc1" * 100_000 + b"\x00", id="deep tags"),
        pytest.param(b"\xc2\x5a\x00\x10\x00\x00" + b"\xff" * 0x10_0000, id="a big number"),
        pytest.param(b"\xd8\x1c\x81\xd8\x1d\x00", id="a list that holds itself"),
        pytest.param(b"\xd8\x23\x61(", id="a regular expression"),
        pytest.param(b"\xc0\x74" + b"2013-03-21T20:04:00Z", id="a moment as text"),
        pytest.param(b"\xc1\x61a", id="tag 1 on a text"),
        pytest.param(b"\xc1\xf5", id="tag 1 on a boolean"),
        pytest.param(b"\xc1\xf9\x7e\x00", id="tag 1 on no number"),
        pytest.param(b"\xc1\xf9\x7c\x00", id="tag 1 on infinity"),
        pytest.param(b"\xf7", id="undefined"),
        pytest.param(b"\xf8\xff", id="a simple value"),
        pytest.param(b"\x62\xff\xff", id="a text that is not UTF-8"),
        pytest.param(b"\x63\xed\xa0\x80", id="a lone surrogate"),
        pytest.param(b"\xa1\xf6\x00", id="a key that is null"),
        pytest.param(b"\xa1\x80\x00", id="a key that is a list"),
    ],
)
def test_a_strange_cbor_body_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationFailed):
        CBOR.decode(body)


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (JSON, b"[" + b"[]," * 1_000_000 + b"[]]"),
        (JSON, b"[" + b'{"":{}},' * 500_000 + b"{}]"),
        (JSON, b"[" + (b"[" * 900 + b"]" * 900 + b",") * 1_000 + b"[]]"),
        (CBOR, b"\x9f" + b"\x80" * 2_000_000 + b"\xff"),
        (CBOR, b"\x9f" + b"\xe0" * 2_000_000 + b"\xff"),
        (CBOR, b"\x5f" + b"\x40" * 2_000_000 + b"\xff"),
    ],
)
def test_a_body_of_tiny_values_takes_no_memory(codec: Codec, body: bytes) -> None:
    tracemalloc.start()

    with pytest.raises(SerializationFailed):
        codec.decode(body)

    _, peak_byte_count = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_byte_count < len(body)


def test_a_large_honest_body_is_read() -> None:
    records = [{"Data": bytes(20_000), "PartitionKey": "," * 256} for _ in range(500)]

    in_json = JSON.decode(JSON.encode({"Records": records}))
    in_cbor = CBOR.decode(CBOR.encode({"Records": records}))

    assert b64decode(in_json["Records"][499]["Data"]) == bytes(20_000)  # type: ignore[index] # an object
    assert in_cbor == {"Records": records}


@given(st.binary(max_size=200))
def test_no_body_raises_anything_but_a_serialization_failure(body: bytes) -> None:
    for codec in (JSON, CBOR):
        with suppress(SerializationFailed):
            codec.decode(body)
