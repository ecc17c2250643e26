"""The lean connections of a worker together: what they share, and their bounds.

The number of connections, what bodies and answers may hold (``server.door_budget``, ``engine.answer_room``), and how
long a connection may idle or dawdle.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import NoReturn, Protocol

from streamd.core.limits import DOOR_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.door_budget import DoorBudget
from streamd.server.heads import HeadReader
from streamd.server.put_lanes import AnswersPuts, Asker, PutLanes

__all__ = ["Dialect", "HandOver", "KeptConnection", "LeanHall"]

_LOG = logging.getLogger(__name__)
_SWEEP_PAUSE_S = 5.0
_CONNECTION_COUNT_MAX = 20_000
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Dialect(AnswersPuts, Protocol):
    """Answers requests. Never raises."""

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request."""
        ...

    def read_plain_put(self, request: SignedRequest) -> PlainPut | None:
        """Read a request as one of those that are answered together; None for any other."""
        ...


class KeptConnection(Protocol):
    """A connection that the hall bounds and ends."""

    def is_stale(self, now_s: float) -> bool:
        """Tell whether it has idled or dawdled for too long."""
        ...

    def give_up(self) -> None:
        """Close now what is stale, saying so if a request was begun."""
        ...

    def finish(self) -> None:
        """Close after the requests in hand, or now."""
        ...

    def abort(self) -> None:
        """Close now."""
        ...


HandOver = Callable[[bytes], asyncio.Protocol | None]
"""Makes the protocol that goes on with a connection which began so; None when more must come to tell."""


class LeanHall:
    """The lean connections of a worker: makes them, bounds them, ends those that idle or dawdle."""

    def __init__(
        self,
        dialect: Dialect,
        fallback: HandOver,
        answers: AnswerRoom,
        *,
        connection_count_max: int = _CONNECTION_COUNT_MAX,
    ) -> None:
        self.dialect = dialect
        self.fallback = fallback
        self.budget = DoorBudget(DOOR_BYTE_COUNT_MAX)
        self.answers = answers
        self.connections: set[KeptConnection] = set()
        self.bounded_elsewhere: set[asyncio.Protocol] = set()
        """Connections that were handed over to who ends them himself; they count like the others."""
        self.group: asyncio.TaskGroup | None = None
        self._connection_count_max = connection_count_max
        self._openings_s = 0
        self._opening_by_status: dict[int, bytes] = {}
        self._last_gone: asyncio.Event | None = None
        self.heads = HeadReader()
        self._lanes = PutLanes(dialect)

    @property
    def is_draining(self) -> bool:
        """Tell whether no request is taken any more."""
        return self._last_gone is not None

    def has_room(self) -> bool:
        """Tell whether one more connection may be kept."""
        return len(self.connections) + len(self.bounded_elsewhere) < self._connection_count_max

    async def run(self) -> NoReturn:
        """Answer requests and end stale connections, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self.group = group
            while True:
                await asyncio.sleep(_SWEEP_PAUSE_S)
                now_s = time.monotonic()
                for connection in [c for c in self.connections if c.is_stale(now_s)]:
                    connection.give_up()
        raise AssertionError("the loop above never ends")

    def take(self, connection: Asker, request: SignedRequest) -> None:
        """Have a request answered: a plain put in its stream's lane, others alone."""
        assert self.group is not None
        put = self.dialect.read_plain_put(request)
        if put is None:
            self.group.create_task(self.answer(connection, request))
        else:
            self._lanes.take(connection, put, self.group)

    async def answer(self, connection: Asker, request: SignedRequest) -> None:
        """Answer a request alone; a bug on the way to its answer ends it, and not the worker."""
        try:
            reply = await self.dialect.answer(request)
        except Exception:  # a bug of the dialect's ends this request and no other
            _LOG.exception("a request was not answered; this is a bug in streamd")
            reply = Reply(500, b"")
        connection.reply(reply)

    def forget(self, connection: KeptConnection) -> None:
        """Let go of a connection that closed or was handed over."""
        self.connections.discard(connection)
        if self._last_gone is not None and not self.connections:
            self._last_gone.set()

    async def drain(self, *, patience_s: float) -> None:
        """Close what idles, let the requests in hand finish, then close the rest."""
        self._last_gone = asyncio.Event()
        for connection in list(self.connections):
            connection.finish()
        if not self.connections:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._last_gone.wait()
        for connection in list(self.connections):
            connection.abort()

    def opening(self, status: int) -> bytes:
        """Give the lines that every answer of this status begins with; written anew once a second."""
        now_s = int(time.time())
        if self._openings_s != now_s:
            self._openings_s, self._opening_by_status = now_s, {}
        opening = self._opening_by_status.get(status)
        if opening is None:
            date = formatdate(now_s, usegmt=True)
            opening = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nServer: streamd\r\nDate: {date}\r\n".encode()
            self._opening_by_status[status] = opening
        return opening
