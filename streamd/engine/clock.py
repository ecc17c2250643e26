"""Where the time comes from."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Tells the time. The tests have one that they move by hand."""

    def now_ms(self) -> int:
        """Give Unix time in milliseconds."""
        ...

    def ticks_ms(self) -> int:
        """Give milliseconds that only grow, in all processes alike, until the machine starts again."""
        ...


class SystemClock:
    """The machine's clock, which may jump, but for its ticks."""

    def now_ms(self) -> int:
        """Give Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def ticks_ms(self) -> int:
        """Give milliseconds that only grow."""
        return time.monotonic_ns() // 1_000_000
