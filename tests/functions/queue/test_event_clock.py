"""The clock that events wait by: over restarts of the daemon and of the machine, with the wall clock set meanwhile."""

from pathlib import Path

import pytest

from streamd.functions.queue.event_clock import EventClock
from tests.clocks import START_MS, ManualClock
from tests.storage.stores import open_bench

__all__: list[str] = []

DAY_MS = 86_400_000


async def opened(path: Path, clock: ManualClock, boot_id: str) -> int:
    """Tell the time by a clock that is opened anew."""
    async with open_bench(path, clock) as bench:
        event_clock = EventClock(bench.store, clock, boot_id=boot_id)
        await event_clock.open()
        return event_clock.now_ms()


async def test_it_begins_by_the_wall_clock_and_goes_on_by_ticks(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_bench(tmp_path, clock) as bench:
        event_clock = EventClock(bench.store, clock, boot_id="a")
        await event_clock.open()
        began_ms = event_clock.now_ms()
        clock.jump(-DAY_MS)
        clock.advance(5)

    assert (began_ms, event_clock.now_ms()) == (START_MS, START_MS + 5)


async def test_a_restart_of_the_daemon_leaves_it_where_it_is(tmp_path: Path) -> None:
    clock = ManualClock()
    await opened(tmp_path, clock, "a")
    clock.jump(DAY_MS)
    clock.advance(5)
    ahead_ms = await opened(tmp_path, clock, "a")
    clock.jump(-2 * DAY_MS)
    clock.advance(5)
    back_ms = await opened(tmp_path, clock, "a")

    assert (ahead_ms, back_ms) == (START_MS + 5, START_MS + 10)


async def test_after_a_restart_of_the_machine_it_is_as_far_from_the_wall_clock_as_before(tmp_path: Path) -> None:
    clock = ManualClock()
    await opened(tmp_path, clock, "a")
    clock.jump(DAY_MS)
    await opened(tmp_path, clock, "a")

    # The ticks of another boot begin anew; by the wall clock it took a minute.
    again = ManualClock(clock.now_ms() + 60_000)
    restarted_ms = await opened(tmp_path, again, "b")

    assert restarted_ms == START_MS + 60_000


@pytest.mark.parametrize("boot_id", ["a", "b"])
async def test_it_never_goes_back_with_a_machine_whose_clocks_did(tmp_path: Path, boot_id: str) -> None:
    clock = ManualClock()
    await opened(tmp_path, clock, "a")
    clock.advance(60_000)
    clock.jump(DAY_MS)
    # What is kept when the wall clock was set tells how far it had come.
    await opened(tmp_path, clock, "a")
    restarted_ms = await opened(tmp_path, ManualClock(0), boot_id)

    assert restarted_ms == START_MS + 60_000


async def test_where_boots_have_no_name_every_restart_is_one_of_the_machine(tmp_path: Path) -> None:
    clock = ManualClock()
    await opened(tmp_path, clock, "")
    clock.jump(DAY_MS)
    restarted_ms = await opened(tmp_path, clock, "")

    assert restarted_ms == START_MS + DAY_MS
