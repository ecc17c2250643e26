"""Slots beside a plain model: nobody has more than may be, and who waits is served as soon as that can be."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from streamd.functions.environments.slots import Slots
from streamd.functions.running import Throttled

NAMES = ("a", "b", "c")
LIMIT = 5

steps = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from(NAMES)),
        st.tuples(st.just("wait"), st.sampled_from(NAMES)),
        st.tuples(st.just("release"), st.sampled_from(NAMES)),
        st.tuples(st.just("leave"), st.sampled_from(NAMES)),
        st.tuples(st.just("reserve"), st.sampled_from(NAMES), st.sampled_from([None, 0, 1, 2])),
    ),
    max_size=60,
)


@dataclass
class Model:
    """Who has how many, and who waits."""

    busy: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    reserved: dict[str, int] = field(default_factory=dict)
    line: list[tuple[str, asyncio.Task[None]]] = field(default_factory=list)

    def admits(self, name: str) -> bool:
        if name in self.reserved:
            return self.busy[name] < self.reserved[name]
        open_busy = sum(count for each, count in self.busy.items() if each not in self.reserved)
        return open_busy < LIMIT - sum(self.reserved.values())

    def serve(self) -> list[tuple[str, asyncio.Task[None]]]:
        served = []
        for name, task in list(self.line):
            if self.admits(name):
                self.busy[name] += 1
                served.append((name, task))
                self.line.remove((name, task))
            elif self.reserved.get(name) == 0:
                self.line.remove((name, task))
        return served


@given(steps)
def test_slots_do_as_the_model_does(plan: list[tuple[str, ...]]) -> None:
    asyncio.run(_walk(plan))


async def _walk(plan: list[tuple[str, ...]]) -> None:
    slots, model = Slots(LIMIT), Model()
    async with asyncio.TaskGroup() as group:
        for what, name, *more in plan:
            served = await _step(slots, model, group, what, name, more[0] if more else None)
            await _settle()
            assert all(task.done() for _, task in served)
            assert not any(task.done() for _, task in model.line)
            assert {each: slots.busy(each) for each in NAMES} == model.busy
        slots.close()
        await _settle()
        assert all(task.done() for _, task in model.line)


async def _step(
    slots: Slots, model: Model, group: asyncio.TaskGroup, what: str, name: str, count: object
) -> list[tuple[str, asyncio.Task[None]]]:
    match what:
        case "claim":
            expected = model.admits(name)
            assert await _claimed(slots, name, may_wait=False) is expected
            model.busy[name] += expected
        case "wait":
            if model.admits(name):
                model.busy[name] += 1
                assert await _claimed(slots, name, may_wait=True)
            elif model.reserved.get(name) != 0:
                model.line.append((name, group.create_task(_wait(slots, name))))
        case "release" if model.busy[name]:
            slots.release(name)
            model.busy[name] -= 1
            return model.serve()
        case "leave" if waiters := [pair for pair in model.line if pair[0] == name]:
            waiters[0][1].cancel()
            model.line.remove(waiters[0])
        case "reserve":
            assert count is None or isinstance(count, int)
            slots.reserve(name, count)
            model.reserved.pop(name, None)
            if count is not None:
                model.reserved[name] = count
            return model.serve()
        case _:
            pass
    return []


async def _claimed(slots: Slots, name: str, *, may_wait: bool) -> bool:
    try:
        await slots.claim(name, may_wait=may_wait)
    except Throttled:
        return False
    return True


async def _wait(slots: Slots, name: str) -> None:
    await _claimed(slots, name, may_wait=True)


async def _settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
