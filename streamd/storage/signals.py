"""Wake-ups: tells who waits for a shard that it has something new, in this process and in the daemon's other workers.

Every worker has a bell (a socket pair made before the fork, so all of them hold all ends) and a flag in shared memory
that says whether anybody in it waits. A commit rings only the bells of the workers in which somebody waits, and says
for which shards, so a thousand idle readers cost nothing while other shards are busy. A bell that is full, or a commit
of more shards than a ring can name, has the other worker look at all it waits for. Wake-ups may be lost when a worker
dies; readers look again after a while of their own accord.
"""

import asyncio
import contextlib
import mmap
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from streamd.storage.shard_log import ShardKey

__all__ = ["Bells", "Wakeups"]

# Above this a look at everything costs no more than reading the names.
_NAMED_COUNT_MAX = 1000
_RING_BYTE_COUNT_MAX = 16 * 1024
_EVERYTHING = b"\0"


class Bells:
    """The bells of all workers. Make them before forking."""

    def __init__(self, worker_count: int) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(worker_count)]
        for pair in pairs:
            for end in pair:
                end.setblocking(False)
        self._pairs = pairs
        self._waiting = mmap.mmap(-1, worker_count)
        self._missed = mmap.mmap(-1, worker_count)

    def __len__(self) -> int:
        return len(self._pairs)

    def set_waiting(self, worker: int, *, waiting: bool) -> None:
        """Say whether anybody waits in this worker."""
        self._waiting[worker] = 1 if waiting else 0

    def ring_others(self, worker: int, shards: AbstractSet[ShardKey]) -> None:
        """Ring the bell of every other worker in which somebody waits, for these shards."""
        ring = b""
        for other, (_, tongue) in enumerate(self._pairs):
            if other == worker or not self._waiting[other]:
                continue
            ring = ring or _ring(shards)
            try:
                tongue.send(ring)
            except BlockingIOError:
                self._miss(other)

    def hear(self, worker: int) -> set[ShardKey] | None:
        """Hear for which shards the bell rang; None: for any."""
        ear = self.ear(worker)
        rings: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                rings.append(ear.recv(_RING_BYTE_COUNT_MAX))
        # Only now, when there is room again: whoever meets a full bell from here on rings once more.
        has_missed = bool(self._missed[worker])
        if has_missed:
            self._missed[worker] = 0
        if has_missed or _EVERYTHING in rings:
            return None
        return {shard for ring in set(rings) for shard in ShardKey.unpack_all(ring)}

    def ear(self, worker: int) -> socket.socket:
        """Give the socket on which a worker hears its bell."""
        return self._pairs[worker][0]

    def close(self) -> None:
        """Close this process's ends of all bells."""
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._waiting.close()
        self._missed.close()

    def _miss(self, worker: int) -> None:
        """Note that a bell was full. If it was emptied before the note was there, it rings once more for the note."""
        self._missed[worker] = 1
        with contextlib.suppress(BlockingIOError):
            self._pairs[worker][1].send(_EVERYTHING)


class Wakeups:
    """Who waits in this process for which shard, and how a commit reaches them."""

    def __init__(self, bells: Bells, *, worker: int) -> None:
        self._bells = bells
        self._worker = worker
        # In the order they came, in which they are woken: a dictionary is a set that has one.
        self._waiters_by_shard: dict[ShardKey, dict[asyncio.Future[None], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_ending = False

    def listen(self) -> None:
        """Start to hear the bell on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._bells.ear(self._worker), self._heard)

    def end_waits(self) -> None:
        """Wake whoever waits, for good: from now on nobody waits here, so that a server can stop at once."""
        self.is_ending = True
        self.wake_all()

    def close(self) -> None:
        """Stop hearing, and wake whoever still waits."""
        if self._loop is not None:
            self._loop.remove_reader(self._bells.ear(self._worker))
            self._loop = None
        self._bells.set_waiting(self._worker, waiting=False)
        self.wake_all()

    def committed(self, shards: AbstractSet[ShardKey]) -> None:
        """Tell the other workers that these shards have something new; from any thread."""
        if shards:
            self._bells.ring_others(self._worker, shards)

    def wake_here(self, shards: AbstractSet[ShardKey]) -> None:
        """Wake whoever waits for these shards in this process; on its loop."""
        if not self._waiters_by_shard:
            return
        for shard in shards:
            self._wake(shard)

    def wake_all(self) -> None:
        """Wake whoever waits in this process; on its loop."""
        for shard in list(self._waiters_by_shard):
            self._wake(shard)

    async def wait(
        self, shard: ShardKey, is_ready: Callable[[], bool], *, timeout_s: float, is_content_with_any: bool = False
    ) -> bool:
        """Wait until the condition holds, looking after each commit to the shard anywhere; False when the time is up.

        ``is_content_with_any``: after the first look, any news of the shard is enough.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            waiter = self._add_waiter(shard)
            try:
                if is_ready():
                    return True
                if self.is_ending:
                    return False
                async with asyncio.timeout_at(deadline):
                    await waiter
                if is_content_with_any:
                    return True
            except TimeoutError:
                return is_ready()
            finally:
                self._remove_waiter(shard, waiter)

    def _add_waiter(self, shard: ShardKey) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters_by_shard.setdefault(shard, {})[waiter] = None
        # The flag goes up before the look, so a commit after the look must see it.
        self._bells.set_waiting(self._worker, waiting=True)
        return waiter

    def _remove_waiter(self, shard: ShardKey, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters_by_shard.get(shard)
        if waiters is not None:
            waiters.pop(waiter, None)
            if not waiters:
                del self._waiters_by_shard[shard]
        if not self._waiters_by_shard:
            self._bells.set_waiting(self._worker, waiting=False)

    def _wake(self, shard: ShardKey) -> None:
        for waiter in self._waiters_by_shard.pop(shard, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _heard(self) -> None:
        shards = self._bells.hear(self._worker)
        if shards is None:
            self.wake_all()
        else:
            self.wake_here(shards)


def _ring(shards: AbstractSet[ShardKey]) -> bytes:
    return _EVERYTHING if len(shards) > _NAMED_COUNT_MAX else b"".join([shard.pack() for shard in shards])
