"""An event loop of which a seed decides everything: which callback runs next, and how long everything else takes.

Its time stands still while anything is ready and jumps to the next timer when nothing is. Half of the seeds keep
asyncio's promise to run what is ready in order, half run it in any.
"""

import asyncio
import heapq
import select
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from random import Random
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["SeededLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_HAND_OVER_S = 0.001
_READ_S = 0.002


class SeededLoop(asyncio.AbstractEventLoop):
    """The loop; ``faults`` are the errors that nobody caught."""

    def __init__(self, random: Random, *, time_s: float, keeps_order: bool) -> None:
        self._random = random
        self._time_s = time_s
        self._keeps_order = keeps_order
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._ears: dict[Any, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._step_count = 0
        self.step_count_max = 0
        self.faults: list[str] = []

    def run(self, task: "asyncio.Task[Any]") -> bool:
        """Run until a task is done; False when the steps are used up before."""
        asyncio._set_running_loop(self)
        try:
            while not task.done():
                if self._step_count >= self.step_count_max:
                    return False
                self._step()
        finally:
            asyncio._set_running_loop(None)
        return True

    def end_within(self, step_count: int) -> None:
        """Run no more than so many steps from now on."""
        self.step_count_max = min(self.step_count_max, self._step_count + step_count)

    def drop(self, *, step_count_max: int = 10_000) -> None:
        """Cancel everything, so that nothing of this loop is left when the power is gone."""
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:
                task.cancel()
            for _ in range(step_count_max):
                if not self._ready:
                    break
                self._ready.pop(0)._run()
        finally:
            asyncio._set_running_loop(None)
        self._tasks.clear()
        self._timers.clear()

    def time(self) -> float:
        """Give the virtual time."""
        return self._time_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have a callback run when its turn comes."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have a callback of another thread run, a little later."""
        return self.call_later(self._random.random() * _HAND_OVER_S, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have a callback run after a while."""
        return self.call_at(self._time_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have a callback run at a time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def passing(self, duration_s: float) -> "asyncio.Future[None]":
        """Give what is done when so much virtual time has passed."""
        future: asyncio.Future[None] = self.create_future()
        self.call_later(duration_s, _settle, future, lambda: None, ())
        return future

    def create_future(self) -> "asyncio.Future[Any]":
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """Make a task."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]  # typeshed has its arguments as a TypeVarTuple
        self, _executor: object, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Run what a thread would run, at some later moment."""
        future: asyncio.Future[T] = self.create_future()
        self.call_later(self._random.random() * _READ_S, _settle, future, func, args)
        return future

    def add_reader(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Hear a worker's bell."""
        self._ears[fd] = callback, args

    def remove_reader(self, fd: Any) -> bool:
        """Hear it no more."""
        return self._ears.pop(fd, None) is not None

    def get_debug(self) -> bool:
        """Tell that nothing is to be watched."""
        return False

    def is_running(self) -> bool:
        """Tell that it runs."""
        return True

    def is_closed(self) -> bool:
        """Tell that it is open."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note an error that nobody caught."""
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: what was cancelled is passed over when its time comes."""

    def _step(self) -> None:
        self._step_count += 1
        if len(self._ears) > 1:
            self._hear()
        while not self._ready:
            self._time_s, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._ready.append(timer)
        place = 0 if self._keeps_order else self._random.randrange(len(self._ready))
        handle = self._ready.pop(place)
        if not handle.cancelled():
            handle._run()

    def _hear(self) -> None:
        heard, _, _ = select.select(list(self._ears), [], [], 0)
        for ear in heard:
            callback, args = self._ears[ear]
            callback(*args)


def _settle(future: "asyncio.Future[T]", func: Callable[..., T], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)
