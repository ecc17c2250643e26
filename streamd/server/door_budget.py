"""What the bodies of requests may hold of a worker's memory, from their first byte to their answer.

Bodies come from sockets much faster than a slow disk takes records, and from as many connections as there are clients,
so they share one budget. Every body counts what has come of it, not what was announced: who announces much and sends
nothing holds nothing. Past the budget a large body waits: its socket is not read, so its client waits too. A small one
never waits for large ones. The oldest that waits is read on whatever the budget says, so bodies that came in part
never wait for each other for ever; the budget is passed by one body at most, and by what one read brings of each
other. While somebody waits, a body that hardly moves is given up by its door (``Seat.is_stalling``).
"""

import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Final

from streamd.core.limits import SMALL_BODY_BYTE_COUNT_MAX

__all__ = ["STALLED_S", "DoorBudget", "Seat"]

# While others wait, a body brings so much in so long, or is given up: any line of 100 kbit/s does.
STALLED_S: Final = 5.0


class DoorBudget:
    """The budget of a worker. ``byte_count`` is what is held now."""

    __slots__ = ("_byte_count_max", "_favoured", "_numbers", "_queue", "byte_count")

    def __init__(self, byte_count_max: int) -> None:
        self._byte_count_max = byte_count_max
        self._favoured: Seat | None = None
        self._queue: list[tuple[int, Seat]] = []
        self._numbers = count()
        self.byte_count = 0

    @property
    def is_awaited(self) -> bool:
        """Tell whether somebody waits."""
        return bool(self._queue)

    def give_back(self, byte_count: int) -> None:
        """Give back what a body held."""
        self.byte_count -= byte_count
        if self._queue:
            self._let_on()

    def is_full_for(self, seat: "Seat") -> bool:
        """Tell whether a large body must wait."""
        return self.byte_count > self._byte_count_max and seat is not self._favoured

    def wait(self, seat: "Seat") -> None:
        """Have a seat wait; the oldest is let on first."""
        heapq.heappush(self._queue, (seat.number, seat))
        self._let_on()

    def number(self) -> int:
        """Give a seat its place in the order of age."""
        return next(self._numbers)

    def leave(self, seat: "Seat", byte_count: int) -> None:
        """Forget a seat and give back what it held."""
        if self._favoured is seat:
            self._favoured = None
        if seat.is_waiting:
            self._queue = [entry for entry in self._queue if entry[1] is not seat]
            heapq.heapify(self._queue)
        self.give_back(byte_count)

    def _let_on(self) -> None:
        room = self._byte_count_max - self.byte_count
        while self._queue and (room > 0 or self._favoured is None):
            _, seat = heapq.heappop(self._queue)
            if room <= 0:
                self._favoured = seat
            room -= seat.missing_byte_count
            seat.go_on()


class Seat:
    """What one body holds, and its waiting. ``let_on`` is called when it need not wait any more."""

    __slots__ = (
        "_announced_byte_count",
        "_budget",
        "_let_on",
        "_mark",
        "_moved_s",
        "byte_count",
        "is_waiting",
        "number",
    )

    def __init__(self, budget: DoorBudget, announced_byte_count: int, let_on: Callable[[], None]) -> None:
        self._budget = budget
        self._announced_byte_count = announced_byte_count
        self._let_on = let_on
        self._mark = 0
        self._moved_s = time.monotonic()
        self.byte_count = 0
        self.is_waiting = False
        self.number = budget.number()

    @property
    def missing_byte_count(self) -> int:
        """Tell how much is still to come."""
        return max(self._announced_byte_count - self.byte_count, 0)

    def take(self, byte_count: int) -> bool:
        """Count what has come; tells whether the body has to wait before any more of it is read or done."""
        self.byte_count += byte_count
        self._budget.byte_count += byte_count
        if self.byte_count - self._mark >= SMALL_BODY_BYTE_COUNT_MAX:
            self._mark, self._moved_s = self.byte_count, time.monotonic()
        is_large = max(self._announced_byte_count, self.byte_count) > SMALL_BODY_BYTE_COUNT_MAX
        return is_large and self._budget.is_full_for(self)

    def wait(self) -> None:
        """Wait for room; may be let on at once."""
        self.is_waiting = True
        self._budget.wait(self)

    def go_on(self) -> None:
        """End the waiting."""
        self.is_waiting = False
        self._moved_s = time.monotonic()
        self._let_on()

    def is_stalling(self, now_s: float) -> bool:
        """Tell whether others wait while this body hardly moves, by its client's doing."""
        return self._budget.is_awaited and not self.is_waiting and now_s - self._moved_s > STALLED_S

    def give_back(self, byte_count: int) -> None:
        """Give back a part, where a connection has many bodies; with nothing left it is as new as any that comes."""
        self.byte_count -= byte_count
        self._mark = min(self._mark, self.byte_count)
        if self.byte_count or self.is_waiting:
            self._budget.give_back(byte_count)
        else:
            self._budget.leave(self, byte_count)
            self.number = self._budget.number()

    def stop_waiting(self) -> None:
        """Want nothing more read; what is held is still to be given back."""
        self._budget.leave(self, 0)
        self.is_waiting = False

    def leave(self) -> None:
        """Give everything back."""
        byte_count, self.byte_count = self.byte_count, 0
        self._budget.leave(self, byte_count)
        self.is_waiting = False
