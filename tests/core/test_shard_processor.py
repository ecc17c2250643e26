"""A mapping's processor, step by step: batches, windows, lanes, restarts, and what is stored."""

from dataclasses import replace

import pytest

from streamd.core.mapping_events import EVENT_BYTE_COUNT_MAX
from streamd.core.mapping_settings import MappingSettings
from streamd.core.mapping_steps import MappingCounters
from streamd.core.shard_progress import LaneProgress, ShardProgress
from tests.core.mapping_sketches import (
    EVENTS,
    START_MS,
    number_of,
    places_in,
    poller_of,
    processor_of,
    records_of,
)

MINUTE_MS = 60_000


def test_without_a_window_whatever_is_there_goes_at_once_and_no_batch_is_larger_than_its_size() -> None:
    poller = poller_of(MappingSettings(batch_size=3))
    poller.feed(records_of(range(5)))

    first = poller.invoke()
    poller.succeed(first)
    second = poller.invoke()

    assert (places_in(first), places_in(second)) == ([0, 1, 2], [3, 4])
    assert poller.stored.checkpoint == number_of(2)


def test_a_lane_does_not_go_on_before_its_progress_is_stored() -> None:
    processor = processor_of(MappingSettings(batch_size=1))
    processor.feed(records_of(range(2)), now_ms=START_MS, ticks_ms=0)
    processor.steps(START_MS, ticks_ms=0)

    settle = processor.succeeded(0, b"", now_ms=START_MS, ticks_ms=0, jitter=0, request_id="r", version="1")
    before = processor.steps(START_MS, ticks_ms=0)
    progress = processor.progress_with(settle)
    between = processor.steps(START_MS, ticks_ms=0)
    processor.settled(settle)

    assert not before.invokes
    assert not between.invokes
    assert progress.checkpoint == number_of(0)
    assert places_in(processor.steps(START_MS, ticks_ms=0).invokes[0]) == [1]


def test_a_window_waits_for_its_end_or_for_a_full_batch_and_begins_when_the_invocation_before_ended() -> None:
    poller = poller_of(MappingSettings(batch_size=3, window_ms=10_000))
    poller.feed(records_of(range(2)))
    waits = poller.wake_ms()
    poller.feed(records_of(range(2, 4)))
    full = poller.invoke()
    poller.now_ms += 4_000

    poller.succeed(full)

    assert waits == 10_000
    assert places_in(full) == [0, 1, 2]
    assert poller.wake_ms() == 10_000
    poller.now_ms += 10_000
    assert places_in(poller.invoke()) == [3]


def test_a_window_that_passed_with_nothing_in_it_begins_again_with_the_next_record() -> None:
    poller = poller_of(MappingSettings(window_ms=10_000))
    poller.now_ms += MINUTE_MS

    poller.feed(records_of(range(1)))

    assert poller.wake_ms() == 10_000


@pytest.mark.parametrize("set_ms", [-60 * MINUTE_MS, 60 * MINUTE_MS], ids=["back", "forward"])
@pytest.mark.parametrize("is_seen_by", ["steps", "feed"])
def test_a_retry_waits_as_long_whatever_the_clock_is_set_to(is_seen_by: str, set_ms: int) -> None:
    poller = poller_of(MappingSettings(batch_size=1, window_ms=0))
    poller.feed(records_of(range(1)))
    poller.fail(poller.invoke())
    pause_ms = poller.wake_ms()

    poller.set_clock(set_ms)
    if is_seen_by == "feed":
        poller.feed(records_of(range(1, 2)))

    assert pause_ms is not None
    assert poller.wake_ms() == pause_ms
    assert poller.processor.status().lanes[0].next_try_ms == poller.now_ms + pause_ms
    poller.now_ms += pause_ms
    assert places_in(poller.invoke()) == [0]


@pytest.mark.parametrize("set_ms", [-60 * MINUTE_MS, 60 * MINUTE_MS], ids=["back", "forward"])
def test_a_window_ends_as_long_after_it_began_whatever_the_clock_is_set_to(set_ms: int) -> None:
    poller = poller_of(MappingSettings(window_ms=10_000))
    poller.now_ms += MINUTE_MS
    poller.feed(records_of(range(1)))

    poller.set_clock(set_ms)

    assert poller.wake_ms() == 10_000


def test_waits_go_on_while_the_clock_stands_still() -> None:
    poller = poller_of(MappingSettings(batch_size=1, window_ms=0))
    poller.feed(records_of(range(1)))
    poller.fail(poller.invoke())
    pause_ms = poller.wake_ms()
    assert pause_ms is not None

    poller.now_ms += pause_ms
    poller.set_clock(-pause_ms)

    assert places_in(poller.invoke()) == [0]


def test_the_end_of_the_shard_ends_the_window_and_when_all_is_stored_the_shard_is_done() -> None:
    poller = poller_of(MappingSettings(window_ms=10_000))
    poller.feed(records_of(range(1)))

    poller.processor.end_of_shard()
    poller.succeed(poller.invoke())

    assert poller.processor.is_done
    assert poller.stored.is_done
    assert poller.wake_ms() is None


def test_an_empty_shard_that_ends_is_done_at_once() -> None:
    poller = poller_of(MappingSettings())

    poller.processor.end_of_shard()

    assert poller.invokes() == []
    assert poller.stored == ShardProgress(lanes=poller.stored.lanes, is_done=True)


def test_a_batch_closes_before_its_event_is_too_large() -> None:
    poller = poller_of(MappingSettings(batch_size=10_000, window_ms=10_000))
    poller.feed(records_of(range(20), data=bytes(1024 * 1024)))

    payload = poller.invoke().payload()

    one = EVENTS.write(records_of(range(1), data=bytes(1024 * 1024)))[0]
    assert EVENT_BYTE_COUNT_MAX - len(one) < len(payload) <= EVENT_BYTE_COUNT_MAX


def test_records_that_retention_ended_while_they_waited_are_counted_and_not_sent() -> None:
    poller = poller_of(MappingSettings(batch_size=2))
    poller.feed(records_of(range(5), gap_ms=1000))
    poller.fail(poller.invoke())

    poller.now_ms += MINUTE_MS
    (invoke,) = poller.invokes(horizon_ms=START_MS + 2500)

    assert places_in(invoke) == [3, 4]
    assert poller.processor.take_counters().expired == 3


def test_filtered_records_move_the_checkpoint_durably_within_a_second() -> None:
    poller = poller_of(MappingSettings(patterns=('{"partitionKey":["wanted"]}',)))
    poller.feed(records_of(range(3), key="other"))

    wait_ms = poller.wake_ms()
    poller.now_ms += 1000

    assert wait_ms == 1000
    assert poller.invokes() == []
    assert poller.stored.checkpoint == number_of(2)
    assert poller.processor.take_counters() == MappingCounters(polled=3, filtered_out=3)


def test_filtered_records_do_not_move_the_checkpoint_past_a_waiting_one() -> None:
    poller = poller_of(MappingSettings(patterns=('{"partitionKey":["wanted"]}',)))
    poller.feed(records_of(range(1), key="other"))
    poller.feed(records_of(range(1, 2), key="wanted"))
    poller.feed(records_of(range(2, 4), key="other"))

    invoke = poller.invoke()
    poller.now_ms += 1000
    poller.invokes()
    while_waiting = poller.stored.checkpoint
    poller.succeed(invoke)

    assert places_in(invoke) == [1]
    assert while_waiting == number_of(0)
    assert poller.stored.checkpoint == number_of(3)


def test_a_stuck_lane_holds_the_checkpoint_and_a_restart_skips_what_the_others_did() -> None:
    settings = MappingSettings(parallelization=4, batch_size=10)
    poller = poller_of(settings)
    poller.feed(records_of(range(20)))
    invokes = poller.invokes()
    stuck = next(invoke for invoke in invokes if 0 in places_in(invoke))

    for invoke in invokes:
        (poller.fail if invoke is stuck else poller.succeed)(invoke)
    again = poller_of(settings, poller.stored)
    again.feed(records_of(range(20)))

    assert poller.stored.checkpoint is None
    assert [places_in(invoke) for invoke in again.invokes()] == [places_in(stuck)]


def test_other_lanes_than_before_still_skip_what_was_done() -> None:
    poller = poller_of(MappingSettings(parallelization=4, batch_size=10))
    poller.feed(records_of(range(20)))
    invokes = poller.invokes()
    stuck = next(invoke for invoke in invokes if 0 in places_in(invoke))
    for invoke in invokes:
        (poller.fail if invoke is stuck else poller.succeed)(invoke)

    other = poller_of(MappingSettings(parallelization=3, batch_size=20), poller.stored)
    other.feed(records_of(range(20)))
    repeated = other.invokes()
    for invoke in repeated:
        other.succeed(invoke)

    assert sorted(place for invoke in repeated for place in places_in(invoke)) == places_in(stuck)
    assert other.stored == ShardProgress(checkpoint=number_of(19), lanes=(LaneProgress(),) * 3)


def test_a_restart_goes_on_with_the_same_batch_and_the_same_count_of_failures() -> None:
    settings = MappingSettings(attempts_max=2, batch_size=10)
    poller = poller_of(settings)
    poller.feed(records_of(range(3)))
    poller.fail(poller.invoke())

    again = poller_of(settings, poller.stored)
    again.feed(records_of(range(2)))
    waits = again.wake_ms()
    again.feed(records_of(range(2, 9)))
    invoke = again.invoke()

    assert waits is None
    assert (places_in(invoke), invoke.attempt) == ([0, 1, 2], 2)


def test_a_restart_amid_halves_keeps_each_half() -> None:
    settings = MappingSettings(attempts_max=0, batch_size=4, bisects=True)
    poller = poller_of(settings)
    poller.feed(records_of(range(4)))
    poller.fail(poller.invoke())
    poller.fail(poller.invoke())

    again = poller_of(settings, poller.stored)
    again.feed(records_of(range(6)))
    batches = []
    while invokes := again.invokes():
        batches.append(places_in(invokes[0]))
        again.succeed(invokes[0])

    assert batches == [[0], [1], [2, 3], [4, 5]]


def test_reading_ahead_is_bounded_in_records_and_in_bytes() -> None:
    small = processor_of(MappingSettings(batch_size=10, parallelization=2))
    large = processor_of(MappingSettings(batch_size=10_000))
    before = small.steps(START_MS, ticks_ms=0).room

    small.feed(records_of(range(40)), now_ms=START_MS, ticks_ms=0)
    large.feed(records_of(range(10), data=bytes(1024 * 1024)), now_ms=START_MS, ticks_ms=0)

    assert before.record_count == 40
    assert small.room().record_count == 0
    assert large.room().byte_count == 0


def test_the_status_tells_how_long_a_lane_is_blocked_and_why() -> None:
    poller = poller_of(MappingSettings())
    poller.feed(records_of(range(2)))

    poller.fail(poller.invoke())

    status = poller.processor.status()
    lane = status.lanes[0]
    assert (lane.attempt, lane.blocked_since_ms, lane.error) == (2, START_MS, "boom")
    assert (lane.queued_count, lane.next_try_ms) == (2, START_MS + 500)
    assert (status.queued_count, status.oldest_arrival_ms) == (2, START_MS)


def test_counters_count_records_and_begin_anew_when_taken() -> None:
    poller = poller_of(MappingSettings(attempts_max=1))
    poller.feed(records_of(range(2)))
    for _ in range(2):
        poller.fail(poller.invoke())
        poller.now_ms += MINUTE_MS

    taken = poller.processor.take_counters()

    assert taken == MappingCounters(polled=2, invoked=4, failed_invoke=4, dropped=2, on_failure_delivered=2)
    assert poller.processor.take_counters() == MappingCounters()


def test_a_restart_with_smaller_batches_and_less_room_cuts_the_batch_it_had_begun() -> None:
    poller = poller_of(MappingSettings(attempts_max=2, batch_size=10))
    poller.feed(records_of(range(10)))
    poller.fail(poller.invoke())

    again = poller_of(MappingSettings(attempts_max=2, batch_size=2), poller.stored)
    again.feed(records_of(range(4)))
    invoke = again.invoke()

    assert (places_in(invoke), invoke.attempt) == ([0, 1], 2)


def test_a_batch_whose_first_records_another_filter_lets_through_begins_anew() -> None:
    wanted = '{"partitionKey":["key-1","key-2"]}'
    poller = poller_of(MappingSettings(patterns=(wanted,), attempts_max=2))
    poller.feed(records_of(range(3)))
    poller.fail(poller.invoke())

    again = poller_of(MappingSettings(attempts_max=2), ShardProgress(lanes=poller.stored.lanes))
    again.feed(records_of(range(3)))
    invoke = again.invoke()

    assert (places_in(invoke), invoke.attempt) == ([0, 1, 2], 1)


def test_a_batch_that_retention_ended_during_a_restart_is_forgotten() -> None:
    poller = poller_of(MappingSettings(attempts_max=2))
    poller.feed(records_of(range(3)))
    poller.fail(poller.invoke())

    again = poller_of(MappingSettings(attempts_max=2), poller.stored)
    again.feed(records_of(range(5, 6)))
    invoke = again.invoke()

    assert (places_in(invoke), invoke.attempt) == ([5], 1)


def test_counters_of_several_shards_add_up() -> None:
    one, other = MappingCounters(polled=1, dropped=2), MappingCounters(polled=3, expired=4)

    assert one + other == MappingCounters(polled=4, dropped=2, expired=4)


def test_an_answer_for_a_lane_with_nothing_in_hand_is_a_bug() -> None:
    processor = processor_of(MappingSettings())

    with pytest.raises(AssertionError):
        processor.throttled(0, reason="", now_ms=START_MS, ticks_ms=0, jitter=0)


def test_what_was_put_too_deep_in_a_chain_of_invocations_is_given_up_and_everything_beside_it_goes_on() -> None:
    poller = poller_of(MappingSettings(batch_size=10))
    depths = [0, 15, 16, 16, 31, 17, 1]
    poller.feed(replace(records_of(range(len(depths))), depths=depths))

    first = poller.invoke(stops_loops=True)
    poller.succeed(first)
    second = poller.invoke(stops_loops=True)
    poller.succeed(second)

    assert (places_in(first), first.depth) == ([0, 1], 15)
    assert poller.failures == [("RecursiveInvocation", 3, 1)]
    assert (places_in(second), second.depth) == ([5, 6], 17)
    assert poller.stored.checkpoint == number_of(6)


def test_a_function_that_may_run_in_a_loop_is_handed_whatever_it_caused() -> None:
    poller = poller_of(MappingSettings(batch_size=10))
    poller.feed(replace(records_of(range(2)), depths=[16, 31]))

    invoke = poller.invoke()

    assert (places_in(invoke), invoke.depth) == ([0, 1], 31)
