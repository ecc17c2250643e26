"""Takes events when they are due, has them run, and sees to it that each is over only when that is on disk.

Each function is a lane of its own: so many of its events are in hand at once and no more, so one that is slow holds up
nobody else. What a try led to (another time, or the end and its delivery) is written before the event is let go, so a
crash at any moment repeats the try in hand at most, and loses nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn, Protocol

from streamd.core.function import EventSettings
from streamd.core.lineage import DEPTH_STORED_MAX, is_too_deep
from streamd.core.outcomes import Outcome, dead_letter_attributes, destination_record
from streamd.core.retrying import PAUSE_MS_MAX, Ending, Over, Retry, Rules, is_too_old, next_step
from streamd.engine.clock import Clock
from streamd.errors import CatalogDamaged, DeliveryFailed, FunctionMissing, StreamdError
from streamd.functions.deliveries import Delivers, Delivery
from streamd.functions.queue.events import QueuedEvent
from streamd.functions.running import Finished, Invocation, Invokes, Throttled, Trigger
from streamd.storage.event_queue import StoredEvent
from streamd.storage.store import Store

__all__ = ["CountsEvents", "Dispatcher", "EventTargets", "SettlesEvents"]

_LOG = logging.getLogger(__name__)
_RETRY_COUNT_MAX = 2
_AGE_S_MAX = 21_600
# Half of what a payload may be for each in hand would be plenty; the bound is on all lanes together.
_HELD_BYTE_COUNT_MAX = 64 << 20
_LOOK_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTargets:
    """What a function's settings say of its events, and whether it is stopped (no reserved concurrency at all).

    ``stops_loops`` is whether it may not run in a loop.
    """

    settings: EventSettings
    dead_letter: str = ""
    is_stopped: bool = False
    stops_loops: bool = True


class SettlesEvents(Protocol):
    """Knows the settings of functions."""

    def targets_of(self, arn: str) -> EventTargets:
        """Tell what is configured for an ARN. Raises FunctionMissing."""
        ...


class CountsEvents(Protocol):
    """Counts what becomes of events, by function."""

    def event_taken(self, arn: str, *, age_s: float) -> None:
        """Note how old an event was when it was tried first."""
        ...

    def event_dropped(self, arn: str) -> None:
        """Count an event that was given up."""
        ...

    def dead_letter_failed(self, arn: str) -> None:
        """Count an event that its dead letter queue did not take."""
        ...

    def delivery_failed(self, arn: str) -> None:
        """Count an outcome that its destination did not take."""
        ...


class Dispatcher:
    """The one taker of a store's events, which wait and grow old by ``event_clock``."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        event_clock: Clock,
        invoker: Invokes,
        settings: SettlesEvents,
        delivers: Delivers,
        counts: CountsEvents,
        delays_ms: tuple[int, ...],
        lane_width: Callable[[], int],
    ) -> None:
        self._store = store
        self._clock = clock
        self._event_clock = event_clock
        self._invoker = invoker
        self._settings = settings
        self._delivers = delivers
        self._counts = counts
        self._delays_ms = delays_ms
        self._delay_ms_max = max(PAUSE_MS_MAX, *delays_ms)
        self._lane_width = lane_width
        self._keys_by_lane: dict[int, set[bytes]] = {}
        self._held_byte_count = 0
        self._is_freed = False
        self._is_stopping = False
        self._drained = asyncio.Event()

    async def drain(self) -> None:
        """Take nothing more, and wait until what is in hand is over."""
        self._is_stopping = True
        self._store.wake_for_events()
        if self._keys_by_lane:
            self._drained.clear()
            await self._drained.wait()

    async def run(self) -> NoReturn:
        """Take and try events until cancelled; what is in hand then is tried again after the next start."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._look(group)
        raise AssertionError("the loop above never ends")

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Begin with what is due, then wait until something else is, came in, or one in hand is over."""
        self._is_freed = False
        if self._is_stopping:
            await asyncio.Event().wait()
        commit = self._store.last_commit()
        now_ms = self._event_clock.now_ms()
        pause_s = _LOOK_PAUSE_S
        for lane, due_ms in self._store.events.heads(beyond_ms=now_ms + self._delay_ms_max).items():
            if due_ms <= now_ms:
                self._start(lane, now_ms, group)
            else:
                pause_s = min(pause_s, (due_ms - now_ms) / 1000)
        if not self._is_freed:
            await self._store.wait_for_events(after=commit, timeout_s=pause_s)

    def _start(self, lane: int, now_ms: int, group: asyncio.TaskGroup) -> None:
        """Begin with as many of a lane's events as there is room for."""
        keys = self._keys_by_lane.get(lane, set())
        room = _HELD_BYTE_COUNT_MAX - self._held_byte_count
        if len(keys) >= self._lane_width() or room <= 0:
            return
        try:
            events = self._store.events.take(
                lane,
                now_ms=now_ms,
                beyond_ms=now_ms + self._delay_ms_max,
                count_max=self._lane_width() - len(keys),
                byte_count_max=room,
                is_wanted=lambda key: key not in keys,
            )
        except CatalogDamaged as damage:
            _LOG.error("%s: the events behind it wait until it is mended", damage)
            return
        for event in events:
            self._keys_by_lane.setdefault(lane, set()).add(event.key)
            self._held_byte_count += len(event.content)
            group.create_task(self._see_to(lane, event))

    async def _see_to(self, lane: int, stored: StoredEvent) -> None:
        """Try one event, and let it go once what follows is written."""
        try:
            await self._try(stored, QueuedEvent.from_content(stored.content))
        except StreamdError as error:
            # It lies where it lay, and is taken again.
            _LOG.error("an event could not be seen to and waits: %s", error)
            await self._store.rest(timeout_s=1.0)
        finally:
            keys = self._keys_by_lane[lane]
            keys.discard(stored.key)
            if not keys:
                del self._keys_by_lane[lane]
            self._held_byte_count -= len(stored.content)
            self._is_freed = True
            self._store.wake_for_events()
            if not self._keys_by_lane:
                self._drained.set()

    async def _try(self, stored: StoredEvent, event: QueuedEvent) -> None:
        now_ms = self._event_clock.now_ms()
        try:
            targets = self._settings.targets_of(event.arn)
        except FunctionMissing:
            await self._drop(stored, event)
            return
        rules = self._rules(targets.settings)
        if is_too_old(first_ms=event.first_ms, now_ms=now_ms, rules=rules):
            await self._end(stored, event, targets, condition="EventAgeExceeded")
            return
        if targets.stops_loops and is_too_deep(event.depth):
            _LOG.warning("%s is not run for event %s: it runs in a recursive loop", event.arn, event.request_id)
            await self._end(stored, event, targets, condition="RecursiveInvocation")
            return
        if event.attempt_count == 0 and event.pause_count == 0:
            self._counts.event_taken(event.arn, age_s=max(0, now_ms - event.first_ms) / 1000)
        ending, finished = await self._run(event, targets)
        if ending in (Ending.SUCCESS, Ending.FUNCTION_ERROR):
            event = _attempted(event, finished)
        step = next_step(
            ending,
            attempt_count=event.attempt_count,
            pause_count=event.pause_count,
            first_ms=event.first_ms,
            now_ms=self._event_clock.now_ms(),
            rules=rules,
            # How long to wait is no secret.
            chance=random.random(),  # noqa: S311
        )
        match step:
            case Retry(at_ms=at_ms, is_attempt=is_attempt):
                again = replace(event, pause_count=0 if is_attempt else event.pause_count + 1)
                await self._store.events.move(stored, again.to_content(), due_ms=at_ms)
            case Over(condition=None):
                await self._drop(stored, event)
            case Over(condition=condition):
                assert condition is not None
                await self._end(stored, event, targets, condition=condition)

    async def _run(self, event: QueuedEvent, targets: EventTargets) -> tuple[Ending, Finished | None]:
        if targets.is_stopped:
            return Ending.STOPPED, None
        invocation = Invocation(
            request_id=event.request_id,
            arn=event.arn,
            payload=event.payload,
            trigger=Trigger.QUEUE,
            depth=event.depth,
        )
        try:
            finished = await self._invoker.invoke(invocation, may_wait=False)
        except Throttled:
            return Ending.THROTTLED, None
        except FunctionMissing:
            return Ending.MISSING, None
        except StreamdError as error:
            _LOG.warning("%s could not be run for an event, which waits: %s", event.arn, error)
            return Ending.SERVER_ERROR, None
        return (Ending.SUCCESS if finished.error is None else Ending.FUNCTION_ERROR), finished

    async def _end(self, stored: StoredEvent, event: QueuedEvent, targets: EventTargets, *, condition: str) -> None:
        """Deliver what is to be told, then let the event go."""
        is_good = condition == "Success"
        outcome = Outcome(
            request_id=event.request_id,
            arn=_qualified(event.arn),
            condition=condition,
            attempt_count=max(1, event.attempt_count),
            payload=event.payload,
            version=event.version,
            response=event.response,
            error=event.error,
            ended_ms=self._clock.now_ms(),
        )
        target = targets.settings.on_success if is_good else targets.settings.on_failure
        if target and not await self._deliver(target, _record_delivery(outcome, event.depth + 1)):
            self._counts.delivery_failed(event.arn)
        if not is_good:
            if targets.dead_letter and not await self._deliver(
                targets.dead_letter, _dead_letter(outcome, event.depth + 1)
            ):
                self._counts.dead_letter_failed(event.arn)
            self._counts.event_dropped(event.arn)
        await self._store.events.remove(stored)

    async def _deliver(self, target: str, delivery: Delivery) -> bool:
        try:
            await self._delivers.deliver(target, delivery)
        except DeliveryFailed as failure:
            _LOG.warning("the outcome of event %s was not delivered: %s", delivery.request_id, failure)
            return False
        return True

    async def _drop(self, stored: StoredEvent, event: QueuedEvent) -> None:
        _LOG.warning("event %s is dropped: %s is gone", event.request_id, event.arn)
        self._counts.event_dropped(event.arn)
        await self._store.events.remove(stored)

    def _rules(self, settings: EventSettings) -> Rules:
        retry_count_max = settings.retry_count_max
        return Rules(
            retry_count_max=_RETRY_COUNT_MAX if retry_count_max is None else retry_count_max,
            age_ms_max=1000 * (settings.age_s_max or _AGE_S_MAX),
            delays_ms=self._delays_ms,
        )


def _attempted(event: QueuedEvent, finished: Finished | None) -> QueuedEvent:
    assert finished is not None
    return replace(
        event,
        attempt_count=event.attempt_count + 1,
        pause_count=0,
        response=finished.payload,
        error=finished.error,
        version=finished.version,
    )


def _qualified(arn: str) -> str:
    return arn if arn.count(":") == 7 else f"{arn}:$LATEST"


def _record_delivery(outcome: Outcome, depth: int) -> Delivery:
    return Delivery(
        body=destination_record(outcome),
        key=_key(outcome),
        request_id=outcome.request_id,
        is_record=True,
        depth=min(depth, DEPTH_STORED_MAX),
    )


def _dead_letter(outcome: Outcome, depth: int) -> Delivery:
    return Delivery(
        body=outcome.payload,
        key=_key(outcome),
        request_id=outcome.request_id,
        attributes=dead_letter_attributes(outcome),
        depth=min(depth, DEPTH_STORED_MAX),
    )


def _key(outcome: Outcome) -> str:
    """Name an outcome where outcomes are kept by name: by function and time, as AWS names a mapping's."""
    name = outcome.arn.split(":")[6]
    stamp = f"{datetime.fromtimestamp(outcome.ended_ms / 1000, UTC):%Y-%m-%dT%H.%M.%S}"
    return f"aws/lambda/async/{name}/{stamp[:10].replace('-', '/')}/{stamp}-{outcome.request_id}"
