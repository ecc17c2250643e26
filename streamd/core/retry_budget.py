"""When and how often a client repeats a call: pauses with full jitter, and a purse that repeats are paid from.

A service that falters for a moment is asked again, one that stays down is not: when every call fails, the purse is
empty soon, and each further error reaches its caller at once instead of after five tries. So many clients together do
not keep down, with repeats, what tries to get up. The amounts are those of the AWS SDKs (their standard retry mode).
"""

__all__ = ["CAPACITY", "RETRY_COST", "SUCCESS_REWARD", "RetryBudget", "jittered_pause_ms"]

CAPACITY = 500
RETRY_COST = 5
SUCCESS_REWARD = 1


_DOUBLING_COUNT_MAX = 16


def jittered_pause_ms(*, attempt: int, base_ms: float, max_ms: float, chance: float) -> float:
    """Say how long to wait after an attempt (counted from 1) that failed.

    Anything from nothing to a bound that doubles with each attempt, as ``chance`` (0 up to 1) has it: so clients that
    failed together do not come back together.
    """
    return chance * min(max_ms, base_ms * (1 << min(attempt - 1, _DOUBLING_COUNT_MAX)))


class RetryBudget:
    """One client's purse; full at first, never below nothing and never above its capacity."""

    __slots__ = ("_capacity", "_left")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._left = capacity

    @property
    def left(self) -> int:
        """What is in it."""
        return self._left

    def pay(self) -> bool:
        """Pay for one repeat; False, and nothing is taken, where too little is left."""
        if self._left < RETRY_COST:
            return False
        self._left -= RETRY_COST
        return True

    def succeeded(self, *, retry_count: int) -> None:
        """Take a call's success: its last repeat is paid back, and a call without repeats gives a little."""
        self._left = min(self._capacity, self._left + (RETRY_COST if retry_count else SUCCESS_REWARD))
