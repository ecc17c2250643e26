"""The HTTP/2 door: the same dialect and pages as over HTTP/1.1, many requests at a time on one connection.

A client that begins with HTTP/2's preface, on the plain port (prior knowledge) or under TLS (ALPN), is handed here. h2
keeps the protocol's state and windows, ``http2_guard`` counts what clients may cost, ``http2_heads`` reads and writes
header lists. Plain puts go into the same lanes as those of HTTP/1.1. Server push and upgrades from HTTP/1.1 are not
offered.

h2 does no I/O, so it serves the port and the event loop of HTTP/1.1, under limits of ours. Bounded: open streams of a
connection and of a worker, header lists, bodies, the bytes of bodies that a connection may have under way, the time for
a body to come and for an answer to be taken, idle connections, and floods. Streams take turns, a frame each.
"""

import asyncio
import time
from collections import deque
from typing import cast

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.server.http2_bodies import Bodies
from streamd.server.http2_guard import FrameGuard, TooMuch
from streamd.server.http2_hall import Http2Hall
from streamd.server.http2_heads import MalformedHead, answer_head, request_head
from streamd.server.http2_state import STREAM_COUNT_MAX, ending_on_a_bug, new_state
from streamd.server.http2_streams import Http2Stream
from streamd.server.http2_windows import Outbox
from streamd.server.peers import peer_of
from streamd.server.untaken import untaken_byte_count

__all__ = ["Http2Connection"]

# A client may give up on requests that go on being answered.
_IN_HAND_COUNT_MAX = 2 * STREAM_COUNT_MAX
_OWED_BYTE_COUNT_MAX = 64 * 1024 * 1024
_CREDIT_BYTE_COUNT = 1024 * 1024
_WRITE_BYTE_COUNT = 64 * 1024
_WRITE_BUFFER_BYTE_COUNT = 64 * 1024
_PATIENCE_S = 60.0
_IDLE_S = 75.0
_SWEEP_PAUSE_S = 5.0
# The client is still to read why its connection ends: closing at once would take the reason away from it.
_LINGER_S = 1.0
_LINGER_BYTE_COUNT_MAX = 4 * 1024 * 1024


class Http2Connection(asyncio.Protocol):
    """One connection, until it closes."""

    def __init__(self, hall: Http2Hall) -> None:
        self._hall = hall
        self._transport: asyncio.Transport | None = None
        self._state = new_state()
        self._guard = FrameGuard(now_s=time.monotonic())
        self._streams: dict[int, Http2Stream] = {}
        self._bodies = Bodies(self._state, hall.lean.budget, read_on=self._read_on)
        self._outbox = Outbox(self._state, self._guard, hall.lean.answers)
        self._deferred: deque[Http2Stream] = deque()
        self._in_hand_count = 0
        self._uncredited_byte_count = 0
        self._is_ending = False
        self._is_over = False
        self._is_full = False
        self._is_pumping = False
        self._discarded_byte_count = 0
        self._idle_since_s = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, or end it when there are too many."""
        # uvloop's transports are asyncio's in all but their base class.
        self._transport = cast("asyncio.Transport", transport)
        if not self._hall.lean.has_room():
            self._transport.abort()
            return
        self._hall.lean.connections.add(self)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER_BYTE_COUNT)
        self._timer = asyncio.get_running_loop().call_later(_SWEEP_PAUSE_S, self._sweep)
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        """Let go of everything; requests in hand are still carried out, only nobody hears of it."""
        self._hall.lean.forget(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._drop_all()
        self._bodies.close()

    def eof_received(self) -> bool:
        """Close: who says nothing more can make no room for answers, and no push would ever notice that it is gone."""
        return False

    def pause_writing(self) -> None:
        """Wait with answers, and with requests too: reading on would only make more to send."""
        self._is_full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on where the client's slowness stopped us."""
        self._is_full = False
        self._read_on()
        if self._transport is not None:
            self._pump()

    def _read_on(self) -> None:
        """Read again, unless the client's slowness or the door keeps us from it."""
        for stream in self._streams.values():
            stream.since_s = stream.since_s if stream.has_ended else time.monotonic()
        if self._transport is not None and not self._is_full and not self._bodies.is_held_up:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come."""
        if self._is_over:
            self._discarded_byte_count += len(data)
            if self._discarded_byte_count > _LINGER_BYTE_COUNT_MAX:
                self.abort()
            return
        try:
            self._guard.look(data, now_s=time.monotonic())
            for event in self._state.receive_data(data):
                self._heed(event)
        except TooMuch:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
        except ProtocolError:
            self._end(None)  # h2 has its own GOAWAY ready
        else:
            self._pump()

    def is_stale(self, _: float) -> bool:
        """Tell nothing: a connection looks after its own streams, see ``_sweep``."""
        return False

    def finish(self) -> None:
        """Say that no request is taken any more; close after those in hand."""
        if self._is_over or self._transport is None:
            return
        self._is_ending = True
        # h2's own GOAWAY would end what is still to be answered.
        self._flush()
        self._transport.write(GoAwayFrame(0, last_stream_id=self._state.highest_inbound_stream_id).serialize())
        self._end_if_done()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    give_up = abort  # what can be told was told by ``_sweep``

    def answer(self, stream: Http2Stream, reply: Reply) -> None:
        """Send an answer, as quickly as the client takes it."""
        self._in_hand_count -= 1
        self._bodies.done(stream)
        if not stream.is_gone:
            with ending_on_a_bug(self.abort):
                self._begin_answer(stream, reply)
        elif reply.frames is not None:
            stream.push(reply.frames, self._hall.group)
            stream.leave()

    def send(self, stream: Http2Stream) -> None:
        """Send what the stream owes, as quickly as the client takes it."""
        if stream.is_gone:
            return
        stream.since_s = time.monotonic()
        with ending_on_a_bug(self.abort):
            if stream.owed_byte_count:
                self._outbox.put(stream)
            else:
                self._state.end_stream(stream.number)
                self._close(stream)
            self._pump_soon()

    def fail(self, stream: Http2Stream) -> None:
        """Break an answer off that cannot be continued."""
        if not stream.is_gone:
            with ending_on_a_bug(self.abort):
                self._reset(stream, ErrorCodes.INTERNAL_ERROR)
                self._pump()

    def _begin_answer(self, stream: Http2Stream, reply: Reply) -> None:
        fields = answer_head(reply, date=self._hall.date())
        has_content = stream.head.method != "HEAD" and (reply.frames is not None or bool(reply.body))
        self._state.send_headers(stream.number, fields, end_stream=not has_content)
        stream.since_s = time.monotonic()
        if not has_content:
            self._close(stream)
        elif reply.frames is not None:
            stream.push(reply.frames, self._hall.group)
        else:
            stream.owe(reply.body, is_last=True)
            self._outbox.put(stream)
        self._pump_soon()

    def _heed(self, event: Event) -> None:
        match event:
            case _ if self._is_over:
                pass
            case RequestReceived():
                self._on_request(event)
            case DataReceived():
                self._on_data(event)
            case StreamEnded():
                self._on_end(event)
            case WindowUpdated():
                self._put_back(event.stream_id)
            case RemoteSettingsChanged():
                for number in self._streams:
                    self._put_back(number)
            case StreamReset():
                if (stream := self._streams.get(event.stream_id)) is not None:
                    self._drop(stream)
            case ConnectionTerminated():
                self._is_ending = True
            case _:
                pass

    def _on_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        if self._is_ending or not self._hall.has_room():
            self._state.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = request_head(event.headers)._replace(peer=peer_of(self._transport))
        except MalformedHead:
            self._state.reset_stream(number, ErrorCodes.PROTOCOL_ERROR)
            return
        stream = self._streams[number] = Http2Stream(self, number, head, now_s=time.monotonic())
        self._hall.stream_count += 1
        if event.stream_ended is not None:
            return
        if (stream.declared_byte_count or 0) > BODY_BYTE_COUNT_MAX:
            self._refuse(stream, 413)
            return
        if head.headers.get("expect", "").lower() == "100-continue":
            self._state.send_headers(number, [(b":status", b"100")])
        self._bodies.expect(stream)

    def _on_data(self, event: DataReceived) -> None:
        self._uncredited_byte_count += event.flow_controlled_length
        if self._uncredited_byte_count >= _CREDIT_BYTE_COUNT:
            self._state.increment_flow_control_window(self._uncredited_byte_count)
            self._uncredited_byte_count = 0
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.has_ended:
            return
        stream.add(event.data)
        if self._bodies.came(stream, len(event.data)) and self._transport is not None:
            self._transport.pause_reading()
        padding = event.flow_controlled_length - len(event.data)
        if stream.body_byte_count > BODY_BYTE_COUNT_MAX:
            self._refuse(stream, 413)
        elif padding and event.stream_ended is None:
            self._state.increment_flow_control_window(padding, event.stream_id)

    def _on_end(self, event: StreamEnded) -> None:
        if (stream := self._streams.get(event.stream_id)) is None:
            return
        stream.has_ended = True
        if self._in_hand_count >= _IN_HAND_COUNT_MAX:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
        elif self._deferred or self._outbox.byte_count > _OWED_BYTE_COUNT_MAX:
            self._deferred.append(stream)
        else:
            self._take(stream)

    def _put_back(self, number: int) -> None:
        if (stream := self._streams.get(number)) is not None:
            self._outbox.put_back(stream)

    def _take(self, stream: Http2Stream) -> None:
        """Have a whole request answered."""
        self._in_hand_count += 1
        stream.is_in_hand = True
        self._hall.take(stream, stream.request())

    def _refuse(self, stream: Http2Stream, status: int) -> None:
        """Answer without a word, as AWS does, to what was not read to its end."""
        self._state.send_headers(
            stream.number, answer_head(Reply(status, b""), date=self._hall.date()), end_stream=True
        )
        self._close(stream)

    def _reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        self._state.reset_stream(stream.number, code)
        self._drop(stream)

    def _close(self, stream: Http2Stream) -> None:
        """Let go of a stream whose answer was sent to its end."""
        if not stream.has_ended:
            # The rest of the request is not wanted (RFC 9113, 8.1).
            self._state.reset_stream(stream.number, ErrorCodes.NO_ERROR)
        self._guard.answered()
        self._drop(stream)

    def _drop(self, stream: Http2Stream) -> None:
        del self._streams[stream.number]
        self._hall.stream_count -= 1
        self._outbox.leave(stream)
        stream.leave()
        if not stream.is_in_hand:
            self._bodies.done(stream)
        if not self._is_over and self._transport is not None:
            self._bodies.leave(stream)
        self._idle_since_s = time.monotonic()

    def _drop_all(self) -> None:
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._deferred.clear()

    def _pump_soon(self) -> None:
        """Pump once for all that is answered and pushed in this turn of the loop."""
        if not self._is_pumping:
            self._is_pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Send what can be sent, then turn to requests that waited for that."""
        self._is_pumping = False
        if self._is_over:
            return
        unflushed_byte_count = 0
        while not self._is_full and (stream := self._outbox.send_piece()) is not None:
            if stream.is_last and not stream.owed_byte_count:
                self._close(stream)
            unflushed_byte_count += self._state.max_outbound_frame_size
            if unflushed_byte_count >= _WRITE_BYTE_COUNT:
                self._flush()
                unflushed_byte_count = 0
        self._flush()
        while self._deferred and self._outbox.byte_count <= _OWED_BYTE_COUNT_MAX:
            waiting = self._deferred.popleft()
            if not waiting.is_gone:
                self._take(waiting)
        self._end_if_done()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._state.data_to_send()):
            self._transport.write(data)

    def _end_if_done(self) -> None:
        if self._is_ending and not self._is_over and not self._streams and self._transport is not None:
            self._is_over = True
            # What the client has not taken yet is still sent, for a while.
            self._transport.close()
            self._linger()

    def _end(self, code: ErrorCodes | None) -> None:
        """Say why and end the connection; without a code h2 has said it."""
        if code is not None:
            self._state.close_connection(code)
        self._is_over = True
        self._drop_all()
        if self._transport is None:
            return
        self._flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._linger()

    def _linger(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self.abort)

    def _sweep(self) -> None:
        """End what has taken its time: bodies that do not come, answers that are not taken, the idle connection."""
        now_s = time.monotonic()
        is_stuck = self._guard.is_incomplete_for(now_s, _PATIENCE_S) and not self._bodies.is_held_up
        if is_stuck or self._outbox.is_stalling(untaken_byte_count(self._transport)):
            self._end(ErrorCodes.NO_ERROR)
            return
        for stream in list(self._streams.values()):
            if stream.is_taken_too_slowly(now_s):
                self._reset(stream, ErrorCodes.CANCEL)
            elif self._bodies.is_sent_too_slowly(stream, now_s):
                self._refuse(stream, 408)
        if not self._streams and now_s - self._idle_since_s > _IDLE_S:
            self._end(ErrorCodes.NO_ERROR)
            return
        self._pump()
        if not self._is_over:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_PAUSE_S, self._sweep)
