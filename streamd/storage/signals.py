"""Wake-ups: tells who waits that something was committed, in this process and in the daemon's other workers.

Every worker has a bell (a socket pair made before the fork, so all of them hold all ends) and a flag in shared memory
that says whether anybody in it waits. A commit rings only the bells of the workers that wait, so idle readers cost
nothing and a busy writer pays one byte read per worker. Wake-ups may be lost when a worker dies; readers look again
after a while of their own accord.
"""

import asyncio
import mmap
import socket
from collections.abc import Callable

__all__ = ["Bells", "Wakeups"]


class Bells:
    """The bells of all workers. Make them before forking."""

    def __init__(self, worker_count: int) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(worker_count)]
        for pair in pairs:
            for end in pair:
                end.setblocking(False)
        self._pairs = pairs
        self._flags = mmap.mmap(-1, worker_count)

    def __len__(self) -> int:
        return len(self._pairs)

    def set_waiting(self, worker: int, *, waiting: bool) -> None:
        """Say whether anybody waits in this worker."""
        self._flags[worker] = 1 if waiting else 0

    def ring_others(self, worker: int) -> None:
        """Ring the bell of every other worker in which somebody waits."""
        for other, (_, tongue) in enumerate(self._pairs):
            if other == worker or not self._flags[other]:
                continue
            try:
                tongue.send(b"\0")
            except BlockingIOError:
                # Its bell is full of rings that it has not heard yet: one more would tell it nothing.
                continue

    def ear(self, worker: int) -> socket.socket:
        """Give the socket on which a worker hears its bell."""
        return self._pairs[worker][0]

    def close(self) -> None:
        """Close this process's ends of all bells."""
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._flags.close()


class Wakeups:
    """Who waits in this process, and how a commit reaches them."""

    def __init__(self, bells: Bells, *, worker: int) -> None:
        self._bells = bells
        self._worker = worker
        self._waiters: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ending = False

    def listen(self) -> None:
        """Start to hear the bell on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._bells.ear(self._worker), self._heard)

    def end_waits(self) -> None:
        """Wake whoever waits, for good: from now on nobody waits here, so that a server can stop at once."""
        self._is_ending = True
        self.wake_here()

    def close(self) -> None:
        """Stop hearing, and wake whoever still waits."""
        if self._loop is not None:
            self._loop.remove_reader(self._bells.ear(self._worker))
            self._loop = None
        self._bells.set_waiting(self._worker, waiting=False)
        self.wake_here()

    def committed(self) -> None:
        """Tell the other workers; from the committing thread."""
        self._bells.ring_others(self._worker)

    def wake_here(self) -> None:
        """Wake whoever waits in this process; on its loop."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, is_ready: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until the condition holds, looking after each commit anywhere; False when the time is up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            # The flag goes up before the look, so a commit after the look must see it.
            self._bells.set_waiting(self._worker, waiting=True)
            try:
                if is_ready():
                    return True
                if self._is_ending:
                    return False
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                return is_ready()
            finally:
                self._waiters.discard(waiter)
                if not self._waiters:
                    self._bells.set_waiting(self._worker, waiting=False)

    def _heard(self) -> None:
        ear = self._bells.ear(self._worker)
        try:
            while ear.recv(16):
                pass
        except BlockingIOError:
            self.wake_here()
