"""One request of an HTTP/2 connection and its answer: what has come of the one and what is still owed of the other.

Of a pushed answer one frame is held at a time: its source is asked for the next one when the client has taken this one,
so a slow reader makes its own source wait and nothing grows. The source is closed whichever way the stream ends.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from streamd.core.limits import BODY_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest

__all__ = ["Carrier", "Http2Stream"]

_LOG = logging.getLogger(__name__)
_LENGTH_DIGIT_COUNT_MAX = 12
_SENDING_S = 60.0
# The largest answer over a line of half a megabit a second.
_TAKING_S = 300.0


class Carrier(Protocol):
    """The connection of a stream."""

    def answer(self, stream: "Http2Stream", reply: Reply) -> None:
        """Send an answer, as quickly as the client takes it."""
        ...

    def send(self, stream: "Http2Stream") -> None:
        """Send what the stream owes, as quickly as the client takes it."""
        ...

    def fail(self, stream: "Http2Stream") -> None:
        """Break an answer off that cannot be continued."""
        ...


class Http2Stream:
    """A request while it comes, is answered, and its answer is taken."""

    __slots__ = (
        "_carrier",
        "_chunks",
        "_owed",
        "_taken",
        "_task",
        "body_byte_count",
        "granted_byte_count",
        "has_ended",
        "head",
        "held_byte_count",
        "is_gone",
        "is_in_hand",
        "is_last",
        "number",
        "since_s",
    )

    def __init__(self, carrier: Carrier, number: int, head: SignedRequest, *, now_s: float) -> None:
        self._carrier = carrier
        self._chunks: list[bytes] = []
        self._owed = memoryview(b"")
        self._taken: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.number = number
        self.head = head
        self.body_byte_count = 0
        self.granted_byte_count = 0
        self.held_byte_count = 0
        self.has_ended = False
        """The client has sent its whole request."""
        self.is_in_hand = False
        """It is being answered."""
        self.is_gone = False
        """Nobody waits for the answer any more."""
        self.is_last = False
        """Nothing comes after what is owed."""
        self.since_s = now_s
        """When what is waited for now began: a body, or that the client takes what it is owed."""

    @property
    def declared_byte_count(self) -> int | None:
        """How long the body will be, None when the client did not say; a length with too many digits is too long."""
        text = self.head.headers.get("content-length")
        if text is None:
            return None
        return int(text) if len(text) <= _LENGTH_DIGIT_COUNT_MAX else BODY_BYTE_COUNT_MAX + 1

    @property
    def owed_byte_count(self) -> int:
        """How many bytes the client has still to take of what is there to send."""
        return len(self._owed)

    def is_sent_too_slowly(self, now_s: float) -> bool:
        """Tell whether the client has taken too long over its request."""
        return not self.has_ended and now_s - self.since_s > _SENDING_S

    def is_taken_too_slowly(self, now_s: float) -> bool:
        """Tell whether the client has taken too long over an answer, or over a frame of one that is pushed."""
        return bool(self._owed) and now_s - self.since_s > _TAKING_S

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(data)
        self.body_byte_count += len(data)

    def request(self) -> SignedRequest:
        """Give the whole request, and hold it no longer."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        return self.head._replace(body=body)

    def reply(self, reply: Reply) -> None:
        """Take the answer."""
        self._carrier.answer(self, reply)

    def owe(self, data: bytes, *, is_last: bool) -> None:
        """Have bytes to send."""
        self._owed = memoryview(data)
        self.is_last = is_last

    def take_piece(self, byte_count_max: int) -> memoryview:
        """Take what is sent next."""
        piece, self._owed = self._owed[:byte_count_max], self._owed[byte_count_max:]
        if not self._owed and self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        return piece

    def push(self, frames: AsyncGenerator[bytes, None], group: asyncio.TaskGroup) -> None:
        """Send frames as they come; the group's task takes them from their source."""
        self._task = group.create_task(self._push(frames))

    async def _push(self, frames: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(frames):
                await self._hand_out(frames)
        except Exception:  # a bug of whoever makes the frames ends this answer and no other
            _LOG.exception("an answer broke off; this is a bug in streamd")
            self._carrier.fail(self)
            return
        self.owe(b"", is_last=True)
        self._carrier.send(self)

    async def _hand_out(self, frames: AsyncGenerator[bytes, None]) -> None:
        async for frame in frames:
            if frame:
                self._taken = asyncio.get_running_loop().create_future()
                self.owe(frame, is_last=False)
                self._carrier.send(self)
                await self._taken

    def leave(self) -> None:
        """Stop: nobody takes anything any more. The source of frames is closed."""
        self.is_gone = True
        self._chunks = []
        self._owed = memoryview(b"")
        if self._task is not None:
            self._task.cancel()
            # Else what was to be sent would live until the collector comes, which is seldom.
            self._task = self._taken = None
