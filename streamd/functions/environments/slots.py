"""Who may run now: the account's concurrency, what is reserved out of it, and the line of those who wait.

A function with a reservation has exactly that much, and always; all others share what is left. Waiters are served in
the order in which they came, but that one whose function has no room does not hold up those behind it. The line is
bounded; past it, and for who may not wait, there is Throttled.
"""

import asyncio
from collections import Counter, deque

from streamd.functions.running import Throttled

__all__ = ["Slots"]

_WAITER_COUNT_MAX = 1000
_RESERVED_REACHED = "ReservedFunctionConcurrentInvocationLimitExceeded"
_ACCOUNT_REACHED = "ConcurrentInvocationLimitExceeded"


class Slots:
    """Counts the invocations in hand, by function."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.throttle_count_by_name: Counter[str] = Counter()
        self._reserved_by_name: dict[str, int] = {}
        self._reserved_total = 0
        self._busy_by_name: Counter[str] = Counter()
        self._unreserved_busy = 0
        self._waiters: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._is_closed = False

    def busy(self, name: str) -> int:
        """Tell how many invocations of a function are in hand."""
        return self._busy_by_name[name]

    def reserve(self, name: str, count: int | None) -> None:
        """Set what a function has for itself, None for nothing."""
        before = self._reserved_by_name.get(name)
        if before == count:
            return
        if before is None:
            self._unreserved_busy -= self._busy_by_name[name]
        if count is None:
            del self._reserved_by_name[name]
            self._unreserved_busy += self._busy_by_name[name]
        else:
            self._reserved_by_name[name] = count
        self._reserved_total += (count or 0) - (before or 0)
        self._serve_line()

    async def claim(self, name: str, *, may_wait: bool) -> None:
        """Take a slot; who takes one gives it back by ``release``. Raises Throttled."""
        if self._admits(name):
            self._take(name)
            return
        is_stopped = self._reserved_by_name.get(name) == 0
        if not may_wait or is_stopped or self._is_closed or len(self._waiters) >= _WAITER_COUNT_MAX:
            raise self._throttled(name)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((name, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            # The slot came just as its caller left.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(name)
            raise

    def release(self, name: str) -> None:
        """Give a slot back."""
        self._busy_by_name[name] -= 1
        if not self._busy_by_name[name]:
            del self._busy_by_name[name]
        if name not in self._reserved_by_name:
            self._unreserved_busy -= 1
        if self._waiters:
            self._serve_line()

    def close(self) -> None:
        """Send all away who wait."""
        self._is_closed = True
        for name, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._throttled(name))
        self._waiters.clear()

    def _admits(self, name: str) -> bool:
        reserved = self._reserved_by_name.get(name)
        if self._is_closed:
            return False
        if reserved is not None:
            return self._busy_by_name[name] < reserved
        return self._unreserved_busy < self.limit - self._reserved_total

    def _take(self, name: str) -> None:
        self._busy_by_name[name] += 1
        if name not in self._reserved_by_name:
            self._unreserved_busy += 1

    def _serve_line(self) -> None:
        left: deque[tuple[str, asyncio.Future[None]]] = deque()
        refused: set[str] = set()
        for name, waiter in self._waiters:
            if waiter.done():
                continue
            if name in refused or not self._admits(name):
                refused.add(name)
                self._keep_or_refuse(name, waiter, left)
                continue
            self._take(name)
            waiter.set_result(None)
        self._waiters = left

    def _keep_or_refuse(
        self, name: str, waiter: asyncio.Future[None], left: deque[tuple[str, asyncio.Future[None]]]
    ) -> None:
        if self._reserved_by_name.get(name) == 0:
            waiter.set_exception(self._throttled(name))
        else:
            left.append((name, waiter))

    def _throttled(self, name: str) -> Throttled:
        self.throttle_count_by_name[name] += 1
        return Throttled(_RESERVED_REACHED if name in self._reserved_by_name else _ACCOUNT_REACHED)
