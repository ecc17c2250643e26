"""Parcels: what a producer sends, each one record of the stream, and who waits for what becomes of it.

A ``Parcel`` is a user's record as it was put, with the future of the one who put it. A ``PackedParcel`` is many of
them packed into one record (``aggregates``): it is sent for its members, each of which has a future of its own.
"""

from asyncio import Future
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

__all__ = ["RECORD_OVERHEAD_BYTE_COUNT", "Lot", "PackedParcel", "Parcel", "Stored", "members_of"]

# What a record costs in memory beside its data and key, so that many small ones are bounded too: its objects here,
# its part of a request as text, and its part of the answer. Measured, rounded up.
RECORD_OVERHEAD_BYTE_COUNT = 1024


class Stored(NamedTuple):
    """Where a record is. ``sub_sequence_number`` counts the records packed into one of the stream, else it is None."""

    shard_id: str
    sequence_number: str
    sub_sequence_number: int | None = None


_NOWHERE = Stored("", "")


class Lot:
    """Records that were put together, and one future for the places of all of them.

    It is answered once the last of them has its end. Then it fails if one was given up, with what the first of those
    failed with.
    """

    __slots__ = ("_failure", "_is_whole", "future", "open_count", "places")

    def __init__(self, future: "Future[list[Stored]]", *, record_count: int) -> None:
        self.future = future
        # Records that are admitted and have no end yet; whoever admits or ends one counts it here.
        self.open_count = 0
        self.places: list[Stored] = [_NOWHERE] * record_count
        self._is_whole = False
        self._failure: Exception | None = None

    def whole(self) -> None:
        """Take note that nothing more is admitted."""
        self._is_whole = True
        self.answer_if_ended()

    def failed(self, failure: Exception) -> None:
        """Take note that a record was given up."""
        self._failure = self._failure or failure
        self.open_count -= 1
        self.answer_if_ended()

    def answer_if_ended(self) -> None:
        """Answer, unless a record is still under way or to be admitted."""
        # Who stopped waiting has cancelled the future.
        if self.open_count or not self._is_whole or self.future.done():
            return
        if self._failure is not None:
            self.future.set_exception(self._failure)
        else:
            self.future.set_result(self.places)


class Parcel:
    """A record on its way. ``order_keys`` are the keys whose records stay in order, none where order does not matter.

    ``future`` is that of its lot, if it has one, and is then answered by it: the record has a ``number`` there.

    There is one for each record that is put, so nothing here is computed or wrapped.
    """

    __slots__ = (
        "attempt_count",
        "born_s",
        "byte_count",
        "data",
        "future",
        "hash_key",
        "key",
        "lot",
        "number",
        "order_keys",
        "wait_count",
    )

    def __init__(
        self,
        data: bytes,
        key: str,
        hash_key: str | None,
        byte_count: int,
        born_s: float,
        future: "Future[Any]",
        order_keys: Sequence[str],
        lot: Lot | None = None,
        number: int = 0,
    ) -> None:
        self.data = data
        self.key = key
        self.hash_key = hash_key
        self.byte_count = byte_count
        self.born_s = born_s
        self.future = future
        self.order_keys = order_keys
        self.lot = lot
        self.number = number
        self.attempt_count = 0
        self.wait_count = 0


class PackedParcel(Parcel):
    """Many records in one, for one shard. Its own future is nobody's: those of its members are answered."""

    __slots__ = ("members", "shard_id")

    def __init__(
        self, data: bytes, members: Sequence[Parcel], *, shard_id: str, hash_key: str, order_keys: Sequence[str]
    ) -> None:
        first = members[0]
        byte_count = len(data) + len(first.key.encode())
        super().__init__(data, first.key, hash_key, byte_count, first.born_s, first.future, order_keys)
        self.members = members
        self.shard_id = shard_id


def members_of(parcels: Iterable[Parcel]) -> list[Parcel]:
    """Give the records that users put, out of parcels of both kinds."""
    return list(
        chain.from_iterable(parcel.members if isinstance(parcel, PackedParcel) else (parcel,) for parcel in parcels)
    )
