"""Pauses between repeats."""

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.retry_budget import jittered_pause_ms


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_below_a_bound_that_doubles_up_to_its_end(attempt: int, chance: float) -> None:
    pause_ms = jittered_pause_ms(attempt=attempt, base_ms=50, max_ms=1000, chance=chance)

    assert 0 <= pause_ms <= min(1000, 50 * 2 ** (attempt - 1))


def test_the_whole_span_is_used() -> None:
    pauses = [jittered_pause_ms(attempt=3, base_ms=50, max_ms=1000, chance=chance) for chance in (0, 0.5, 0.999)]

    assert pauses == [0, 100, 199.8]
