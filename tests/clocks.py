"""A clock that a test moves by hand, so that days of retention pass in a moment."""

__all__ = ["START_MS", "ManualClock"]

START_MS = 1_750_000_000_000


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, time_ms: int = START_MS) -> None:
        self.time_ms = time_ms

    def now_ms(self) -> int:
        """Give the time it was set to."""
        return self.time_ms

    def advance(self, duration_ms: int) -> None:
        """Let time pass."""
        self.time_ms += duration_ms
