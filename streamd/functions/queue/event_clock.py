"""The time that events wait by and grow old by: it goes on by ticks, whatever the wall clock is set to.

It began as the time of the wall clock, so that what lies in a queue from before there was such a clock means the same.
Where it is, is kept beside the events: after a restart of the daemon it goes on by the same ticks, and after a restart
of the machine it is as far from the wall clock as it was before, and never further back than it was known to be.
"""

import asyncio
import logging
from typing import Any, NoReturn

import orjson

from streamd.engine.clock import Clock
from streamd.errors import CatalogConflict, StoreFull
from streamd.storage.store import Store

__all__ = ["EventClock"]

_LOG = logging.getLogger(__name__)
_KEY = "event-clock"
_LOOK_PAUSE_S = 10.0
# What time servers do by and by is not written down at each step.
_DRIFT_MS_MIN = 1000


class EventClock:
    """A clock for events; ``open`` it first. ``boot_id`` names this run of the machine, empty if nothing does."""

    def __init__(self, store: Store, clock: Clock, *, boot_id: str) -> None:
        self._store = store
        self._clock = clock
        self._boot_id = boot_id
        # How far it is ahead of the ticks.
        self._lead_ms = 0
        # How far the wall clock is ahead of it, as it was last kept; None: not since the machine was started.
        self._behind_ms: int | None = None

    def now_ms(self) -> int:
        """Give the time."""
        return self._clock.ticks_ms() + self._lead_ms

    def ticks_ms(self) -> int:
        """Give what it goes on by."""
        return self._clock.ticks_ms()

    async def open(self) -> None:
        """Go on from where it is kept to be. Raises CatalogDamaged."""
        document = await self._store.get(_KEY)
        told = None if document is None else orjson.loads(document.content)
        self._lead_ms = self._lead_after(told)
        if told is not None and self._is_of_this_boot(told):
            self._behind_ms = told["behind_ms"]
        await self._look()

    async def run(self) -> NoReturn:
        """Keep how far it is from the wall clock, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_PAUSE_S)

    async def _look(self) -> None:
        behind_ms = self._clock.now_ms() - self.now_ms()
        if self._behind_ms is None or abs(behind_ms - self._behind_ms) >= _DRIFT_MS_MIN:
            await self._keep(behind_ms)

    def _lead_after(self, told: dict[str, Any] | None) -> int:
        now_ms, ticks_ms = self._clock.now_ms(), self._clock.ticks_ms()
        if told is None:
            return now_ms - ticks_ms
        now_ms = told["lead_ms"] + ticks_ms if self._is_of_this_boot(told) else now_ms - told["behind_ms"]
        # Where ticks begin anew though the boot has the name of the one before, as in some sandboxes, this holds too.
        return int(max(now_ms, told["now_ms"])) - ticks_ms

    def _is_of_this_boot(self, told: dict[str, Any]) -> bool:
        return bool(self._boot_id) and told["boot_id"] == self._boot_id

    async def _keep(self, behind_ms: int) -> None:
        kept = {
            "boot_id": self._boot_id,
            "lead_ms": self._lead_ms,
            "behind_ms": behind_ms,
            "now_ms": self.now_ms(),
        }
        try:
            await self._store.compare_and_set(_KEY, orjson.dumps(kept), expected=await self._store.version(_KEY))
        except (CatalogConflict, StoreFull) as error:
            # The process before this one was about to end, or there is no room: it is kept at another look.
            _LOG.warning("the clock of the events is not kept: %s", error)
            return
        self._behind_ms = behind_ms
