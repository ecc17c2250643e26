"""Room for a bounded number of bytes: who finds it full waits, in the order of coming."""

import asyncio
from collections import deque

__all__ = ["Room"]


class Room:
    """So many bytes may be taken at once; what is larger than all of it is let in alone."""

    __slots__ = ("_byte_count_max", "_waiters", "byte_count")

    def __init__(self, byte_count_max: int) -> None:
        self.byte_count = 0
        self._byte_count_max = byte_count_max
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, byte_count: int) -> bool:
        """Take room if there is any and nobody waits for it."""
        if self._waiters or not self._has(byte_count):
            return False
        self.byte_count += byte_count
        return True

    async def wait(self, byte_count: int) -> None:
        """Take room when it is there. Cancelled, it takes none."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((byte_count, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            # Room may have been given in the very moment in which its taker was cancelled.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give(byte_count)
            self._let_in()
            raise

    def give(self, byte_count: int) -> None:
        """Give room back."""
        self.byte_count -= byte_count
        if self._waiters:
            self._let_in()

    def close(self, error: Exception) -> None:
        """Tell those who wait that there will be no room any more."""
        waiters, self._waiters = self._waiters, deque()
        for _, waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _has(self, byte_count: int) -> bool:
        return not self.byte_count or self.byte_count + byte_count <= self._byte_count_max

    def _let_in(self) -> None:
        while self._waiters:
            byte_count, waiter = self._waiters[0]
            if not waiter.done():
                if not self._has(byte_count):
                    return
                self.byte_count += byte_count
                waiter.set_result(None)
            self._waiters.popleft()
