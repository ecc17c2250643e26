"""The committer's thread in the simulation: a real one, which goes on only when the loop lets it, and then alone.

It stops wherever the disk says so (`pause`), and goes on at a later moment of the loop, so that requests come and reads
are answered while a commit is written and synced. When the power is cut, or all is killed, it ends where it stands.
"""

import asyncio
import threading
from collections.abc import Callable
from random import Random

from tests.simulation.loop import SeededLoop

__all__ = ["SeededTurns", "Stopped"]

_BEGIN_S = 0.001
_PAUSE_S = 0.004
# Now and then a worker gets no processor for long, and the other does much meanwhile.
_LONG_CHANCE, _LONG_PAUSE_S = 0.03, 0.2


class Stopped(BaseException):
    """The power is cut or the process killed: nothing may be done after it."""


class SeededTurns:
    """Turns whose moments a seed chooses."""

    def __init__(self, loop: SeededLoop, random: Random) -> None:
        self._loop = loop
        self._random = random
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._is_due = self._is_over = False
        self._dead = threading.Event()
        self._thread: threading.Thread | None = None
        self._turn: Callable[[], bool] = lambda: False
        self._has_work: Callable[[], bool] = lambda: False
        self._rest = asyncio.Event()
        self.bug: BaseException | None = None

    def begin(self, turn: Callable[[], bool], *, has_work: Callable[[], bool]) -> None:
        """Start the thread, which waits to be let on."""
        self._turn, self._has_work = turn, has_work
        self._thread = threading.Thread(target=self._run, name="simulated committer", daemon=True)
        self._thread.start()

    def work_came(self) -> None:
        """Let the thread on in a moment, if it has nothing to do."""
        if not self._is_due and not self._is_over:
            self._is_due = True
            self._loop.call_later(self._random.random() * _BEGIN_S, self._let_on)

    async def end(self) -> None:
        """Wait until nothing is left to do."""
        while self._is_due:
            self._rest.clear()
            await self._rest.wait()

    def pause(self) -> None:
        """Give the loop its turn, from the thread. Raises Stopped when it is to end here."""
        if threading.current_thread() is not self._thread:
            return
        is_long = self._random.random() < _LONG_CHANCE
        self._loop.call_later(self._random.random() * (_LONG_PAUSE_S if is_long else _PAUSE_S), self._let_on)
        self._back.release()
        self._go.acquire()
        if self._dead.is_set():
            raise Stopped

    def stop(self) -> None:
        """End the thread where it stands."""
        self._dead.set()
        if self._thread is not None:
            self._go.release()
            self._thread.join()

    def _let_on(self) -> None:
        if self._is_over or self._dead.is_set():
            return
        self._go.release()
        self._back.acquire()

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._go.acquire()
                if self._dead.is_set():
                    return
                self._is_over = not self._turn()
                if self._dead.is_set():
                    # It was to end here, and that was taken for some other trouble.
                    return
                self._is_due = False
                if not self._is_over and self._has_work():
                    self.work_came()
                self._loop.call_soon(self._rest.set)
                self._back.release()
        except Stopped:
            return
        except BaseException as bug:
            self.bug = bug
            self._is_due, self._is_over = False, True
            self._back.release()
