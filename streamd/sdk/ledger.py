"""What a producer owes: the records it admitted and has not answered yet, the room they take, and all it counted."""

import time
from collections.abc import Sequence

from streamd.sdk.counters import Counters
from streamd.sdk.parcels import RECORD_OVERHEAD_BYTE_COUNT, Parcel, Stored
from streamd.sdk.room import Room

__all__ = ["Ledger"]


class Ledger:
    """Answers each member once, and gives its room back then."""

    def __init__(self, room: Room) -> None:
        self._room = room
        # Records that are owed an answer; whoever admits one, whose room is taken already, counts it here.
        self.open_count = 0
        self._record_count = 0
        self._byte_count = 0
        self._failed_record_count = 0
        self._request_count = 0
        self._sent_record_count = 0
        self._retried_record_count = 0
        self._latency_s_sum = 0.0
        self._latency_s_max = 0.0

    def sent(self, *, record_count: int, retried_record_count: int) -> None:
        """Count a request."""
        self._request_count += 1
        self._sent_record_count += record_count
        self._retried_record_count += retried_record_count

    def stored(self, members: Sequence[Parcel], places: Sequence[Stored]) -> None:
        """Tell members where they are stored."""
        for member, place in zip(members, places, strict=True):
            future, lot = member.future, member.lot
            if lot is not None:
                lot.places[member.number] = place
                lot.open_count -= 1
                if not lot.open_count:
                    lot.answer_if_ended()
            # Who stopped waiting has cancelled the future.
            elif not future.done():
                future.set_result(place)
        born_s = [member.born_s for member in members]
        now_s = time.monotonic()
        self._latency_s_sum += now_s * len(members) - sum(born_s)
        self._latency_s_max = max(self._latency_s_max, now_s - min(born_s))
        self._record_count += len(members)
        self._byte_count += self._close(members)

    def failed(self, members: Sequence[Parcel], failure: Exception) -> None:
        """Tell members that they are given up."""
        for member in members:
            if member.lot is not None:
                member.lot.failed(failure)
            elif not member.future.done():
                member.future.set_exception(failure)
        self._failed_record_count += len(members)
        self._close(members)

    def abandon(self, members: Sequence[Parcel]) -> None:
        """Cancel what has no answer: nobody will send it (again), and nobody can know whether it is stored."""
        for member in members:
            member.future.cancel()
        self.open_count = 0
        self._room.give(self._room.byte_count)

    def counters(self) -> Counters:
        """Tell what was done."""
        return Counters(
            record_count=self._record_count,
            byte_count=self._byte_count,
            failed_record_count=self._failed_record_count,
            request_count=self._request_count,
            sent_record_count=self._sent_record_count,
            retried_record_count=self._retried_record_count,
            latency_s_sum=self._latency_s_sum,
            latency_s_max=self._latency_s_max,
            buffered_record_count=self.open_count,
            buffered_byte_count=self._room.byte_count,
        )

    def _close(self, members: Sequence[Parcel]) -> int:
        self.open_count -= len(members)
        byte_count = sum([member.byte_count for member in members])
        self._room.give(byte_count + RECORD_OVERHEAD_BYTE_COUNT * len(members))
        return byte_count
