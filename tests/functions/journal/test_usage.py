"""Usage by month: counted on a real store, kept over restarts and crashes, priced and reported."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.functions.calls import Call
from streamd.functions.faults import Fault
from streamd.functions.journal.usage import Counted, Usage, month_of
from streamd.functions.journal.usage_report import UsageReports, advised_mb
from streamd.functions.running import Trigger
from streamd.storage.store import Store
from tests.clocks import START_MS, ManualClock
from tests.functions.journal.finished import RUNNABLE, finished
from tests.functions.waiting import until
from tests.storage.stores import open_bench

__all__: list[str] = []

MONTH = "2025-06"
DAY_MS = 86_400_000


def _call(**query: str) -> Call:
    return Call(
        path={},
        query={name: [value] for name, value in query.items()},
        headers={},
        document={},
        body=b"",
        region="us-east-1",
    )


def _is_kept(store: Store, key: str) -> bool:
    with store._environment.read() as transaction:
        return store._catalog.get(transaction, key) is not None


async def _report(usage: Usage, **query: str) -> Any:
    return (await UsageReports(usage, ManualClock()).answer(_call(**query))).document


async def test_the_example_of_the_log_line_is_billed_as_the_log_line_says(tmp_path: Path) -> None:
    # Duration: 3.01 ms, Init Duration: 110.10 ms, Billed Duration: 114 ms; in 2015 it was 100 ms.
    async with open_bench(tmp_path) as bench:
        usage = Usage(bench.store, bench.clock)
        usage.count(finished(at_ms=START_MS, ms=3.01, init_ms=110.10), RUNNABLE, Trigger.API)
        now = await _report(usage, month=MONTH)
        then = await _report(usage, month=MONTH, price="aws-2015")

    assert (now["functions"][0]["billedMs"], then["functions"][0]["billedMs"]) == (114, 100)
    assert (now["functions"][0]["mbMs"], then["functions"][0]["mbMs"]) == (114 * 128, 100 * 128)
    assert now["functions"][0]["coldStarts"] == 1
    assert now["functions"][0]["memoryPeakMb"] == 36


async def test_what_was_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        usage = Usage(bench.store, bench.clock)
        usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
        usage.count(finished(at_ms=START_MS, error="Unhandled"), RUNNABLE, Trigger.QUEUE)
        await usage.close()
    async with open_bench(tmp_path) as bench:
        usage = Usage(bench.store, bench.clock)
        usage.count(finished(at_ms=START_MS), replace(RUNNABLE, version="1"), Trigger.MAPPING)
        usage.count_throttle(RUNNABLE)
        before = await usage.report(MONTH)
        await usage.flush()
        after = await usage.report(MONTH)

    assert before == after
    latest, first = after["f"]
    assert (latest.version, latest.counted.request_count, latest.counted.error_count) == ("$LATEST", 2, 1)
    assert (latest.counted.api_count, latest.counted.queue_count, latest.counted.throttle_count) == (1, 1, 1)
    assert (first.version, first.counted.request_count, first.counted.mapping_count) == ("1", 1, 1)


async def test_the_service_keeps_counts_while_it_runs(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, asyncio.TaskGroup() as group:
        usage = Usage(bench.store, bench.clock)
        task = group.create_task(usage.run())
        usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
        await until(lambda: not usage._fresh and not usage._in_hand)
        document = await bench.store.get(f"usage/{MONTH}/f")
        task.cancel()

    assert document is not None


async def test_a_flush_that_is_cancelled_counts_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench, asyncio.TaskGroup() as group:
        usage = Usage(bench.store, bench.clock)
        for _ in range(20):
            usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
            task = group.create_task(usage.flush())
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
        await usage.close()
        told = await usage.report(MONTH)
        again = await Usage(bench.store, bench.clock).report(MONTH)

    assert told["f"][0].counted.request_count == 21
    assert again == told


async def test_counting_goes_on_while_the_store_is_written_by_somebody_else(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        one, other = Usage(bench.store, bench.clock), Usage(bench.store, bench.clock)
        for usage in (one, other, one, other):
            usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
            await usage.flush()
        told = await one.report(MONTH)

    assert told["f"][0].counted.request_count == 4


async def test_an_invocation_belongs_to_the_month_in_which_it_began(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        usage = Usage(bench.store, bench.clock)
        usage.count(finished(at_ms=1_751_327_999_999), RUNNABLE, Trigger.API)
        usage.count(finished(at_ms=1_751_328_000_000), RUNNABLE, Trigger.API)
        await usage.flush()
        months = await usage.months()
        told = [(await usage.report(month))["f"][0].counted.request_count for month in months]

    assert (months, told) == (["2025-06", "2025-07"], [1, 1])


async def test_months_of_more_than_two_years_ago_are_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_bench(tmp_path, clock) as bench, asyncio.TaskGroup() as group:
        usage = Usage(bench.store, clock)
        for age in (0, 700, 800):
            usage.count(finished(at_ms=START_MS - age * DAY_MS), RUNNABLE, Trigger.API)
        await usage.flush()
        before = await usage.months()
        usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
        task = group.create_task(usage.run())
        await until(lambda: not _is_kept(bench.store, f"usage/{before[0]}/f"))
        task.cancel()
        months = await usage.months()

    assert before == ["2023-04", "2023-07", "2025-06"]
    assert months == ["2023-07", "2025-06"]


async def test_a_report_prices_each_function_and_all(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        usage = Usage(bench.store, bench.clock)
        big = replace(RUNNABLE, name="big", architecture="arm64", scratch_mb=1536)
        # 10,240 MB for 900 s, 60 times: 540,000 GB-s.
        for _ in range(60):
            usage.count(finished(at_ms=START_MS, ms=900_000, memory_mb=10_240, peak_mb=100), big, Trigger.API)
        usage.count(finished(at_ms=START_MS), RUNNABLE, Trigger.API)
        told = await _report(usage, month=MONTH)

    assert [each["function"] for each in told["functions"]] == ["big", "f"]
    assert told["functions"][0]["gbSeconds"] == 540_000
    assert told["functions"][0]["couldBeMb"] == 128
    # 140,000 GB-s are not free; /tmp is 1 GB beyond the free half for 54,000 s.
    assert abs(Decimal(told["functions"][0]["cost"]["compute"]) - Decimal("1.866676")) < Decimal("0.000001")
    assert told["functions"][0]["cost"]["scratch"] == "0.0016686000"
    assert told["total"]["requests"] == 61
    total = sum(Decimal(each["cost"]["total"]) for each in told["functions"])
    assert Decimal(told["total"]["cost"]["total"]) == total


@pytest.mark.parametrize("query", [{"month": "2025-13"}, {"month": "june"}, {"price": "free"}])
async def test_a_month_or_a_price_that_is_none_is_refused(tmp_path: Path, query: dict[str, str]) -> None:
    async with open_bench(tmp_path) as bench:
        with pytest.raises(Fault):
            await _report(Usage(bench.store, bench.clock), **query)


@pytest.mark.parametrize(
    ("count", "memory_mb", "peak_mb", "expected"),
    [(100, 1024, 36, 128), (100, 1024, 200, 256), (100, 256, 200, None), (5, 1024, 36, None), (100, 128, 36, None)],
)
def test_less_memory_is_advised_only_where_it_would_do(
    count: int, memory_mb: int, peak_mb: int, expected: int | None
) -> None:
    assert advised_mb(Counted(request_count=count, memory_mb=memory_mb, memory_peak_mb=peak_mb)) == expected


@given(durations=st.lists(st.tuples(st.floats(0, 900_000), st.none() | st.floats(0, 10_000)), max_size=20))
def test_sums_are_the_same_however_they_are_put_together(durations: list[tuple[float, float | None]]) -> None:
    whole, parts = Counted(), Counted()

    for ms, init_ms in durations:
        part = Counted()
        for counted in (whole, part):
            counted.note(finished(at_ms=START_MS, ms=ms, init_ms=init_ms), RUNNABLE, Trigger.API)
        parts.add(part)

    assert whole == parts
    assert whole.mb_ms_1 == 128 * whole.billed_ms_1
    assert 0 <= whole.billed_ms_100 - whole.billed_ms_1 <= 100 * len(durations)
    assert month_of(START_MS) == MONTH
