"""Where asynchronous invocations go in: in any worker, durable once they are answered."""

import uuid

from streamd.engine.clock import Clock
from streamd.functions.queue.events import QueuedEvent, lane_of
from streamd.storage.store import Store

__all__ = ["EventQueue"]


class EventQueue:
    """Keeps events for functions."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def enqueue(self, arn: str, payload: bytes, *, request_id: str | None = None, depth: int = 0) -> str:
        """Keep an event for a function, version or alias; its request id, the same for every attempt.

        Raises QueueFull, StoreFull and StoreFailed: then nothing was kept.
        """
        now_ms = self._clock.now_ms()
        event = QueuedEvent(
            arn=arn, request_id=request_id or str(uuid.uuid4()), payload=payload, first_ms=now_ms, depth=depth
        )
        await self._store.events.put(lane_of(arn), event.to_content(), due_ms=now_ms)
        return event.request_id
