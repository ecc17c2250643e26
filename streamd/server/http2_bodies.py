"""The bodies that come over one HTTP/2 connection: what each may send, and what all of them hold.

A stream's first window takes nearly every put. What is declared beyond it is granted whole, to one stream after
another, so a connection never has more than its own bound under way; the oldest is always served, and none waits for
ever. What has come is held until its answer and counts at the door (``server.door_budget``), where the connection is
like one body: past the door's budget nothing more is read from it until there is room or it is the oldest that waits.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from h2.connection import H2Connection

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.server.door_budget import STALLED_S, DoorBudget, Seat
from streamd.server.http2_state import WINDOW_BYTE_COUNT
from streamd.server.http2_streams import Http2Stream

__all__ = ["Bodies"]

# Bodies beyond their first window are let in one after another: the oldest always, others while there is room.
_GRANTED_BYTE_COUNT_MAX = 64 * 1024 * 1024


class Bodies:
    """The bodies of a connection. ``read_on`` is called when it may be read again."""

    __slots__ = ("_granted_byte_count", "_seat", "_state", "_wanted_by_stream")

    def __init__(self, state: H2Connection, budget: DoorBudget, *, read_on: Callable[[], None]) -> None:
        self._state = state
        self._seat = Seat(budget, 0, read_on)
        self._granted_byte_count = 0
        self._wanted_by_stream: OrderedDict[Http2Stream, int] = OrderedDict()

    @property
    def is_held_up(self) -> bool:
        """Tell whether nothing may be read for now."""
        return self._seat.is_waiting

    def expect(self, stream: Http2Stream) -> None:
        """Ask for room beyond the first window for a body that comes; it is granted now or when others have left."""
        declared = stream.declared_byte_count
        # One byte more than is allowed, to learn that a body of unknown length is too large.
        byte_count = (BODY_BYTE_COUNT_MAX + 1 if declared is None else declared) - WINDOW_BYTE_COUNT
        if byte_count > 0:
            self._wanted_by_stream[stream] = byte_count
            self._grant()

    def is_sent_too_slowly(self, stream: Http2Stream, now_s: float) -> bool:
        """Tell whether a client takes too long over a body that it may send; sooner while others wait for room."""
        if self._seat.is_waiting or stream in self._wanted_by_stream:
            return False
        is_stalling = now_s - stream.since_s > STALLED_S and self._seat.is_stalling(now_s)
        return not stream.has_ended and (is_stalling or stream.is_sent_too_slowly(now_s))

    def came(self, stream: Http2Stream, byte_count: int) -> bool:
        """Hold what has come of a body; tells whether reading has to stop, until ``read_on``."""
        stream.held_byte_count += byte_count
        if self._seat.take(byte_count) and not self._seat.is_waiting:
            self._seat.wait()
        return self._seat.is_waiting

    def done(self, stream: Http2Stream) -> None:
        """Give back what a body held: it was answered, or nobody will."""
        byte_count, stream.held_byte_count = stream.held_byte_count, 0
        if byte_count:
            self._seat.give_back(byte_count)

    def close(self) -> None:
        """Wait for nothing any more: the connection is gone. What is still in hand is given back by ``done``."""
        self._seat.stop_waiting()

    def leave(self, stream: Http2Stream) -> None:
        """Give back what a stream was granted."""
        self._wanted_by_stream.pop(stream, None)
        self._granted_byte_count -= stream.granted_byte_count
        stream.granted_byte_count = 0
        self._grant()

    def _grant(self) -> None:
        while self._wanted_by_stream:
            stream, byte_count = next(iter(self._wanted_by_stream.items()))
            if self._granted_byte_count and self._granted_byte_count + byte_count > _GRANTED_BYTE_COUNT_MAX:
                return
            del self._wanted_by_stream[stream]
            self._granted_byte_count += byte_count
            stream.granted_byte_count = byte_count
            # The time that the client has for its body begins when it may send it.
            stream.since_s = time.monotonic()
            self._state.increment_flow_control_window(byte_count, stream.number)
