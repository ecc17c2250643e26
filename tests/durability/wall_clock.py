"""The wall clock of a running daemon, which a test sets as an operator or a broken time server would."""

import mmap
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.durability.preloads import compiled

__all__ = ["DAY_S", "HOUR_S", "MOVES", "WallClock"]

HOUR_S = 3600
DAY_S = 24 * HOUR_S

_SETTINGS = struct.Struct("=qqq")
_NUMBER = struct.Struct("=q")
_SECOND_NS = 1_000_000_000
_SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """A clock that daemons started with its environment go by, at once when it is set, whether they run or not."""

    def __init__(self, folder: Path) -> None:
        path = folder / "wall-clock"
        path.write_bytes(_SETTINGS.pack(0, 0, 0))
        with path.open("r+b") as file:
            self._settings = mmap.mmap(file.fileno(), _SETTINGS.size)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(compiled(_SOURCE, folder)),
            "WALL_CLOCK": str(path),
        }

    def now_s(self) -> float:
        """Tell what the daemon's clock says."""
        return self._now_ns() / _SECOND_NS

    def now_ms(self) -> int:
        """Tell it as the daemon does, in whole milliseconds that have passed."""
        return self._now_ns() // 1_000_000

    def jump(self, duration_s: float) -> None:
        """Set the clock forward, or back."""
        ahead_ns, frozen_ns, _ = _SETTINGS.unpack(self._settings)
        jump_ns = int(duration_s * _SECOND_NS)
        # One number at a time is written, so that no daemon ever sees half of a change.
        if frozen_ns:
            self._set(1, frozen_ns + jump_ns)
        else:
            self._set(0, ahead_ns + jump_ns)

    def let_pass(self, duration_s: float) -> None:
        """Have time pass: what measures durations is so much further, and the wall clock too.

        Timers that are due are met as soon as the daemon wakes, by whatever happens to it.
        """
        _, _, passed_ns = _SETTINGS.unpack(self._settings)
        self.jump(duration_s)
        self._set(2, passed_ns + int(duration_s * _SECOND_NS))

    def freeze(self) -> None:
        """Have the clock stand still."""
        self._set(1, self._now_ns())

    def thaw(self) -> None:
        """Have the clock go on from where it would be."""
        self._set(1, 0)

    def _now_ns(self) -> int:
        ahead_ns, frozen_ns, _ = _SETTINGS.unpack(self._settings)
        return int(frozen_ns or time.time_ns() + ahead_ns)

    def _set(self, index: int, number: int) -> None:
        _NUMBER.pack_into(self._settings, index * _NUMBER.size, number)


MOVES: Mapping[str, Callable[[WallClock], None]] = {
    "back": lambda clock: clock.jump(-HOUR_S),
    "forward": lambda clock: clock.jump(DAY_S),
    "frozen": lambda clock: clock.freeze(),
}
"""What happens to clocks."""
