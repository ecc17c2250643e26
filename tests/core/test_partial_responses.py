"""What an answer says of its batch, in every form that functions send."""

import orjson
import pytest

from streamd.core.partial_responses import BatchAnswer, read_answer

NUMBERS = ["900", "901", "902", "1000"]


def good_count(response: bytes) -> int:
    answer = read_answer(response, NUMBERS, reports_items=True, wants_state=False)
    assert answer is not None
    return answer.good_count


def naming(*items: object) -> bytes:
    return orjson.dumps({"batchItemFailures": [{"itemIdentifier": item} for item in items]})


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b'""',
        b"null",
        b"[]",
        b"{}",
        b'{"batchItemFailures":[]}',
        b'{"batchItemFailures":null}',
        b'"done"',
        b"17",
        b'{"other":[1]}',
    ],
)
def test_an_answer_that_names_no_failure_is_a_success(response: bytes) -> None:
    assert good_count(response) == len(NUMBERS)


def test_the_lowest_named_number_is_the_first_failure_whatever_the_order() -> None:
    assert good_count(naming("1000", "902")) == 2
    assert good_count(naming("902", "1000", "901")) == 1


@pytest.mark.parametrize(
    "response",
    [
        naming(""),
        naming(None),
        naming("17"),
        naming(902),
        naming("902", ""),
        b'{"batchItemFailures":[{"wrong":"902"}]}',
        b'{"batchItemFailures":["902"]}',
        b'{"batchItemFailures":{"itemIdentifier":"902"}}',
        b"not JSON",
    ],
)
def test_a_failure_that_cannot_be_understood_fails_the_whole_batch(response: bytes) -> None:
    assert good_count(response) == 0


def test_without_the_response_type_an_answer_is_not_looked_at() -> None:
    answer = read_answer(b"not JSON", NUMBERS, reports_items=False, wants_state=False)

    assert answer == BatchAnswer(len(NUMBERS))


def test_a_window_s_answer_has_to_hold_its_state() -> None:
    both = read_answer(
        b'{"state":{"n":1},"batchItemFailures":[{"itemIdentifier":"901"}]}',
        NUMBERS,
        reports_items=True,
        wants_state=True,
    )

    assert both == BatchAnswer(1, b'{"n":1}')
    for response in (b"", b"null", b"{}", b'{"state":null}', b"[1]", b"not JSON"):
        assert read_answer(response, NUMBERS, reports_items=True, wants_state=True) is None
