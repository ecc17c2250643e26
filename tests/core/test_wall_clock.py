"""What is recent is so whatever the wall clock is set to, and what is not is known not to be once it is that old."""

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.wall_clock import RecentSpan, is_during

SPAN_MS = 900_000
HOUR_MS = 3_600_000
START_MS = 1_750_000_000_000


def test_what_lasts_until_a_time_is_over_then_and_before_it_began() -> None:
    moments = [-1, 0, 9, 10, HOUR_MS]

    assert [is_during(now_ms, since_ms=0, until_ms=10) for now_ms in moments] == [False, True, True, False, False]


def test_nothing_is_too_long_ago_before_so_much_time_was_seen() -> None:
    span = RecentSpan(SPAN_MS)

    found = [span.since_ms(now_ms=START_MS + ticks, ticks_ms=ticks) for ticks in (0, SPAN_MS - 1, SPAN_MS)]

    assert found == [None, None, START_MS]


def test_after_a_jump_forward_what_came_before_it_is_recent_for_as_long_as_ever() -> None:
    span = RecentSpan(SPAN_MS)
    span.since_ms(now_ms=START_MS, ticks_ms=0)
    span.since_ms(now_ms=START_MS + SPAN_MS, ticks_ms=SPAN_MS)

    ahead = [
        span.since_ms(now_ms=START_MS + SPAN_MS + HOUR_MS + later_ms, ticks_ms=SPAN_MS + later_ms)
        for later_ms in (5000, SPAN_MS + 5000, SPAN_MS + 5001)
    ]

    assert ahead == [START_MS + 5000, START_MS + SPAN_MS + 5000, START_MS + SPAN_MS + HOUR_MS + 5001]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.one_of(st.just(0), st.integers(-5, 5), st.integers(-2 * HOUR_MS, 2 * HOUR_MS)),
        ),
        max_size=60,
    )
)
def test_no_stamp_of_the_last_minutes_is_taken_for_older(moves: list[tuple[int, int]]) -> None:
    span = RecentSpan(SPAN_MS)
    now_ms, ticks_ms = START_MS, 0
    stamps = [(ticks_ms, now_ms)]
    span.since_ms(now_ms=now_ms, ticks_ms=ticks_ms)

    for pause_s, set_ms in moves:
        # The clock is set somewhere between two looks, and stamps are given before and after that.
        for jump_ms in (set_ms, 0):
            ticks_ms += pause_s * 500
            now_ms += pause_s * 500
            stamps.append((ticks_ms, now_ms))
            now_ms += jump_ms
            stamps.append((ticks_ms, now_ms))
        since_ms = span.since_ms(now_ms=now_ms, ticks_ms=ticks_ms)

        recent_ms = [stamp_ms for at_ms, stamp_ms in stamps if at_ms >= ticks_ms - SPAN_MS]
        if since_ms is not None:
            assert since_ms <= min(recent_ms)
        elif ticks_ms >= SPAN_MS:
            raise AssertionError("nothing is ever too long ago")
