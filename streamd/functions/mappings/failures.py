"""Sends what a mapping gave up to its destination: for a minute at most, then the shard goes on without."""

import asyncio
import logging
import uuid
from collections.abc import Callable

from streamd.core.failure_documents import failure_document, failure_document_with_payload, failure_key
from streamd.core.lineage import DEPTH_STORED_MAX
from streamd.core.mapping import EventSourceMapping
from streamd.core.mapping_events import RecordEvents
from streamd.core.mapping_steps import Failure
from streamd.engine.clock import Clock
from streamd.errors import DeliveryFailed
from streamd.functions.deliveries import Delivers, Delivery

__all__ = ["FailureDelivery"]

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 60.0
_PAUSE_S_MIN = 0.5
_PAUSE_S_MAX = 10.0
# Queues and topics hold little: AWS sends them pointers, and everybody else the records too.
_POINTED = (":sqs:", ":sns:")


class FailureDelivery:
    """Delivers failures of mappings."""

    def __init__(self, delivers: Delivers, clock: Clock, *, count_lost: Callable[[EventSourceMapping], None]) -> None:
        self._delivers = delivers
        self._clock = clock
        self._count_lost = count_lost

    async def deliver(self, mapping: EventSourceMapping, events: RecordEvents, failure: Failure) -> bool:
        """Send a failure to the mapping's destination; whether it is there. Without a destination it is only logged."""
        target = mapping.on_failure
        _LOG.warning(
            "mapping %s gave up %d records of %s (%s to %s): %s",
            mapping.uuid,
            failure.record_count,
            events.shard_id,
            failure.first_number,
            failure.last_number,
            failure.condition,
        )
        if target is None:
            return False
        delivery = self._delivery(target, mapping, events, failure)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._insist(target, delivery)
        except TimeoutError:
            _LOG.error("mapping %s: %s did not take a failure, which is lost", mapping.uuid, target)
            self._count_lost(mapping)
            return False
        return True

    async def _insist(self, target: str, delivery: Delivery) -> None:
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                await self._delivers.deliver(target, delivery)
            except DeliveryFailed as error:
                _LOG.warning("%s did not take a failure: %s", target, error)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(_PAUSE_S_MAX, 2 * pause_s)

    def _delivery(self, target: str, mapping: EventSourceMapping, events: RecordEvents, failure: Failure) -> Delivery:
        now_ms = self._clock.now_ms()
        request_id = str(uuid.uuid4())
        is_pointed = target.startswith("arn:") and any(service in target for service in _POINTED)
        write = failure_document if is_pointed else failure_document_with_payload
        body = write(failure, events, request_id=request_id, function_arn=mapping.function_arn, now_ms=now_ms)
        key = failure_key(mapping_id=mapping.uuid, shard_id=events.shard_id, now_ms=now_ms, unique_id=str(uuid.uuid4()))
        # A destination must not feed what failed back for ever.
        deepest = max([record.depth for record in failure.records], default=0)
        depth = min(deepest + 1, DEPTH_STORED_MAX)
        return Delivery(body=body, key=key, request_id=request_id, depth=depth)
