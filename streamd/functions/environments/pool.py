"""The environments of one version of a function: which are idle, which are on their way, how many should be kept."""

from collections import deque

from streamd.functions.environments.environment import Environment
from streamd.functions.environments.states import State
from streamd.functions.running import Runnable

__all__ = ["Key", "Pool", "key_of"]

Key = tuple[str, str, str]
"""Name, version and revision."""

# About a minute of waiting, each failure having doubled it.
_FAILURE_COUNT_MAX = 6


def key_of(runnable: Runnable) -> Key:
    """Give what environments are shared by: a revision changes with everything that they would see."""
    return runnable.name, runnable.version, runnable.revision


class Pool:
    """One version's environments. It starts none; it tells which to take, and which nobody needs."""

    def __init__(self, runnable: Runnable) -> None:
        self.runnable = runnable
        self.living: set[Environment] = set()
        self.idle: deque[Environment] = deque()
        """Nobody's; the one at the end was used last, and those at the front never."""
        self.starting: deque[Environment] = deque()
        """Nobody's yet, and not ready yet."""
        self.is_retired = False
        self.warm_count = 0
        self._failure_count = 0
        self._start_after_s = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.living and not self.warm_count

    @property
    def ready_count(self) -> int:
        """How many are idle or in use."""
        return sum(each.state in (State.IDLE, State.BUSY) for each in self.living)

    def take(self) -> Environment | None:
        """Take the idle one that was used last, else one that is on its way; None when there is neither."""
        if self.idle:
            return self.idle.pop()
        return self.starting.popleft() if self.starting else None

    def add(self, environment: Environment, *, is_new: bool = False) -> None:
        """Take one back that nobody has, or has yet. One that was never used goes last."""
        if environment.state is State.IDLE:
            self.forget(environment)
            if is_new:
                self._failure_count = 0
                self.idle.appendleft(environment)
            else:
                self.idle.append(environment)
        elif environment.state in (State.STARTING, State.INIT):
            self.starting.append(environment)

    def forget(self, environment: Environment) -> None:
        """Have one no longer among those that can be taken."""
        if environment in self.idle:
            self.idle.remove(environment)
        if environment in self.starting:
            self.starting.remove(environment)

    def end(self, environment: Environment, now_s: float) -> None:
        """Forget one that has ended; after one that could not begin, the next waits."""
        self.forget(environment)
        self.living.discard(environment)
        if environment.has_failed_init:
            self._failure_count = min(_FAILURE_COUNT_MAX, self._failure_count + 1)
            self._start_after_s = now_s + 2.0**self._failure_count

    def may_prestart(self, now_s: float) -> bool:
        """Tell whether one may be started that no invocation waits for."""
        return not self.is_retired and (not self._failure_count or now_s >= self._start_after_s)

    def expired(self, now_s: float, idle_s: float) -> list[Environment]:
        """Give those that were idle for too long, but for as many as are kept warm."""
        spare = len(self.living) - self.warm_count
        old = [each for each in self.idle if now_s - each.idle_since_s >= idle_s]
        return old[: max(0, spare)]
