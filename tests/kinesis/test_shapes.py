"""Holds the shapes against the newest service model: a drift is seen here before a user sees it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.shapes import (
    BlobShape,
    BooleanShape,
    DoubleShape,
    IntegerShape,
    ListShape,
    LongShape,
    MapShape,
    Shape,
    StructureShape,
    TextShape,
    TimestampShape,
)
from streamd.kinesis.shapes import INPUT_BY_OPERATION
from streamd.kinesis.shapes_members import CONSUMER_ARN, RESOURCE_ARN, STREAM_ARN

MODEL = get_session().get_service_model("kinesis")
ARN_PIECES = st.sampled_from(
    [
        "arn:aws",
        "(arn):aws",
        ":kinesis:",
        ":123456789012:",
        "us-east-1",
        "stream/",
        "queue/",
        "/consumer/",
        "name",
        ":7",
        ":",
        " ",
        "\n",
        "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1",
    ]
)


def plain(shape: Shape) -> object:
    """Tell one of our shapes in plain values."""
    match shape:
        case TextShape():
            return "string", shape.minimum, shape.maximum, shape.pattern, set(shape.enum)
        case IntegerShape():
            return "integer", shape.minimum, shape.maximum
        case LongShape():
            return "long", shape.minimum, shape.maximum
        case DoubleShape():
            return "double", shape.minimum, shape.maximum
        case BooleanShape():
            return "boolean"
        case TimestampShape():
            return "timestamp"
        case BlobShape():
            return "blob", shape.minimum, shape.maximum
        case ListShape():
            return "list", shape.minimum, shape.maximum, plain(shape.member)
        case MapShape():
            return "map", shape.minimum, shape.maximum, plain(shape.key), plain(shape.value)
        case StructureShape():
            members = {name: plain(member) for name, member in shape.members.items()}
            return "structure", shape.required, members


def plain_of_model(shape: Any) -> object:
    """Tell one of the model's shapes in the same plain values."""
    bounds = shape.metadata.get("min"), shape.metadata.get("max")
    match shape.type_name:
        case "string":
            return "string", *bounds, shape.metadata.get("pattern"), set(getattr(shape, "enum", ()))
        case "integer" | "blob":
            return shape.type_name, *bounds
        case "list":
            return "list", *bounds, plain_of_model(shape.member)
        case "map":
            return "map", *bounds, plain_of_model(shape.key), plain_of_model(shape.value)
        case "structure":
            members = {name: plain_of_model(member) for name, member in shape.members.items()}
            return "structure", frozenset(shape.required_members), members
        case other:
            return other


def test_only_channels_and_queues_have_no_shape() -> None:
    without = set(MODEL.operation_names) - set(INPUT_BY_OPERATION)

    assert set(INPUT_BY_OPERATION) <= set(MODEL.operation_names)
    assert all("Channel" in operation or "Queue" in operation for operation in without)


@pytest.mark.parametrize("operation", sorted(INPUT_BY_OPERATION))
def test_a_request_has_the_shape_of_the_newest_model(operation: str) -> None:
    shape = INPUT_BY_OPERATION[operation]

    told = plain(shape)

    assert told == plain_of_model(MODEL.operation_model(operation).input_shape)


def test_structures_in_lists_are_named_as_the_model_names_them() -> None:
    entries = INPUT_BY_OPERATION["PutRecords"].members["Records"]

    assert isinstance(entries, ListShape)
    assert isinstance(entries.member, StructureShape)
    assert entries.member.name == "PutRecordsRequestEntry"


@given(st.lists(ARN_PIECES, max_size=12).map("".join))
def test_closing_the_gaps_of_a_pattern_changes_nothing(text: str) -> None:
    for shape in (STREAM_ARN, RESOURCE_ARN, CONSUMER_ARN):
        assert shape.pattern is not None
        assert shape.matcher is not None

        plainly = re.compile(shape.pattern, re.ASCII).fullmatch(text)

        assert bool(shape.matcher.fullmatch(text)) == bool(plainly)
