"""How much functions are used: counts by month (UTC), function, version and architecture.

Counting touches memory only. What was counted is added to the catalog (a document for each month and function) at most
once a second and at the end, so a crash loses at most the last second. All that is added up is whole numbers: the sums
are exact however they are put together. Months are kept for two years, deleted functions with them: they have cost.
"""

import asyncio
import logging
import math
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

import orjson

from streamd.core.prices import billed_ms
from streamd.engine.clock import Clock
from streamd.errors import StreamdError
from streamd.functions.running import Finished, Runnable, Trigger
from streamd.storage.store import Store

__all__ = ["Counted", "Usage", "VersionUse", "month_of"]

_LOG = logging.getLogger(__name__)
_PREFIX = "usage/"
_PAUSE_S = 1.0
_DAY_MS = 86_400_000
_CLOSING_ATTEMPT_COUNT = 3
_PAGE_COUNT = 500
_MONTH_COUNT_MAX = 24
# Of more versions in one month, the rest is counted as one.
_VERSION_COUNT_MAX = 64
_OTHERS = "_other"
_SCRATCH_MB_FREE = 512
_MAXIMA = frozenset({"memory_peak_mb", "memory_mb", "last_ms"})


@dataclass(slots=True, kw_only=True)
class Counted:
    """Sums over invocations, and three maxima. Billed times are in steps of 1 and of 100 ms, cold starts apart.

    ``init_billed_ms_1`` is what a cold start adds in steps of 1 ms. ``mb_ms`` are memory (MB) times billed
    milliseconds, ``scratch_mb_ms`` the same of /tmp beyond 512 MB.
    """

    request_count: int = 0
    error_count: int = 0
    throttle_count: int = 0
    cold_start_count: int = 0
    api_count: int = 0
    queue_count: int = 0
    mapping_count: int = 0
    duration_us: int = 0
    init_us: int = 0
    billed_ms_1: int = 0
    billed_ms_100: int = 0
    init_billed_ms_1: int = 0
    mb_ms_1: int = 0
    mb_ms_100: int = 0
    init_mb_ms_1: int = 0
    scratch_mb_ms_1: int = 0
    scratch_mb_ms_100: int = 0
    memory_peak_mb: int = 0
    memory_mb: int = 0
    last_ms: int = 0

    @classmethod
    def from_document(cls, document: Mapping[str, int]) -> "Counted":
        """Read what was kept; a count of another version of streamd that is not known here is passed over."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: count for name, count in document.items() if name in known})

    def add(self, other: "Counted") -> None:
        """Add what was counted elsewhere."""
        for name, count in asdict(other).items():
            mine: int = getattr(self, name)
            setattr(self, name, max(mine, count) if name in _MAXIMA else mine + count)

    def note(self, finished: Finished, runnable: Runnable, trigger: Trigger) -> None:
        """Count one invocation that ran."""
        duration_us = _us(finished.duration_ms)
        init_us = 0 if finished.init_ms is None else _us(finished.init_ms)
        fine = billed_ms(duration_us=duration_us, step_ms=1)
        coarse = billed_ms(duration_us=duration_us, step_ms=100)
        init = billed_ms(duration_us=duration_us + init_us, step_ms=1) - fine
        memory_mb, scratch_mb = finished.memory_mb, max(0, runnable.scratch_mb - _SCRATCH_MB_FREE)
        count_name = f"{trigger.value}_count"
        setattr(self, count_name, getattr(self, count_name) + 1)
        self.request_count += 1
        self.error_count += finished.error is not None
        self.cold_start_count += finished.init_ms is not None
        self.duration_us += duration_us
        self.init_us += init_us
        self.billed_ms_1 += fine
        self.billed_ms_100 += coarse
        self.init_billed_ms_1 += init
        self.mb_ms_1 += memory_mb * fine
        self.mb_ms_100 += memory_mb * coarse
        self.init_mb_ms_1 += memory_mb * init
        self.scratch_mb_ms_1 += scratch_mb * (fine + init)
        self.scratch_mb_ms_100 += scratch_mb * coarse
        self.memory_peak_mb = max(self.memory_peak_mb, finished.memory_peak_mb)
        self.memory_mb = max(self.memory_mb, memory_mb)
        self.last_ms = max(self.last_ms, finished.started_ms)


@dataclass(frozen=True, slots=True)
class VersionUse:
    """What was counted of one version on one architecture."""

    version: str
    architecture: str
    counted: Counted


_Sums = dict[tuple[str, str], Counted]


@dataclass(frozen=True, slots=True)
class _Pending:
    serial: str
    sums: _Sums


class Usage:
    """The counts of a store. One process counts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._fresh: dict[tuple[str, str], _Sums] = {}
        # Being written, or begun by a flush that was cancelled while the store went on with it. The serial in the
        # document tells which of them it holds: that one and those before it.
        self._in_hand: dict[tuple[str, str], list[_Pending]] = {}
        self._counted = asyncio.Event()
        # A report must not look while counts are neither here nor there yet.
        self._turn = asyncio.Lock()

    async def run(self) -> NoReturn:
        """Keep what was counted, and forget old months, until cancelled."""
        month = ""
        while True:
            await self._counted.wait()
            await self.flush()
            if month != (month := month_of(self._clock.now_ms())):
                await self._forget_before(month)
            await self._store.rest(timeout_s=_PAUSE_S)
            if self._store.is_ending:
                # Resting is no pause any more: what is counted from here on is kept at the end.
                await asyncio.Event().wait()

    async def close(self) -> None:
        """Keep what was counted."""
        for _ in range(_CLOSING_ATTEMPT_COUNT):
            await self.flush()
            if not self._fresh and not self._in_hand:
                return

    def count(self, finished: Finished, runnable: Runnable, trigger: Trigger) -> None:
        """Count an invocation that ran, in the month in which it began."""
        self._sum(month_of(finished.started_ms), runnable).note(finished, runnable, trigger)

    def count_throttle(self, runnable: Runnable) -> None:
        """Count an invocation that was refused for want of an environment."""
        now_ms = self._clock.now_ms()
        counted = self._sum(month_of(now_ms), runnable)
        counted.throttle_count += 1
        counted.last_ms = max(counted.last_ms, now_ms)

    async def flush(self) -> None:
        """Keep what was counted until now. What cannot be kept now stays counted for the next time."""
        async with self._turn:
            self._counted.clear()
            for month, name in {**self._fresh, **self._in_hand}:
                try:
                    await self._keep(month, name)
                except StreamdError as error:
                    _LOG.warning("the use of function %s is not kept yet: %s", name, error)
                    self._counted.set()

    async def report(self, month: str) -> dict[str, list[VersionUse]]:
        """Tell what was counted in a month (``2026-11``), by function and version, in order."""
        async with self._turn:
            found: dict[str, _Sums] = {}
            serials: dict[str, str] = {}
            async for name, serial, sums in self._kept(month):
                found[name], serials[name] = sums, serial
            for _, name in [key for key in {**self._in_hand, **self._fresh} if key[0] == month]:
                pending = _not_kept(self._in_hand.get((month, name), []), serials.get(name, ""))
                for sums in (*(each.sums for each in pending), self._fresh.get((month, name), {})):
                    _merge(found.setdefault(name, {}), sums)
        return {
            name: [VersionUse(version, architecture, counted) for (version, architecture), counted in sums.items()]
            for name, sums in sorted(found.items())
        }

    async def months(self) -> list[str]:
        """List the months of which something is kept or counted, oldest first."""
        found = {month for month, _ in [*self._fresh, *self._in_hand]}
        after = ""
        while keys := await self._store.scan(_PREFIX, after=after, limit=1):
            month = keys[0].partition("/")[0]
            found.add(month)
            # Behind everything of that month: no name begins with a tilde.
            after = f"{month}/~"
        return sorted(found)

    def _sum(self, month: str, runnable: Runnable) -> Counted:
        self._counted.set()
        sums = self._fresh.setdefault((month, runnable.name), {})
        return _place(sums, runnable.version, runnable.architecture)

    async def _keep(self, month: str, name: str) -> None:
        """Add fresh counts to those kept. Raises StreamdError; then they are added the next time."""
        key = f"{_PREFIX}{month}/{name}"
        document = await self._store.get(key)
        serial, sums = ("", {}) if document is None else _from_content(document.content)
        before = _not_kept(self._in_hand.pop((month, name), []), serial)
        taken = self._fresh.pop((month, name), {})
        if not taken and not before:
            return
        pending = _Pending(uuid.uuid4().hex, taken)
        self._in_hand[month, name] = [*before, pending]
        for each in (*before, pending):
            _merge(sums, each.sums)
        expected = None if document is None else document.version
        try:
            await self._store.compare_and_set(key, _to_content(pending.serial, sums), expected=expected)
        except StreamdError:
            # Nothing was written, so these are fresh again; what a cancelled flush began may still be.
            self._in_hand[month, name] = before
            _merge(self._fresh.setdefault((month, name), {}), taken)
            raise
        del self._in_hand[month, name]

    async def _kept(self, month: str) -> AsyncIterator[tuple[str, str, _Sums]]:
        prefix, after = f"{_PREFIX}{month}/", ""
        while names := await self._store.scan(prefix, after=after, limit=_PAGE_COUNT):
            for name in names:
                document = await self._store.get(prefix + name)
                if document is not None:
                    serial, sums = _from_content(document.content)
                    yield name, serial, sums
            after = names[-1]

    async def _forget_before(self, month: str) -> None:
        year, number = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 - _MONTH_COUNT_MAX, 12)
        oldest = f"{year:04d}-{number + 1:02d}"
        try:
            for old in [each for each in await self.months() if each < oldest]:
                await self._forget(f"{_PREFIX}{old}/")
        except StreamdError as error:
            _LOG.warning("old months of use are not forgotten yet: %s", error)

    async def _forget(self, prefix: str) -> None:
        while names := await self._store.scan(prefix, limit=_PAGE_COUNT):
            for name in names:
                version = await self._store.version(prefix + name)
                await self._store.compare_and_set(prefix + name, None, expected=version)


def month_of(time_ms: int) -> str:
    """Give the month (UTC) of a moment, ``2026-11``."""
    return _month_of_day(time_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * _DAY_MS / 1000, UTC):%Y-%m}"


def _us(duration_ms: float) -> int:
    # To the microsecond first: what is shown as 3.00 ms is billed as 3 ms, not as 4 for a last bit.
    return math.ceil(round(duration_ms * 1000, 3))


def _not_kept(pending: list[_Pending], serial: str) -> list[_Pending]:
    """Leave out what a document with this serial holds."""
    serials = [each.serial for each in pending]
    return pending[serials.index(serial) + 1 :] if serial in serials else pending


def _place(sums: _Sums, version: str, architecture: str) -> Counted:
    key = version, architecture
    if key not in sums and len(sums) >= _VERSION_COUNT_MAX:
        key = _OTHERS, architecture
    return sums.setdefault(key, Counted())


def _merge(sums: _Sums, others: _Sums) -> None:
    for (version, architecture), counted in others.items():
        _place(sums, version, architecture).add(counted)


def _to_content(serial: str, sums: _Sums) -> bytes:
    versions = [
        {"version": version, "architecture": architecture, **asdict(counted)}
        for (version, architecture), counted in sums.items()
    ]
    return orjson.dumps({"serial": serial, "versions": versions})


def _from_content(content: bytes) -> tuple[str, _Sums]:
    told: dict[str, Any] = orjson.loads(content)
    sums = {(each["version"], each["architecture"]): Counted.from_document(each) for each in told["versions"]}
    return told["serial"], sums
