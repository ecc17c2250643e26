"""Pools of environments: who runs where, what is refused, who waits, what ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.errors import SandboxFailed
from streamd.functions.environments.runtimes import Runtimes
from streamd.functions.running import Finished, Runnable, Throttled
from tests.functions.environments.plain import Bench, open_bench

# Each invocation waits for a file, so that the test says when it ends.
GATED = """
import os, time
def handler(event, context):
    print("in", flush=True)
    while "gate" in event and not os.path.exists(event["gate"]): time.sleep(0.005)
    return os.getpid()
"""


async def _in_hand(bench: Bench, count: int) -> None:
    while sum(text == "in" for text in bench.logs.texts()) < count:
        await bench.logs.next_line()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what ends a process tells no event of ours
            await asyncio.sleep(0)


def _all(bench: Bench, runnable: Runnable, count: int, event: object) -> list[asyncio.Task[Finished]]:
    return [asyncio.ensure_future(bench.run(runnable, event, may_wait=True)) for _ in range(count)]


async def test_ten_invocations_at_once_have_ten_environments(tmp_path: Path, runtimes: Runtimes) -> None:
    gate = tmp_path / "gate"
    async with open_bench(tmp_path, runtimes, limit=10) as bench:
        runnable = bench.python(GATED)
        running = _all(bench, runnable, 10, {"gate": str(gate)})
        await _in_hand(bench, 10)
        counts = bench.environments.counts()["f"]
        gate.touch()
        pids = {(await each).payload for each in running}

        assert len(pids) == 10
        assert (counts.busy, counts.idle, counts.cold_start_count) == (10, 0, 10)
        assert bench.environments.counts()["f"].idle == 10


async def test_past_the_limit_there_is_a_refusal_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    runnable = bench.python(GATED)
    running = _all(bench, runnable, 4, {"gate": str(gate)})
    await _in_hand(bench, 4)

    with pytest.raises(Throttled) as refused:
        await bench.run(bench.python(GATED, name="other"))
    gate.touch()
    await asyncio.gather(*running)

    assert refused.value.reason == "ConcurrentInvocationLimitExceeded"
    assert bench.environments.counts()["other"].throttle_count == 1


async def test_who_may_wait_is_served_in_order(tmp_path: Path, runtimes: Runtimes) -> None:
    gate = tmp_path / "gate"
    order: list[int] = []
    async with open_bench(tmp_path, runtimes, limit=1) as bench:
        runnable = bench.python(GATED)
        first = _all(bench, runnable, 1, {"gate": str(gate)})
        await _in_hand(bench, 1)

        async def wait(number: int) -> None:
            await bench.run(runnable, may_wait=True)
            order.append(number)

        waiting = [asyncio.ensure_future(wait(number)) for number in range(5)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        gate.touch()
        await asyncio.gather(*first, *waiting, return_exceptions=True)

        assert order == [0, 1, 3, 4]
        assert len(bench.sandbox.cells) == 1
        assert bench.environments.counts()["f"].busy == 0


async def test_a_reservation_is_a_limit_and_is_kept_free(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    reserved = bench.python(GATED, name="reserved", reserved=1)
    other = bench.python(GATED, name="other")
    bench.environments.reserve("reserved", 1)
    running = _all(bench, other, 3, {"gate": str(gate)})
    await _in_hand(bench, 3)

    with pytest.raises(Throttled) as account:
        await bench.run(other)
    running += _all(bench, reserved, 1, {"gate": str(gate)})
    await _in_hand(bench, 4)
    with pytest.raises(Throttled) as own:
        await bench.run(reserved)
    gate.touch()
    await asyncio.gather(*running)

    assert account.value.reason == "ConcurrentInvocationLimitExceeded"
    assert own.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"


async def test_a_reservation_of_nothing_stops_a_function(bench: Bench) -> None:
    runnable = bench.python(GATED, reserved=0)

    for may_wait in (False, True):
        with pytest.raises(Throttled) as refused:
            await bench.run(runnable, may_wait=may_wait)
        assert refused.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"

    assert await bench.answer(replace(runnable, reserved=None)) > 0


async def test_an_idle_environment_makes_room_for_another_function(tmp_path: Path, runtimes: Runtimes) -> None:
    async with open_bench(tmp_path, runtimes, limit=2) as bench:
        for name in ("a", "b", "c"):
            await bench.answer(bench.python(GATED, name=name))

        counts = bench.environments.counts()
        assert {name: count.idle for name, count in counts.items()} == {"a": 0, "b": 1, "c": 1}


async def test_the_environment_that_was_used_last_is_used_next(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    runnable = bench.python(GATED)
    running = _all(bench, runnable, 2, {"gate": str(gate)})
    await _in_hand(bench, 2)
    gate.touch()
    await asyncio.gather(*running)

    pids = {await bench.answer(runnable) for _ in range(5)}

    assert len(pids) == 1


async def test_taking_the_last_idle_one_starts_a_spare(tmp_path: Path, runtimes: Runtimes) -> None:
    gate = tmp_path / "gate"
    async with open_bench(tmp_path, runtimes, limit=2, has_spares=True) as bench:
        runnable = bench.python(GATED)
        await bench.run(runnable)
        assert len(bench.sandbox.cells) == 1
        running = _all(bench, runnable, 1, {"gate": str(gate)})
        await _until(lambda: bench.environments.counts()["f"].idle == 1)

        second = await bench.run(runnable)
        gate.touch()
        await asyncio.gather(*running)

        assert second.init_ms is None
        assert bench.environments.counts()["f"].cold_start_count == 1


async def test_a_spare_that_cannot_begin_is_not_tried_again_and_again(tmp_path: Path, runtimes: Runtimes) -> None:
    source = """
import os
if os.path.exists({place!r}): raise ValueError("only one")
open({place!r}, "w").close()
def handler(event, context): return os.getpid()
"""
    async with open_bench(tmp_path, runtimes, has_spares=True) as bench:
        runnable = bench.python(source.format(place=str(tmp_path / "one")))
        pids = {await bench.answer(runnable) for _ in range(20)}
        await _until(lambda: len(bench.alive()) == 1)
        pids |= {await bench.answer(runnable) for _ in range(20)}

        assert len(pids) == 1
        assert len(bench.sandbox.cells) == 2


async def test_an_environment_that_was_idle_for_long_ends(tmp_path: Path, runtimes: Runtimes) -> None:
    async with open_bench(tmp_path, runtimes, idle_s=0.05) as bench:
        await bench.answer(bench.python(GATED))
        assert len(bench.alive()) == 1

        await _until(lambda: not bench.alive())
        await _until(lambda: bench.environments.counts()["f"].idle == 0)


async def test_a_new_revision_retires_what_ran_the_old_one(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    old = bench.python(GATED)
    running = _all(bench, old, 2, {"gate": str(gate)})
    await _in_hand(bench, 2)
    await bench.run(old)
    new = replace(old, revision="new", code=bench.python("def handler(event, context): return 'new'").code)

    bench.environments.retire("f", frozenset({"new"}))
    await _until(lambda: len(bench.alive()) == 2)
    answer = await bench.answer(new)
    gate.touch()
    answers = await asyncio.gather(*running)
    await _until(lambda: len(bench.alive()) == 1)

    assert answer == "new"
    assert [each.error for each in answers] == [None, None]


async def test_environments_are_kept_warm_and_replaced(tmp_path: Path, runtimes: Runtimes) -> None:
    async with open_bench(tmp_path, runtimes, idle_s=0.05) as bench:
        runnable = bench.python(
            "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']", version="3"
        )
        arn = f"{runnable.arn}:3"
        bench.environments.keep_warm(runnable, 2)
        await _until(lambda: bench.environments.provisioned(arn) == 2)
        bench.sandbox.cells[0].child.kill()
        await _until(lambda: len(bench.sandbox.cells) == 3 and bench.environments.provisioned(arn) == 2)

        finished = await bench.run(runnable)

        assert finished.payload == b'"provisioned-concurrency"'
        assert finished.init_ms is None
        bench.environments.keep_warm(runnable, 0)
        await _until(lambda: not bench.alive())
        assert bench.environments.provisioned(arn) == 0


async def test_a_sandbox_that_fails_is_not_the_functions_fault(bench: Bench) -> None:
    runnable = bench.python(GATED)
    bench.sandbox.failure = SandboxFailed("no more processes")

    with pytest.raises(SandboxFailed, match="no more processes"):
        await bench.run(runnable)
    bench.sandbox.failure = None

    assert await bench.answer(runnable) > 0
    assert bench.environments.counts()["f"].busy == 0


async def test_a_runtime_that_nothing_runs_is_refused(bench: Bench) -> None:
    with pytest.raises(SandboxFailed, match="nothing runs java21 here"):
        await bench.run(bench.runnable({"a": ""}, runtime="java21", handler="a"))


async def test_a_closed_pool_takes_nothing_more(bench: Bench, tmp_path: Path) -> None:
    runnable = bench.python(GATED)
    running = _all(bench, runnable, 4, {"gate": str(tmp_path / "never")})
    await _in_hand(bench, 4)
    waiting = asyncio.ensure_future(bench.run(runnable, may_wait=True))
    await asyncio.sleep(0)

    await bench.environments.close(patience_s=0.0)

    outcomes = await asyncio.gather(*running, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SandboxFailed] * 4 + [Throttled]
    with pytest.raises((SandboxFailed, Throttled)):
        await bench.run(runnable)


async def test_many_short_invocations_beside_each_other_are_all_answered(bench: Bench) -> None:
    source = "def handler(event, context):\n    return event['n']\n"
    runnables = [bench.python(source, name=f"f{number}") for number in range(6)]

    async def one(number: int) -> bool:
        finished = await bench.run(runnables[number % 6], {"n": number}, may_wait=True)
        return finished.payload == str(number).encode()

    answers: list[Awaitable[bool]] = [one(number) for number in range(120)]

    assert all(await asyncio.gather(*answers))
    assert len(bench.alive()) <= 4 + 2


async def test_who_serves_may_be_cancelled_and_leaves_no_process(tmp_path: Path, runtimes: Runtimes) -> None:
    async with open_bench(tmp_path, runtimes) as bench:
        running = _all(bench, bench.python(GATED), 2, {"gate": str(tmp_path / "never")})
        await bench.run(bench.python(GATED, name="idle"))
        await _in_hand(bench, 3)

        bench.serving.cancel()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        await asyncio.wait([bench.serving])

        assert [type(outcome) for outcome in outcomes] == [SandboxFailed] * 2
        assert not bench.alive()
    assert not list((tmp_path / "scratch").iterdir())
