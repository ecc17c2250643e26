"""The table of clients: what it says in a few words is read back as what was run."""

import pytest

from streamd.kinesis.operations import HANDLER_BY_OPERATION
from tests.clients.client_table import LAMBDA_OPERATIONS, _named, _operations_of

__all__: list[str] = []

_COUNT = len(HANDLER_BY_OPERATION)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ([], f"all {_COUNT}"),
        (["PutRecord"], f"all {_COUNT} but PutRecord"),
        (["GetRecords", "ListShards", "PutRecord"], f"all {_COUNT} but GetRecords, ListShards, PutRecord"),
    ],
)
def test_nearly_every_operation_is_said_by_what_is_missing(missing: list[str], words: str) -> None:
    operations = set(HANDLER_BY_OPERATION) - set(missing)

    assert _named(operations) == words
    assert _operations_of(words) == operations


def test_a_few_operations_are_named() -> None:
    assert _named(["PutRecord", "GetRecords"]) == "GetRecords, PutRecord"
    assert _operations_of("GetRecords, PutRecord") == {"GetRecords", "PutRecord"}


def test_operations_of_lambda_are_told_from_those_of_kinesis() -> None:
    words = f"all {len(LAMBDA_OPERATIONS)} of Lambda but InvokeWithResponseStream"
    operations = set(LAMBDA_OPERATIONS) - {"InvokeWithResponseStream"}

    assert _named(operations) == words
    assert _operations_of(words) == operations
