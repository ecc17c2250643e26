"""The lean door: ``POST`` with a length, straight from the socket to the dialect and back.

Single puts are what this server exists for, and for them the HTTP layer is the cost, so the requests that every SDK
sends are read here with a few byte searches (``server.heads``), and plain puts are answered many at a time
(``server.put_lanes``). Whatever else comes on a connection (another method, a chunked or too large body, ``Expect``, an
upgrade, a head that is not well formed) goes to aiohttp with every byte unread, and aiohttp keeps the connection from
there on. What begins with HTTP/2's preface goes to ``server.http2`` in the same way.

Bounded: a head, a body, the bytes kept for a pipelining client, the time for a head and a body to arrive, the time a
connection may idle, and the number of connections. One request of a connection is answered at a time.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from streamd.core.limits import BODY_BYTE_COUNT_MAX, SMALL_BODY_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.server.door_budget import Seat
from streamd.server.heads import Head
from streamd.server.lean_hall import LeanHall
from streamd.server.peers import peer_of
from streamd.server.pieces import Pieces
from streamd.server.untaken import Untaken

__all__ = ["LeanConnection"]

_LOG = logging.getLogger(__name__)
_HEAD_BYTE_COUNT_MAX = 64 * 1024
_PIPELINE_BYTE_COUNT_MAX = 64 * 1024
_PATIENCE_S = 60.0
_IDLE_S = 75.0
# The largest answer over a line of half a megabit a second.
_TAKING_S = 300.0
# Up to this, one write of head and body costs less than two; above it, joining them would only copy.
_JOINED_BYTE_COUNT_MAX = 64 * 1024
_STARTS = b"POST /"
# The end of a line as no line of HTTP ends: what begins so will never be a head, and no more of it need come.
_BARE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


class LeanConnection(asyncio.Protocol):
    """One connection, until it closes or is handed over."""

    __slots__ = (
        "_body",
        "_buffer",
        "_hall",
        "_head",
        "_held_byte_count",
        "_is_busy",
        "_is_ending",
        "_is_full",
        "_is_paused",
        "_is_taken_slowly",
        "_keeps_alive",
        "_push",
        "_room",
        "_searched_byte_count",
        "_seat",
        "_since_s",
        "_transport",
        "_untaken",
    )

    def __init__(self, hall: LeanHall) -> None:
        self._hall = hall
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._searched_byte_count = 0
        self._head: Head | None = None
        self._body = Pieces()
        self._seat: Seat | None = None
        self._held_byte_count = 0
        self._keeps_alive = True
        self._is_busy = False
        self._is_ending = False
        self._is_full = False
        self._is_paused = False
        self._is_taken_slowly = False
        self._since_s = time.monotonic()
        self._push: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._untaken = Untaken(hall.answers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, or end it when there are too many."""
        # uvloop's transports are asyncio's in all but their base class.
        self._transport = cast("asyncio.Transport", transport)
        if not self._hall.has_room():
            self._transport.abort()
            return
        self._hall.connections.add(self)
        if self._hall.is_draining:
            # Accepted just before the listener was closed: nobody would ever end it.
            self.finish()

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the connection; a request in hand is still carried out, only nobody hears of it."""
        self._hall.forget(self)
        self._transport = None
        self._untaken.end()
        if not self._is_busy:
            self._leave_seat()
        if self._push is not None:
            self._push.cancel()
            # Else what was to be sent would live until the collector comes, which is seldom.
            self._push = self._room = None

    def eof_received(self) -> bool:
        """Keep a half-closed connection until the request in hand is answered."""
        self._is_ending = True
        return self._is_busy

    def pause_writing(self) -> None:
        """Note that the client reads slowly: its next request waits until it has taken this answer."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self._is_full = False
        self._untaken.end()
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
        elif self._is_taken_slowly:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come."""
        if self._is_busy:
            self._buffer += data
            if len(self._buffer) > _PIPELINE_BYTE_COUNT_MAX and self._transport is not None:
                self._is_paused = True
                self._transport.pause_reading()
            return
        if self._head is not None:
            self._add_to_body(data)
            return
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = data
            self._since_s = time.monotonic()
        self._read_head()

    def is_stale(self, now_s: float) -> bool:
        """Tell whether the client has idled, or taken its time over a request or an answer, for too long."""
        if self._is_busy and not self._is_taken_slowly:
            return False
        if self._head is not None and self._seat is not None:
            if self._seat.is_waiting:
                return False
            if self._seat.is_stalling(now_s):
                return True
        if self._is_taken_slowly:
            if self._transport is not None and self._untaken.is_stalling(self._transport, now_s):
                return True
            patience_s = _TAKING_S
        else:
            patience_s = _PATIENCE_S if self._buffer or self._head is not None else _IDLE_S
        return now_s - self._since_s > patience_s

    def finish(self) -> None:
        """Close after the request in hand, or now."""
        self._is_ending = True
        if not self._is_busy and self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """Close now what is stale, saying so if a request was begun; without a word more, as AWS does."""
        if self._transport is not None and not self._is_busy and (self._head is not None or self._buffer):
            self._transport.write(self._hall.opening(408) + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()
            self._leave_seat()
        else:
            self.abort()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self) -> None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(self._searched_byte_count - 3, 0)) + 4
        if end < 4:
            is_ours = buffer.startswith(_STARTS) or _STARTS.startswith(buffer)
            is_broken = _BARE_END.search(buffer, max(self._searched_byte_count - 1, 0)) is not None
            self._searched_byte_count = len(buffer)
            if not is_ours or is_broken or len(buffer) > _HEAD_BYTE_COUNT_MAX:
                self._hand_over()
            return
        self._searched_byte_count = 0
        head = self._hall.heads.read(buffer[:end])
        if head is None or head.body_byte_count > BODY_BYTE_COUNT_MAX or end > _HEAD_BYTE_COUNT_MAX:
            # aiohttp also refuses what is too large: it goes on reading for a while, without which a client that is
            # still sending would see a reset connection and not the answer.
            self._hand_over()
            return
        self._buffer = b""
        byte_count = head.body_byte_count
        if len(buffer) == end + byte_count and byte_count <= SMALL_BODY_BYTE_COUNT_MAX:
            self._held_byte_count = byte_count
            self._hall.budget.byte_count += byte_count
            self._take(head, buffer[end:])
            return
        self._head = head
        self._seat = Seat(self._hall.budget, byte_count, self._let_on)
        self._add_to_body(buffer[end:])

    def _add_to_body(self, data: bytes) -> None:
        head, seat = self._head, self._seat
        assert head is not None
        assert seat is not None
        missing = head.body_byte_count - self._body.byte_count
        if len(data) > missing:
            data, self._buffer = data[:missing], data[missing:]
        self._body.add(data)
        if not seat.take(len(data)):
            self._take_if_whole()
        elif self._transport is not None:
            self._transport.pause_reading()
            seat.wait()

    def _let_on(self) -> None:
        """Go on with a body that waited for room."""
        self._since_s = time.monotonic()
        if self._transport is not None:
            self._transport.resume_reading()
            self._take_if_whole()

    def _take_if_whole(self) -> None:
        head = self._head
        if head is not None and head.body_byte_count == self._body.byte_count:
            self._head = None
            self._take(head, self._body.take())

    def _leave_seat(self) -> None:
        """Give back what the request held of the door's budget."""
        if (seat := self._seat) is not None:
            self._seat = None
            seat.leave()
        elif self._held_byte_count:
            byte_count, self._held_byte_count = self._held_byte_count, 0
            self._hall.budget.give_back(byte_count)

    def _take(self, head: Head, body: bytes) -> None:
        """Have a whole request answered."""
        self._keeps_alive = head.keeps_alive
        self._is_busy = True
        # Nobody but the server's own routes asks who sent a request, and asking takes a while.
        peer = peer_of(self._transport) if head.path.startswith("/_") else ""
        self._hall.take(self, SignedRequest("POST", head.path, head.query, head.headers, body, peer))

    def reply(self, reply: Reply) -> None:
        """Answer the request in hand. The next one waits until the client has taken this answer."""
        self._leave_seat()
        if reply.frames is not None:
            assert self._hall.group is not None
            self._push = self._hall.group.create_task(self._answer_with_frames(reply, reply.frames))
            return
        transport = self._transport
        if transport is None or transport.is_closing():
            self._is_busy = False
            return
        is_last = self._is_ending or not self._keeps_alive
        head = self._written_head(reply, is_last=is_last)
        if len(reply.body) <= _JOINED_BYTE_COUNT_MAX:
            transport.write(head + reply.body)
        else:
            transport.writelines([head, reply.body])
        self._end_answer(transport, is_last=is_last)

    def _end_answer(self, transport: asyncio.Transport, *, is_last: bool) -> None:
        if is_last:
            # What the client has not taken yet is still sent.
            transport.close()
        if self._is_full:
            self._is_taken_slowly = True
            self._since_s = time.monotonic()
            self._untaken.begin(transport)
        else:
            self._go_on()

    async def _answer_with_frames(self, reply: Reply, frames: AsyncGenerator[bytes, None]) -> None:
        """Send frames as they come, each as a chunk; the next is asked for when the client has room for it."""
        async with aclosing(frames):
            transport = self._transport
            if transport is None or transport.is_closing():
                self._is_busy = False
                return
            is_last = self._is_ending or not self._keeps_alive
            transport.write(self._written_head(reply, is_last=is_last))
            try:
                await self._send_chunks(transport, frames)
            except Exception:  # a bug of whoever makes the frames ends this answer and no other
                _LOG.exception("an answer broke off; this is a bug in streamd")
                transport.abort()
                return
        self._push = None
        self._end_answer(transport, is_last=is_last or self._is_ending)

    async def _send_chunks(self, transport: asyncio.Transport, frames: AsyncGenerator[bytes, None]) -> None:
        async for frame in frames:
            if frame:
                transport.writelines([b"%x\r\n" % len(frame), frame, b"\r\n"])
                await self._until_room(transport)
        transport.write(b"0\r\n\r\n")

    async def _until_room(self, transport: asyncio.Transport) -> None:
        """Wait until the client has taken enough of what was sent."""
        if self._is_full:
            self._room = asyncio.get_running_loop().create_future()
            self._is_taken_slowly, self._since_s = True, time.monotonic()
            self._untaken.begin(transport)
            await self._room
            self._is_taken_slowly, self._room = False, None

    def _go_on(self) -> None:
        """Turn to the next request."""
        self._is_taken_slowly = False
        self._is_busy = False
        self._since_s = time.monotonic()
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        if self._buffer and self._transport is not None and not self._transport.is_closing():
            self._read_head()

    def _written_head(self, reply: Reply, *, is_last: bool) -> bytes:
        return b"%b%b%b%b\r\n\r\n" % (
            self._hall.opening(reply.status),
            reply.fields,
            b"Connection: close\r\n" if is_last else b"",
            b"Content-Length: %d" % len(reply.body) if reply.frames is None else b"Transfer-Encoding: chunked",
        )

    def _hand_over(self) -> None:
        """Let aiohttp or HTTP/2 have the connection and every byte that was not dealt with."""
        fallback = self._hall.fallback(self._buffer)
        if fallback is None:
            return
        transport, self._transport = self._transport, None
        assert transport is not None
        self._hall.forget(self)
        transport.set_protocol(fallback)
        fallback.connection_made(transport)
        unread, self._buffer = self._buffer, b""
        fallback.data_received(unread)
