"""Tumbling windows: each record counts once in its window, and the window ends with a final call."""

import orjson
import pytest

from streamd.core.lane_steps import WINDOW_GRACE_MS
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import Invoke
from streamd.core.partial_responses import STATE_BYTE_COUNT_MAX
from tests.core.mapping_sketches import START_MS, Poller, number_of, places_in, processor_of, records_of

HOUR_MS = 3_600_000
WIDTH_MS = 120_000
SETTINGS = MappingSettings(tumbling_ms=WIDTH_MS, parallelization=5)


def poller_of(settings: MappingSettings = SETTINGS) -> Poller:
    return Poller(processor_of(settings))


def event_of(invoke: Invoke) -> dict[str, object]:
    event = orjson.loads(invoke.payload())
    assert isinstance(event, dict)
    return event


def state(value: object) -> bytes:
    return orjson.dumps({"state": value})


def test_a_window_forces_one_lane_and_hands_its_state_from_batch_to_batch() -> None:
    poller = poller_of()
    poller.feed(records_of(range(3)))

    first = poller.invoke()
    poller.succeed(first, state({"n": 3}))
    poller.feed(records_of(range(3, 5)))
    second = poller.invoke()

    assert event_of(first)["state"] == {}
    assert event_of(first)["window"] == {"start": "2026-11-23T03:20:00Z", "end": "2026-11-23T03:22:00Z"}
    assert event_of(second)["state"] == {"n": 3}
    assert (places_in(first), places_in(second)) == ([0, 1, 2], [3, 4])


def test_a_record_of_the_next_window_closes_the_one_before_and_no_batch_crosses_its_end() -> None:
    poller = poller_of()
    poller.feed(records_of(range(2)))
    poller.feed(records_of(range(2, 4), arrival_ms=START_MS + WIDTH_MS))

    poller.succeed(poller.invoke(), state({"n": 2}))
    final = poller.invoke()
    poller.succeed(final)
    following = poller.invoke()

    assert event_of(final)["Records"] == []
    assert event_of(final)["state"] == {"n": 2}
    assert event_of(final)["isFinalInvokeForWindow"] is True
    assert event_of(following)["state"] == {}
    assert places_in(following) == [2, 3]


def test_the_clock_closes_a_window_once_everything_of_it_was_read() -> None:
    poller = poller_of()
    poller.feed(records_of(range(2)))
    poller.succeed(poller.invoke(), state({"n": 2}))
    wait_ms = poller.wake_ms()
    poller.now_ms += wait_ms or 0

    held_open = poller.invokes(has_more=True)
    final = poller.invoke()

    assert wait_ms == WIDTH_MS + WINDOW_GRACE_MS
    assert held_open == []
    assert event_of(final)["isFinalInvokeForWindow"] is True


@pytest.mark.parametrize("set_ms", [-HOUR_MS, HOUR_MS], ids=["back", "forward"])
def test_a_window_closes_at_its_time_whatever_the_clock_is_set_to(set_ms: int) -> None:
    poller = poller_of()
    poller.feed(records_of(range(2)))
    poller.succeed(poller.invoke(), state({"n": 2}))
    wait_ms = poller.wake_ms()
    assert wait_ms is not None

    poller.set_clock(set_ms)
    still_ms = poller.wake_ms()
    poller.now_ms += wait_ms

    assert still_ms == wait_ms
    assert event_of(poller.invoke())["isFinalInvokeForWindow"] is True


def test_a_window_that_a_restart_finds_far_ahead_of_the_clock_closes_within_its_width() -> None:
    poller = poller_of()
    poller.feed(records_of(range(1)))
    poller.succeed(poller.invoke(), state({"n": 1}))

    again = Poller(processor_of(SETTINGS, poller.stored))
    again.now_ms -= HOUR_MS
    wait_ms = again.wake_ms()
    again.now_ms += wait_ms or 0

    assert wait_ms == WIDTH_MS + WINDOW_GRACE_MS
    assert event_of(again.invoke())["isFinalInvokeForWindow"] is True


def test_the_end_of_the_shard_closes_its_window_before_it_is_done() -> None:
    poller = poller_of()
    poller.feed(records_of(range(1)))
    poller.succeed(poller.invoke(), state({"n": 1}))

    poller.processor.end_of_shard()
    final = poller.invoke()
    was_done = poller.stored.is_done
    poller.succeed(final)

    assert not was_done
    assert poller.stored.is_done
    assert poller.stored.window is None


def test_an_answer_without_a_state_is_an_error() -> None:
    poller = poller_of()
    poller.feed(records_of(range(1)))

    poller.succeed(poller.invoke(), b"{}")

    assert poller.stored.checkpoint is None
    assert "state" in poller.processor.status().lanes[0].error


def test_a_state_that_is_too_large_ends_the_window_early() -> None:
    poller = poller_of(MappingSettings(tumbling_ms=WIDTH_MS, batch_size=1))
    poller.feed(records_of(range(2)))

    poller.succeed(poller.invoke(), state("x" * STATE_BYTE_COUNT_MAX))
    final = poller.invoke()
    poller.succeed(final)

    assert event_of(final)["isFinalInvokeForWindow"] is True
    assert event_of(final)["isWindowTerminatedEarly"] is True
    assert event_of(poller.invoke())["state"] == {}


def test_a_record_that_the_state_leaves_no_room_ends_the_window_and_then_goes() -> None:
    poller = poller_of(MappingSettings(tumbling_ms=WIDTH_MS, batch_size=1))
    poller.feed(records_of(range(1)))
    poller.feed(records_of(range(1, 2), data=bytes(4_500_000)))

    poller.succeed(poller.invoke(), state("x" * 900_000))
    final = poller.invoke()
    poller.succeed(final)

    assert event_of(final)["isWindowTerminatedEarly"] is True
    assert places_in(poller.invoke()) == [1]
    assert poller.failures == []


def test_a_failing_final_call_blocks_the_shard_until_its_retries_are_used_up() -> None:
    poller = poller_of(MappingSettings(tumbling_ms=WIDTH_MS, attempts_max=1))
    poller.feed(records_of(range(1)))
    poller.succeed(poller.invoke(), state({"n": 1}))
    poller.feed(records_of(range(1, 2), arrival_ms=START_MS + WIDTH_MS))

    attempts = []
    for _ in range(2):
        final = poller.invoke()
        attempts.append((final.record_count, final.attempt))
        poller.fail(final)
        poller.now_ms += 60_000

    assert attempts == [(0, 1), (0, 2)]
    assert poller.failures == [("RetryAttemptsExhausted", 0, 2)]
    assert places_in(poller.invoke()) == [1]


def test_a_window_and_its_final_call_s_failures_outlive_a_restart() -> None:
    poller = poller_of()
    poller.feed(records_of(range(1)))
    poller.succeed(poller.invoke(), state({"n": 1}))
    poller.processor.end_of_shard()
    poller.fail(poller.invoke())

    again = Poller(processor_of(SETTINGS, poller.stored))
    again.processor.end_of_shard()
    final = again.invoke()

    assert poller.stored.checkpoint == number_of(0)
    assert event_of(final)["state"] == {"n": 1}
    assert final.attempt == 2


def test_a_partial_failure_keeps_the_state_of_what_went_well() -> None:
    poller = poller_of(MappingSettings(tumbling_ms=WIDTH_MS, reports_items=True))
    poller.feed(records_of(range(3)))
    failures = [{"itemIdentifier": number_of(2)}]

    poller.succeed(poller.invoke(), orjson.dumps({"state": {"n": 2}, "batchItemFailures": failures}))
    again = poller.invoke()

    assert event_of(again)["state"] == {"n": 2}
    assert places_in(again) == [2]


def test_a_final_call_that_keeps_failing_is_given_up_when_its_window_is_too_old() -> None:
    poller = poller_of(MappingSettings(tumbling_ms=WIDTH_MS, age_ms_max=60_000))
    poller.feed(records_of(range(1)))
    poller.succeed(poller.invoke(), state({"n": 1}))
    poller.now_ms += WIDTH_MS + WINDOW_GRACE_MS

    tries = 0
    while not poller.failures:
        for invoke in poller.invokes():
            tries += 1
            poller.fail(invoke)
        poller.now_ms += poller.wake_ms() or 0

    assert poller.failures == [("RecordAgeExceeded", 0, tries + 1)]
    assert poller.now_ms == START_MS + WIDTH_MS + 60_001
    assert poller.stored.window is None
