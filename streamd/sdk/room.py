"""Room for a bounded number of bytes: who finds it full waits, in the order of coming."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Part", "Room"]

# Of many things each part takes a share of the room only, so that others leave it while the next ones wait.
_SHARE: Final = 4
# What takes a part in does so in one go: this many keep others waiting for less than a millisecond.
_PART_COUNT_MAX: Final = 500


class Part(NamedTuple):
    """Some of many things, by their numbers, and the room that they take together."""

    numbers: range
    byte_count: int


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

    def parts(self, byte_counts: Sequence[int], *, each_byte_count: int) -> Iterator[Part]:
        """Divide things of these sizes, and so much more for each, into parts that fit, or are single things."""
        start = 0
        while start < len(byte_counts):
            stop = min(start + _PART_COUNT_MAX, len(byte_counts))
            while True:
                byte_count = sum(byte_counts[start:stop]) + each_byte_count * (stop - start)
                if byte_count <= self._byte_count_max // _SHARE or stop - start == 1:
                    break
                stop = start + (stop - start) // 2
            yield Part(range(start, stop), byte_count)
            start = stop

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
