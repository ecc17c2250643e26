"""Turns: who runs a worker's next piece of work, and when. In a server that is a thread of its own.

Work comes from the loop and is taken away in a turn. Turns are taken one at a time, for as long as there is work, and
end for good when one of them says so.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

__all__ = ["ThreadTurns", "Turns"]


class Turns(Protocol):
    """Takes turns beside the loop. The simulation has one whose moments a seed chooses."""

    def begin(self, turn: Callable[[], bool], *, has_work: Callable[[], bool]) -> None:
        """Take a turn whenever there is work, until a turn gives False."""
        ...

    def work_came(self) -> None:
        """Hear, on the loop, that there is work."""
        ...

    async def end(self) -> None:
        """Do the work there is, and take no turn after it."""
        ...


class ThreadTurns:
    """A thread that sleeps while there is nothing to do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._is_ending = False
        self._thread: threading.Thread | None = None

    def begin(self, turn: Callable[[], bool], *, has_work: Callable[[], bool]) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, args=(turn, has_work), name=self._name, daemon=True)
        self._thread.start()

    def work_came(self) -> None:
        """Wake the thread."""
        with self._changed:
            self._changed.notify()

    async def end(self) -> None:
        """Wait until the thread has done the work there is and ended."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self, turn: Callable[[], bool], has_work: Callable[[], bool]) -> None:
        while self._wait(has_work) and turn():
            pass

    def _wait(self, has_work: Callable[[], bool]) -> bool:
        """Wait for work; False at the end."""
        with self._changed:
            while not has_work() and not self._is_ending:
                self._changed.wait()
            return has_work()
