"""What outlives a machine: the disk, the clock, the log of all that happened, what clients know."""

from dataclasses import dataclass, field
from hashlib import sha256
from random import Random

from tests.clocks import START_MS
from tests.simulation.disk import Disk, Lie
from tests.simulation.known import HOUR_MS, Known
from tests.simulation.loop import SeededLoop

__all__ = ["World"]

_JUMPS_MS = (50, 2_000, 90_000, HOUR_MS, 20 * HOUR_MS)
_DRIFT_MS_MAX = 72 * HOUR_MS
# The janitor looks at the clock every five seconds.
_LOOK_S = 6.0
_SMALL_BYTE_COUNT, _LARGE_BYTE_COUNT = 6_000, 1 << 30


@dataclass(slots=True)
class World:
    """A seed's world. It is also the engine's clock."""

    seed: int
    lie: Lie = Lie.NONE
    random: Random = field(init=False)
    loop: SeededLoop | None = None
    leapt_ms: int = 0
    _set_ms: int = 0
    _set_at_s: float = -_LOOK_S
    _booted_ms: int = 0
    log: list[str] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    disk: Disk = field(init=False)
    size_max: int = _LARGE_BYTE_COUNT
    transition_ms: int = 0
    worker_count: int = 1
    keeps_order: bool = True

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        fails, fills = self.random.random() < 0.3, self.random.random() < 0.3
        self.disk = Disk(
            random=self.random,
            note=self.note,
            lie=self.lie,
            failure_chance=0.01 if fails else 0.0,
            full_chance=0.05 if fills else 0.0,
        )
        if self.random.random() < 0.1:
            self.size_max = _SMALL_BYTE_COUNT
        self.transition_ms = self.random.choice((0, 0, 20, 500))
        self.worker_count = self.random.choice((1, 1, 2))
        self.keeps_order = self.random.random() < 0.5

    @property
    def time_s(self) -> float:
        """Give the virtual time since the beginning."""
        return 0.0 if self.loop is None else self.loop.time()

    def true_ms(self) -> int:
        """Give the time that nobody sets."""
        return START_MS + self.leapt_ms + int(self.time_s * 1000)

    def now_ms(self) -> int:
        """Give the time of the wall clock, in the engine's unit."""
        return self.true_ms() + self._set_ms

    def ticks_ms(self) -> int:
        """Give a time that only grows, until the power is cut."""
        return self.true_ms() - self._booted_ms

    def boot(self) -> None:
        """Have the ticks begin again."""
        self._booted_ms = self.true_ms()

    def set_clock(self) -> bool:
        """Set the wall clock, by little or by much; False where it was set too short a while ago.

        The memory of puts is exact where the clock is set once between two looks at it.
        """
        if self.time_s - self._set_at_s < _LOOK_S:
            return False
        duration_ms = self.random.choice((-1, 1)) * int(self.random.choice(_JUMPS_MS) * (0.5 + self.random.random()))
        if abs(self._set_ms + duration_ms) > _DRIFT_MS_MAX:
            duration_ms = -duration_ms
        before_ms = self.now_ms()
        self._set_ms += duration_ms
        self._set_at_s = self.time_s
        self.known.clock_was_set(before_ms=before_ms, after_ms=self.now_ms())
        self.note(f"the clock is set by {duration_ms} ms")
        return True

    def note(self, text: str) -> None:
        """Write a line into the log."""
        self.log.append(f"{self.time_s:.6f} {text}")

    @property
    def digest(self) -> str:
        """Give the log's digest: the same for one seed, always."""
        return sha256("\n".join(self.log).encode()).hexdigest()
