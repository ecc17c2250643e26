"""A clock that a test moves by hand, so that days of retention pass in a moment."""

__all__ = ["START_MS", "ManualClock"]

START_MS = 1_750_000_000_000


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, time_ms: int = START_MS) -> None:
        self.time_ms = time_ms
        self._set_ms = 0

    def now_ms(self) -> int:
        """Give the time it was set to."""
        return self.time_ms

    def ticks_ms(self) -> int:
        """Give what only grows: nothing that the clock is set to moves it."""
        return self.time_ms - self._set_ms

    def jump(self, duration_ms: int) -> None:
        """Set the clock forward or back, without any time passing."""
        self.time_ms += duration_ms
        self._set_ms += duration_ms

    def advance(self, duration_ms: int) -> None:
        """Let time pass."""
        self.time_ms += duration_ms
