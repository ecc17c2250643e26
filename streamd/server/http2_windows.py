"""The answers that wait for room: streams take turns, a frame each, as far as the client's windows go."""

from collections import OrderedDict

from h2.connection import H2Connection

from streamd.core.limits import SMALL_ANSWER_BYTE_COUNT_MAX
from streamd.engine.answer_room import AnswerRoom
from streamd.server.http2_guard import FrameGuard
from streamd.server.http2_streams import Http2Stream

__all__ = ["Outbox"]

# Clients may allow frames of 16 MiB; others shall have their turn sooner.
_FRAME_BYTE_COUNT_MAX = 64 * 1024


class Outbox:
    """The streams of a connection that owe their client something."""

    __slots__ = ("_answers", "_guard", "_mark", "_ready_by_number", "_sent_byte_count", "_state", "byte_count")

    def __init__(self, state: H2Connection, guard: FrameGuard, answers: AnswerRoom) -> None:
        self._answers = answers
        self._state = state
        self._guard = guard
        self._ready_by_number: OrderedDict[int, Http2Stream] = OrderedDict()
        self._sent_byte_count = 0
        self._mark: int | None = None
        self.byte_count = 0
        """What is owed by all streams together."""

    def put(self, stream: Http2Stream) -> None:
        """Take a stream that owes something new."""
        self.byte_count += stream.owed_byte_count
        self._answers.hold(stream.owed_byte_count)
        self._ready_by_number[stream.number] = stream

    def put_back(self, stream: Http2Stream) -> None:
        """Take a stream again whose window has opened."""
        if stream.owed_byte_count:
            self._ready_by_number[stream.number] = stream

    def leave(self, stream: Http2Stream) -> None:
        """Let go of a stream and what it owes."""
        self.byte_count -= stream.owed_byte_count
        self._answers.give_back(stream.owed_byte_count)
        self._ready_by_number.pop(stream.number, None)

    def is_stalling(self, untaken_byte_count: int) -> bool:
        """Tell, asked every few seconds, whether the room for answers is full while this client hardly takes any.

        What was sent and has not been taken yet is counted by who knows the connection.
        """
        taken_byte_count = self._sent_byte_count - untaken_byte_count
        mark, self._mark = self._mark, taken_byte_count if self.byte_count else None
        is_moving = mark is None or self._mark is None or self._mark - mark >= SMALL_ANSWER_BYTE_COUNT_MAX
        return self._answers.is_full and not is_moving

    def send_piece(self) -> Http2Stream | None:
        """Send a frame of the stream whose turn it is; None when nothing can be sent now."""
        state, ready = self._state, self._ready_by_number
        while ready and state.outbound_flow_control_window > 0:
            number, stream = ready.popitem(last=False)
            room = min(state.local_flow_control_window(number), state.max_outbound_frame_size, _FRAME_BYTE_COUNT_MAX)
            if room <= 0:
                # It comes back when its window opens.
                continue
            piece = stream.take_piece(room)
            state.send_data(number, piece, end_stream=stream.is_last and not stream.owed_byte_count)
            self.byte_count -= len(piece)
            self._sent_byte_count += len(piece)
            self._answers.give_back(len(piece))
            self._guard.sent(len(piece))
            if stream.owed_byte_count:
                ready[number] = stream
            return stream
        return None
