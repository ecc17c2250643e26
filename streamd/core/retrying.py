"""When an asynchronous invocation is tried again, and when it is over (AWS's rules for events).

A function's error is tried again after the delays that are given, as often as is allowed. That no environment was free,
or that the server failed, is no attempt: it is tried again after a second, then longer, up to five minutes. Both only
while the event is young enough. Without any reserved concurrency an event is over at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Ending", "Over", "Retry", "Rules", "is_too_old", "next_step"]

_PAUSE_MS_MIN = 1000
PAUSE_MS_MAX = 300_000
_DOUBLING_COUNT_MAX = 16


class Ending(StrEnum):
    """How one try of an event ended."""

    SUCCESS = "success"
    FUNCTION_ERROR = "function error"
    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    STOPPED = "stopped"
    """The function has no reserved concurrency at all."""
    MISSING = "missing"
    """There is no such function any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a function's settings say: retries after the first attempt, the greatest age, and the pauses between."""

    retry_count_max: int
    age_ms_max: int
    delays_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at a time; ``is_attempt`` is whether the try that ended counts as one."""

    at_ms: int
    is_attempt: bool


@dataclass(frozen=True, slots=True)
class Over:
    """The event is over, with AWS's word for why; None: nobody is told, since nobody is there."""

    condition: str | None


def is_too_old(*, first_ms: int, now_ms: int, rules: Rules) -> bool:
    """Whether an event is past its age before it is tried."""
    return now_ms - first_ms > rules.age_ms_max


def next_step(
    ending: Ending, *, attempt_count: int, pause_count: int, first_ms: int, now_ms: int, rules: Rules, chance: float
) -> Retry | Over:
    """Say what follows a try.

    ``attempt_count`` counts the attempts made, this one included if it is one; ``pause_count`` the tries before it that
    were none since the last attempt; ``chance`` (0 up to 1) spreads the pauses.
    """
    match ending:
        case Ending.SUCCESS:
            return Over("Success")
        case Ending.MISSING:
            return Over(None)
        case Ending.STOPPED:
            return Over("ZeroReservedConcurrency")
        case Ending.FUNCTION_ERROR:
            if attempt_count > rules.retry_count_max:
                return Over("RetriesExhausted")
            delay_ms = rules.delays_ms[min(attempt_count, len(rules.delays_ms)) - 1]
        case _:
            pause_ms = min(PAUSE_MS_MAX, _PAUSE_MS_MIN << min(pause_count, _DOUBLING_COUNT_MAX))
            delay_ms = int(pause_ms * (0.5 + chance / 2))
    # One millisecond past its age it is over, and no use is in waiting longer to say so.
    at_ms = min(now_ms + delay_ms, first_ms + rules.age_ms_max + 1)
    return Retry(max(at_ms, now_ms), is_attempt=ending is Ending.FUNCTION_ERROR)
