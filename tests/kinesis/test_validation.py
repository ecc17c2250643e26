"""Requests against their shapes: AWS's recorded sentences, its order, and nothing but its errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybase64 import b64encode_as_string

from streamd.kinesis import validation
from streamd.kinesis.codecs import CBOR, JSON, Timestamp
from streamd.kinesis.faults import Fault, SerializationFailed, ValidationFailed
from streamd.kinesis.shapes import INPUT_BY_OPERATION
from streamd.kinesis.validation import check
from tests.kinesis.sentences import VIOLATIONS, WRONG_TYPES

TEXTS = st.text(max_size=5)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.binary(max_size=5)
    | st.builds(Timestamp, st.integers()),
    lambda members: st.lists(members, max_size=3) | st.dictionaries(TEXTS, members, max_size=3),
    max_leaves=8,
)
MEMBER_NAMES = sorted({name for shape in INPUT_BY_OPERATION.values() for name in shape.members})
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"Data": st.binary(max_size=9)},
        optional={
            "PartitionKey": st.none() | TEXTS,
            "ExplicitHashKey": st.none() | st.sampled_from(["0", "17", "", "01", "9" * 39]),
            "Unknown": st.integers(),
        },
    ),
    max_size=6,
)


def outcome(operation: str, document: object) -> object:
    """Tell what a check answers, or what it says."""
    try:
        return check(operation, document)
    except Fault as fault:
        return fault.document()


@pytest.mark.parametrize(("operation", "document", "sentences"), VIOLATIONS)
def test_all_broken_constraints_are_told_in_awss_words_and_order(
    operation: str, document: dict[str, Any], sentences: list[str]
) -> None:
    noun = "error" if len(sentences) == 1 else "errors"

    with pytest.raises(ValidationFailed) as refusal:
        check(operation, document)

    assert refusal.value.sentence == f"{len(sentences)} validation {noun} detected: {'; '.join(sentences)}"
    assert (refusal.value.code, refusal.value.status) == ("ValidationException", 400)


def test_every_operation_with_members_has_a_told_violation() -> None:
    with_members = {operation for operation, shape in INPUT_BY_OPERATION.items() if shape.members}

    told = {operation for operation, _, _ in VIOLATIONS}

    assert told == with_members


@pytest.mark.parametrize(("operation", "document", "sentence"), WRONG_TYPES)
def test_a_wrong_type_is_told_as_java_tells_it(operation: str, document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SerializationFailed) as refusal:
        check(operation, document)

    assert refusal.value.document() == {"__type": "SerializationException", "Message": sentence}


def test_too_many_records_are_shown_as_java_objects() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        check("PutRecords", {"Records": [{"Data": b""}] * 501})

    start, _, end = str(refusal.value.sentence).partition("[")
    assert start == "1 validation error detected: Value '"
    assert end.startswith("com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@")
    assert end.count("PutRecordsRequestEntry@") == 501
    assert end.endswith(
        "]' at 'records' failed to satisfy constraint: Member must have length less than or equal to 500"
    )


@pytest.mark.parametrize("operation", ["DescribeLimits", "DescribeAccountSettings"])
def test_unknown_members_and_nulls_are_ignored(operation: str) -> None:
    assert check(operation, {"Unknown": [[[]]], "StreamName": None}) == {}
    assert check("DeleteStream", {"StreamName": None, "Unknown": 7}) == {}


@pytest.mark.parametrize("document", [None, "hello", 7, True, b"", []])
def test_a_body_that_is_no_structure_is_refused(document: object) -> None:
    with pytest.raises(SerializationFailed):
        check("ListStreams", document)


def test_numbers_are_read_as_leniently_as_aws_does() -> None:
    assert check("GetRecords", {"ShardIterator": "a", "Limit": 5.9})["Limit"] == 5
    assert check("UpdateShardCount", {"ScalingType": "UNIFORM_SCALING", "TargetShardCount": 2**40}) == {
        "ScalingType": "UNIFORM_SCALING",
        "TargetShardCount": 2**31 - 1,
    }
    assert check("IncreaseStreamRetentionPeriod", {"RetentionPeriodHours": -1e300}) == {
        "RetentionPeriodHours": -(2**31)
    }


@pytest.mark.parametrize(
    ("value", "is_dry"),
    [(True, True), (False, False), ("true", True), ("NO", False), ("1", True), ("0", False), (34.56, True)],
)
def test_booleans_are_read_as_leniently_as_aws_does(value: object, *, is_dry: bool) -> None:
    assert check("GetRecords", {"ShardIterator": "a", "DryRun": value})["DryRun"] is is_dry


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1_422_000_000, 1_422_000_000_000),
        (1_422_000_000.123, 1_422_000_000_123),
        (Timestamp(1_422_000_000_123), 1_422_000_000_123),
        (-1.5, -1_500),
        (1e308, 2**63 - 1),
        (-1e308, -(2**63)),
    ],
)
def test_a_moment_becomes_milliseconds(value: object, milliseconds: int) -> None:
    assert check("ListShards", {"StreamCreationTimestamp": value}) == {"StreamCreationTimestamp": milliseconds}


def test_a_partition_key_counts_characters_and_may_hold_any() -> None:
    key = "\x00" + "😀" * 255

    members = check("PutRecord", JSON.decode(JSON.encode({"Data": b"d", "PartitionKey": key})))

    assert members == {"Data": b"d", "PartitionKey": key}


def test_a_newline_does_not_slip_past_a_pattern() -> None:
    for name in ("s\n", "s\n\n", "\ns"):
        with pytest.raises(ValidationFailed):
            check("DeleteStream", {"StreamName": name})
    with pytest.raises(ValidationFailed):
        check("PutRecord", {"Data": b"", "ExplicitHashKey": "1\n"})


def test_a_hostile_name_costs_little_and_is_quoted_in_part() -> None:
    arn = "arn:aws" + ":kinesis:" * 500_000

    with pytest.raises(ValidationFailed) as refusal:
        check("DeleteStream", {"StreamARN": arn})

    assert len(str(refusal.value.sentence)) < 70_000


@given(entries=ENTRIES, is_json=st.booleans())
def test_the_quick_way_and_the_slow_way_agree(entries: list[dict[str, Any]], *, is_json: bool) -> None:
    document: dict[str, Any] = {"StreamName": "s", "Records": entries, "Unknown": 1}
    if is_json:
        document["Records"] = [entry | {"Data": b64encode_as_string(entry["Data"])} for entry in entries]

    quickly = outcome("PutRecords", document)
    try:
        slowly: object = validation._explained(INPUT_BY_OPERATION["PutRecords"], document)
    except Fault as fault:
        slowly = fault.document()

    assert quickly == slowly


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_records_come_back_from_both_codecs(blobs: list[bytes]) -> None:
    records = [{"Data": blob, "PartitionKey": str(number)} for number, blob in enumerate(blobs)]
    document = {"StreamName": "s", "Records": records}

    for codec in (JSON, CBOR):
        assert check("PutRecords", codec.decode(codec.encode(document))) == document


@given(
    st.sampled_from(sorted(INPUT_BY_OPERATION)),
    st.dictionaries(st.sampled_from(MEMBER_NAMES) | TEXTS, JSON_VALUES, max_size=5),
)
def test_no_document_raises_anything_but_a_fault(operation: str, document: dict[str, Any]) -> None:
    told = outcome(operation, document)

    assert isinstance(told, dict)


@given(st.lists(JSON_VALUES | ENTRIES.map(lambda entries: {"Data": entries}), max_size=4))
def test_no_batch_raises_anything_but_a_fault(entries: list[Any]) -> None:
    told = outcome("PutRecords", {"Records": entries})

    assert isinstance(told, dict)
