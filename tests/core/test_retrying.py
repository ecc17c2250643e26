"""When events are tried again, and when they are over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.retrying import Ending, Over, Retry, Rules, is_too_old, next_step

RULES = Rules(retry_count_max=2, age_ms_max=21_600_000, delays_ms=(60_000, 120_000))


def step(ending: Ending, *, attempts: int = 1, pauses: int = 0, now_ms: int = 0, rules: Rules = RULES) -> Retry | Over:
    return next_step(
        ending, attempt_count=attempts, pause_count=pauses, first_ms=0, now_ms=now_ms, rules=rules, chance=1.0
    )


@pytest.mark.parametrize(
    ("ending", "attempts", "expected"),
    [
        (Ending.SUCCESS, 1, Over("Success")),
        (Ending.SUCCESS, 3, Over("Success")),
        (Ending.FUNCTION_ERROR, 1, Retry(60_000, is_attempt=True)),
        (Ending.FUNCTION_ERROR, 2, Retry(120_000, is_attempt=True)),
        (Ending.FUNCTION_ERROR, 3, Over("RetriesExhausted")),
        (Ending.STOPPED, 0, Over("ZeroReservedConcurrency")),
        (Ending.MISSING, 0, Over(None)),
    ],
)
def test_a_function_error_is_tried_three_times_in_all(ending: Ending, attempts: int, expected: Retry | Over) -> None:
    assert step(ending, attempts=attempts) == expected


def test_throttles_wait_longer_each_time_and_are_no_attempts() -> None:
    pauses = [step(Ending.THROTTLED, attempts=0, pauses=count) for count in range(12)]

    assert [pause.at_ms for pause in pauses if isinstance(pause, Retry)] == [
        *(1000 << count for count in range(9)),
        300_000,
        300_000,
        300_000,
    ]
    assert not any(pause.is_attempt for pause in pauses if isinstance(pause, Retry))


def test_no_event_waits_past_its_age() -> None:
    rules = Rules(retry_count_max=2, age_ms_max=60_000, delays_ms=(60_000, 120_000))

    last = step(Ending.FUNCTION_ERROR, now_ms=30_000, rules=rules)

    assert last == Retry(60_001, is_attempt=True)
    assert is_too_old(first_ms=0, now_ms=60_001, rules=rules)
    assert not is_too_old(first_ms=0, now_ms=60_000, rules=rules)


@given(
    endings=st.lists(st.sampled_from([Ending.FUNCTION_ERROR, Ending.THROTTLED, Ending.SERVER_ERROR]), max_size=400),
    retry_count_max=st.integers(0, 2),
    age_s=st.integers(60, 21_600),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_every_event_is_over_in_the_end(endings: list[Ending], retry_count_max: int, age_s: int, chance: float) -> None:
    rules = Rules(retry_count_max=retry_count_max, age_ms_max=1000 * age_s, delays_ms=(60_000, 120_000))
    now_ms = attempts = pauses = 0
    for ending in endings:
        if is_too_old(first_ms=0, now_ms=now_ms, rules=rules):
            break
        attempts += ending is Ending.FUNCTION_ERROR
        following = next_step(
            ending,
            attempt_count=attempts,
            pause_count=pauses,
            first_ms=0,
            now_ms=now_ms,
            rules=rules,
            chance=chance,
        )
        if isinstance(following, Over):
            break
        pauses = 0 if following.is_attempt else pauses + 1
        assert following.at_ms > now_ms
        now_ms = following.at_ms

    assert attempts <= retry_count_max + 1
    assert now_ms <= rules.age_ms_max + 1
