"""A mapping's processor when invocations fail: retries, halves, partial failures, ages, throttles."""

import orjson
import pytest

from streamd.core.failure_documents import failure_document
from streamd.core.lane import retry_wait_ms
from streamd.core.mapping_settings import MappingSettings
from tests.core.mapping_sketches import (
    EVENTS,
    START_MS,
    failures_named,
    number_of,
    places_in,
    poller_of,
    processor_of,
    records_of,
)

MINUTE_MS = 60_000


def test_a_failed_batch_is_tried_again_after_waits_that_double_up_to_a_minute() -> None:
    poller = poller_of(MappingSettings())
    poller.feed(records_of(range(2)))
    waits = []

    for _ in range(9):
        poller.fail(poller.invoke())
        waits.append(poller.wake_ms())
        poller.now_ms += waits[-1] or 0

    assert waits == [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert places_in(poller.invoke()) == [0, 1]


def test_the_waits_are_spread_by_a_fifth_either_way() -> None:
    assert [retry_wait_ms(1, jitter) for jitter in (0, 0.5, 1)] == [400, 500, 600]
    assert retry_wait_ms(100_000, 1) == 72_000


@pytest.mark.parametrize("attempts_max", [0, 1, 3])
def test_a_batch_that_failed_once_more_than_its_retries_is_given_up_whole(attempts_max: int) -> None:
    poller = poller_of(MappingSettings(attempts_max=attempts_max, batch_size=2))
    poller.feed(records_of(range(3)))

    for _ in range(attempts_max + 1):
        poller.now_ms += MINUTE_MS
        poller.fail(poller.invoke())

    assert poller.failures == [("RetryAttemptsExhausted", 2, attempts_max + 1)]
    assert poller.stored.checkpoint == number_of(1)
    assert places_in(poller.invoke()) == [2]


def test_bisection_leaves_exactly_the_poison_behind_and_halving_costs_no_retry() -> None:
    poller = poller_of(MappingSettings(bisects=True, attempts_max=1, batch_size=8))
    poller.feed(records_of(range(8)))
    good: list[int] = []

    while invokes := poller.invokes():
        places = places_in(invokes[0])
        if 5 in places:
            poller.fail(invokes[0])
            poller.now_ms += MINUTE_MS
        else:
            good += places
            poller.succeed(invokes[0])

    assert good == [0, 1, 2, 3, 4, 6, 7]
    assert poller.failures == [("RetryAttemptsExhausted", 1, 2)]
    assert poller.stored.checkpoint == number_of(7)


def test_a_partial_failure_retries_from_the_lowest_named_record_with_fresh_retries() -> None:
    poller = poller_of(MappingSettings(reports_items=True, attempts_max=3, batch_size=3))
    poller.feed(records_of(range(3)))
    delivered = 0

    poller.fail(poller.invoke())
    while not poller.failures:
        poller.now_ms += MINUTE_MS
        invoke = poller.invoke()
        delivered += 2 in places_in(invoke)
        poller.succeed(invoke, failures_named(2))

    assert delivered == 5
    assert poller.failures == [("RetryAttemptsExhausted", 1, 4)]


def test_a_partial_failure_stores_what_went_well() -> None:
    poller = poller_of(MappingSettings(reports_items=True, batch_size=4))
    poller.feed(records_of(range(6)))

    poller.succeed(poller.invoke(), failures_named(3, 2))

    assert poller.stored.checkpoint == number_of(1)
    assert places_in(poller.invoke()) == [2, 3]


def test_an_answer_without_progress_is_an_error_that_names_no_function_error() -> None:
    processor = processor_of(MappingSettings(reports_items=True, attempts_max=0))
    processor.feed(records_of(range(2)), now_ms=START_MS, ticks_ms=0)
    processor.steps(START_MS, ticks_ms=0)

    settle = processor.succeeded(
        0, failures_named(0), now_ms=START_MS, ticks_ms=0, jitter=0, request_id="r-1", version="7"
    )

    document = orjson.loads(failure_document(settle.failures[0], EVENTS, request_id="", function_arn="f", now_ms=0))
    assert document["responseContext"] == {"statusCode": 200, "executedVersion": "7", "functionError": None}
    assert document["requestContext"]["requestId"] == "r-1"


def test_records_past_their_age_are_given_up_and_the_others_of_the_batch_go_on() -> None:
    poller = poller_of(MappingSettings(age_ms_max=MINUTE_MS, batch_size=10))
    poller.feed(records_of(range(4), gap_ms=10_000))
    poller.now_ms += MINUTE_MS + 15_000

    invoke = poller.invoke()

    assert poller.failures == [("RecordAgeExceeded", 2, 1)]
    assert places_in(invoke) == [2, 3]


def test_a_failing_record_is_given_up_at_its_age_and_not_at_the_next_try() -> None:
    poller = poller_of(MappingSettings(age_ms_max=MINUTE_MS))
    poller.feed(records_of(range(1)))
    tries = 0

    while not poller.failures:
        for invoke in poller.invokes():
            tries += 1
            poller.fail(invoke)
        poller.now_ms += poller.wake_ms() or 0

    assert tries == 7
    assert poller.failures == [("RecordAgeExceeded", 1, 8)]
    assert poller.now_ms == START_MS + MINUTE_MS + 1


def test_a_throttled_batch_waits_without_using_up_a_retry() -> None:
    poller = poller_of(MappingSettings(attempts_max=0))
    poller.feed(records_of(range(1)))

    for _ in range(5):
        invoke = poller.invoke()
        poller.processor.throttled(
            invoke.lane, reason="no capacity", now_ms=poller.now_ms, ticks_ms=poller.ticks_ms, jitter=0.5
        )
        poller.now_ms += poller.wake_ms() or 0

    assert poller.failures == []
    assert poller.processor.status().lanes[0].error == "no capacity"
    poller.succeed(poller.invoke())
    assert poller.stored.checkpoint == number_of(0)


def test_a_record_that_no_event_can_hold_is_given_up_at_once_whatever_the_retries() -> None:
    poller = poller_of(MappingSettings())
    poller.feed(records_of(range(1)))
    poller.feed(records_of(range(1, 2), data=bytes(5 * 1024 * 1024)))
    poller.feed(records_of(range(2, 3)))

    first = poller.invoke()
    poller.succeed(first)
    last = poller.invoke()

    assert (places_in(first), places_in(last)) == ([0], [2])
    assert poller.failures == [("RecordTooLarge", 1, 1)]
