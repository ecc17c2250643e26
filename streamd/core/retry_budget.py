"""How many repeats a client may make: a purse that repeats are paid from and that successes fill again.

A service that falters for a moment is asked again, one that stays down is not: when every call fails, the purse is
empty soon, and each further error reaches its caller at once instead of after five tries. So many clients together do
not keep down, with repeats, what tries to get up. The amounts are those of the AWS SDKs (their standard retry mode).
"""

__all__ = ["CAPACITY", "RETRY_COST", "SUCCESS_REWARD", "RetryBudget"]

CAPACITY = 500
RETRY_COST = 5
SUCCESS_REWARD = 1


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
