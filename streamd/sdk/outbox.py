"""The outbox: parcels that wait to be sent, in batches that the API takes, and in order where order is asked for.

A parcel with ``order_keys`` is held back while an earlier one with one of these keys has not ended: neither waits for
its turn nor was sent nor is to be sent again. So two parcels with one key are never in one request nor on their way at
once, and whatever fails and is repeated, the next one follows it. Parcels without order keys leave as they came.

This is a rule without clock or tasks: the producer tells it what happened and asks for the next batch.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from streamd.core.limits import PUT_RECORDS_COUNT_MAX
from streamd.sdk.parcels import Parcel

__all__ = ["Outbox"]


class Outbox:
    """Takes parcels and gives batches of at most ``PUT_RECORDS_COUNT_MAX`` and so many bytes (or one parcel)."""

    __slots__ = ("_byte_count_max", "_count_max", "_ready", "_ready_byte_count", "_waiting_by_key")

    def __init__(self, *, count_max: int = PUT_RECORDS_COUNT_MAX, byte_count_max: int) -> None:
        self._count_max = count_max
        self._byte_count_max = byte_count_max
        self._ready: deque[Parcel] = deque()
        self._ready_byte_count = 0
        # Each key under way, with the parcels that wait for it; None where none waits, which is the usual case.
        self._waiting_by_key: dict[str, deque[Parcel] | None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing could be sent now; parcels that wait for earlier ones do not count."""
        return not self._ready

    @property
    def has_full_batch(self) -> bool:
        """Whether waiting longer would not make the next batch larger."""
        return len(self._ready) >= self._count_max or self._ready_byte_count >= self._byte_count_max

    def add(self, parcel: Parcel) -> bool:
        """Take a new parcel; tells whether there is a full batch."""
        if parcel.order_keys and self._must_wait(parcel):
            return False
        self._ready.append(parcel)
        self._ready_byte_count += parcel.byte_count
        return len(self._ready) >= self._count_max or self._ready_byte_count >= self._byte_count_max

    def add_all(self, parcels: Sequence[Parcel]) -> bool:
        """Take new parcels; tells whether there is a full batch."""
        free = [parcel for parcel in parcels if not (parcel.order_keys and self._must_wait(parcel))]
        self._ready.extend(free)
        self._ready_byte_count += sum([parcel.byte_count for parcel in free])
        return self.has_full_batch

    def take(self) -> list[Parcel]:
        """Give the next batch; they stay under way until they are ended or come again."""
        ready = self._ready
        if len(ready) <= self._count_max and self._ready_byte_count <= self._byte_count_max:
            batch = list(ready)
            ready.clear()
            self._ready_byte_count = 0
            return batch
        batch = []
        byte_count = 0
        while ready and len(batch) < self._count_max:
            byte_count += ready[0].byte_count
            if batch and byte_count > self._byte_count_max:
                break
            self._ready_byte_count -= ready[0].byte_count
            batch.append(ready.popleft())
        return batch

    def again(self, parcels: Sequence[Parcel]) -> None:
        """Take parcels back, to be sent before all others.

        Those that a parcel was divided into may come in its stead, each of its keys in one of them.
        """
        self._ready.extendleft(reversed(parcels))
        self._ready_byte_count += sum([parcel.byte_count for parcel in parcels])

    def ended(self, parcels: Iterable[Parcel]) -> None:
        """Let those go that waited for these parcels, which are stored or given up."""
        for parcel in parcels:
            for key in parcel.order_keys:
                self._release(key)

    def parcels(self) -> list[Parcel]:
        """List all that are here: those that could be sent now and those that wait for earlier ones."""
        waiting = {
            id(parcel): parcel for queue in self._waiting_by_key.values() if queue is not None for parcel in queue
        }
        return [*self._ready, *waiting.values()]

    def _must_wait(self, parcel: Parcel) -> bool:
        for key in parcel.order_keys:
            if key not in self._waiting_by_key:
                self._waiting_by_key[key] = None
                continue
            waiting = self._waiting_by_key[key]
            if waiting is None:
                waiting = self._waiting_by_key[key] = deque()
            waiting.append(parcel)
            parcel.wait_count += 1
        return parcel.wait_count > 0

    def _release(self, key: str) -> None:
        waiting = self._waiting_by_key[key]
        if not waiting:
            del self._waiting_by_key[key]
            return
        following = waiting.popleft()
        following.wait_count -= 1
        if not following.wait_count:
            self._ready.append(following)
            self._ready_byte_count += following.byte_count
