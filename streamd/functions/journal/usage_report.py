"""A month's use as a document: what each function did, what that would have cost on AWS, and how much memory it needs.

The advice says how little memory a function could be given, by the most that it was seen to hold in that month and a
quarter above it. It is a sight of the past and no promise. None is given for what ran less often than `_RUN_COUNT_MIN`
times, nor where it would change nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from streamd.core.prices import PRICES_BY_NAME, Cost, Prices, Use, bill
from streamd.engine.clock import Clock
from streamd.functions.calls import Answer, Call, Route
from streamd.functions.faults import invalid
from streamd.functions.journal.usage import Counted, Usage, VersionUse, month_of

__all__ = ["UsageReports", "advised_mb"]

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_PRICE_DEFAULT = "aws-2026"
_MB_MS_PER_GB_S = 1024 * 1000
_MEMORY_MB_MIN = 128
_MEMORY_MB_STEP = 64
_RUN_COUNT_MIN = 20


class UsageReports:
    """Answers what functions were used and would have cost."""

    def __init__(self, usage: Usage, clock: Clock) -> None:
        self._usage = usage
        self._clock = clock

    def routes(self) -> list[Route]:
        """Give what is asked where."""
        return [Route("GetUsage", "GET", "/_streamd/usage", self.answer)]

    async def answer(self, call: Call) -> Answer:
        """Report a month, this one unless another is named, at the prices that are named. Raises Fault."""
        month = call.first("month") or month_of(self._clock.now_ms())
        if not _MONTH.fullmatch(month):
            raise invalid("month must be like 2026-11.")
        prices = PRICES_BY_NAME.get(call.first("price") or _PRICE_DEFAULT)
        if prices is None:
            raise invalid(f"price must be one of {', '.join(sorted(PRICES_BY_NAME))}.")
        document = _document(await self._usage.report(month), prices)
        return Answer(document={"month": month, "months": await self._usage.months(), **document})


def advised_mb(counted: Counted) -> int | None:
    """Say how much memory (MB) would do, None where there is nothing to say."""
    if counted.request_count < _RUN_COUNT_MIN or not counted.memory_peak_mb:
        return None
    wanted = -(-counted.memory_peak_mb * 5 // 4)
    stepped = max(_MEMORY_MB_MIN, -(-wanted // _MEMORY_MB_STEP) * _MEMORY_MB_STEP)
    return stepped if stepped < counted.memory_mb else None


def _document(uses: Mapping[str, Sequence[VersionUse]], prices: Prices) -> dict[str, Any]:
    told = bill([_use(name, each, prices) for name, versions in uses.items() for each in versions], prices)
    functions, whole = [], Counted()
    for name, versions in uses.items():
        sums = Counted()
        for each in versions:
            sums.add(each.counted)
        whole.add(sums)
        functions.append(
            {
                "function": name,
                **_counts(sums, prices),
                "memoryMb": sums.memory_mb,
                "memoryPeakMb": sums.memory_peak_mb,
                "couldBeMb": advised_mb(sums),
                "cost": _cost(told.cost_by_function[name]),
                "versions": [
                    {
                        "version": each.version,
                        "architecture": each.architecture,
                        **_counts(each.counted, prices),
                        "memoryPeakMb": each.counted.memory_peak_mb,
                    }
                    for each in versions
                ],
            }
        )
    return {
        "price": prices.name,
        "currency": "USD",
        "stepMs": prices.step_ms,
        "functions": functions,
        "total": {**_counts(whole, prices), "cost": _cost(told.total)},
    }


def _use(name: str, use: VersionUse, prices: Prices) -> Use:
    counted = use.counted
    _, mb_ms = _billed(counted, prices)
    is_fine = prices.step_ms == 1
    return Use(
        function=name,
        architecture=use.architecture,
        request_count=counted.request_count,
        mb_ms=mb_ms,
        scratch_mb_ms=counted.scratch_mb_ms_1 if is_fine else counted.scratch_mb_ms_100,
    )


def _billed(counted: Counted, prices: Prices) -> tuple[int, int]:
    """Give billed milliseconds, and memory (MB) times them, in the steps of a price list."""
    if prices.step_ms == 1:
        init_ms, init_mb_ms = counted.init_billed_ms_1, counted.init_mb_ms_1
        is_billed = prices.bills_init
        return counted.billed_ms_1 + init_ms * is_billed, counted.mb_ms_1 + init_mb_ms * is_billed
    return counted.billed_ms_100, counted.mb_ms_100


def _counts(counted: Counted, prices: Prices) -> dict[str, Any]:
    billed_ms, mb_ms = _billed(counted, prices)
    return {
        "requests": counted.request_count,
        "errors": counted.error_count,
        "throttles": counted.throttle_count,
        "coldStarts": counted.cold_start_count,
        "triggers": {"api": counted.api_count, "queue": counted.queue_count, "mapping": counted.mapping_count},
        "durationMs": counted.duration_us / 1000,
        "initMs": counted.init_us / 1000,
        "billedMs": billed_ms,
        "mbMs": mb_ms,
        "gbSeconds": mb_ms / _MB_MS_PER_GB_S,
    }


def _cost(cost: Cost) -> dict[str, str]:
    """Write dollars as decimal text: a JSON number would be read as a binary fraction."""
    return {
        "requests": f"{cost.requests:.10f}",
        "compute": f"{cost.compute:.10f}",
        "scratch": f"{cost.scratch:.10f}",
        "total": f"{cost.total:.10f}",
    }
