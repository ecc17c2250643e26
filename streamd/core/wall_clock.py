"""How long something has lasted by a wall clock, which may be set at any time.

What begins and ends while one process runs is measured in ticks, which only grow, and needs nothing of this page. What
has to outlast a restart can only be kept as times of the wall clock. Then the rule is one:

- A clock that was set forward ends it early, by no more than it was set forward.
- A clock that was set back to before it began ends it: how long it has lasted nobody knows, and it must not last for
  as long as the clock was set back.
- A clock that was set back to within it has it last again, to its end and no longer.

What must never end early (the memory of puts) goes by a ``RecentSpan`` instead.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["RecentSpan", "is_during"]

_STEP_MS_MIN = 1000


def is_during(now_ms: int, *, since_ms: int, until_ms: int) -> bool:
    """Tell whether something that began at a time and lasts until another goes on now."""
    return since_ms <= now_ms < until_ms


@dataclass(slots=True)
class _Lead:
    """How far the wall clock was ahead of the ticks, from a look at it until a later one."""

    lead_ms: int
    from_ticks_ms: int
    until_ticks_ms: int


class RecentSpan:
    """The last so many milliseconds, as the lowest time that the wall clock can have told in them.

    Whatever was stamped with a lower time is older, whatever the clock was set to meanwhile; so far as it was set but
    once between two looks. Kept are few numbers: those of the lowest leads, a second apart.
    """

    def __init__(self, duration_ms: int) -> None:
        self._duration_ms = duration_ms
        self._began_ticks_ms: int | None = None
        # Each with a greater lead than the one before: one that a lower lead came after cannot be the lowest again.
        self._leads: deque[_Lead] = deque()

    def since_ms(self, *, now_ms: int, ticks_ms: int) -> int | None:
        """Look at both clocks, and give the time before which it is too long ago; None while nothing is known to be."""
        self._note(now_ms - ticks_ms, ticks_ms)
        since_ticks_ms = ticks_ms - self._duration_ms
        while self._leads[0].until_ticks_ms < since_ticks_ms:
            self._leads.popleft()
        if self._began_ticks_ms is None or self._began_ticks_ms > since_ticks_ms:
            return None
        return since_ticks_ms + self._leads[0].lead_ms

    def _note(self, lead_ms: int, ticks_ms: int) -> None:
        if self._began_ticks_ms is None:
            self._began_ticks_ms = ticks_ms
        from_ticks_ms = ticks_ms
        if self._leads:
            self._leads[-1].until_ticks_ms = ticks_ms
            last = self._leads[-1]
            # A clock that runs fast would fill the memory: for a second the lower lead stands for the greater.
            if lead_ms > last.lead_ms and ticks_ms - last.from_ticks_ms < _STEP_MS_MIN:
                return
        while self._leads and self._leads[-1].lead_ms >= lead_ms:
            from_ticks_ms = self._leads.pop().from_ticks_ms
        self._leads.append(_Lead(lead_ms, from_ticks_ms, ticks_ms))
