"""Events tried until they are over: the real store and clock rules, a runner and destinations of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import orjson
import pytest

from streamd.core.function import EventSettings
from streamd.errors import DeliveryFailed, FunctionMissing, SandboxFailed
from streamd.functions.deliveries import Delivery
from streamd.functions.queue.dispatcher import Dispatcher, EventTargets
from streamd.functions.queue.event_queue import EventQueue
from streamd.functions.queue.events import lane_of
from streamd.functions.running import Finished, Invocation, Throttled
from streamd.storage.store import Store
from tests.clocks import ManualClock
from tests.functions.waiting import until
from tests.storage.stores import Bench, open_bench

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
OTHER = "arn:aws:lambda:us-east-1:000000000000:function:slow"
FAILURE = b'{"errorMessage":"boom","errorType":"Exception","stackTrace":[]}'


class Runner:
    """Runs what the test says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Invocation, int], bytes | Exception | None]) -> None:
        self.answer = answer
        self.invocations: list[Invocation] = []
        self.held = asyncio.Event()

    async def invoke(self, invocation: Invocation, *, may_wait: bool) -> Finished:
        assert not may_wait
        self.invocations.append(invocation)
        count = sum(each.request_id == invocation.request_id for each in self.invocations)
        answer = self.answer(invocation, count)
        if answer is None:
            await self.held.wait()
            answer = b"null"
        if isinstance(answer, Exception):
            raise answer
        return Finished(
            request_id=invocation.request_id,
            version="$LATEST",
            payload=answer,
            error="Unhandled" if answer == FAILURE else None,
            started_ms=0,
            duration_ms=1.0,
            billed_ms=1,
            init_ms=None,
            memory_mb=128,
            memory_peak_mb=10,
        )


class Outside:
    """Everything else a dispatcher is given: settings, destinations, counts."""

    def __init__(self) -> None:
        self.targets = EventTargets(settings=EventSettings(on_success="good", on_failure="bad"), dead_letter="dead")
        self.delivered: list[tuple[str, Delivery]] = []
        self.counted: list[str] = []
        self.news = asyncio.Event()
        self.fails = False
        self.is_missing = False

    def targets_of(self, arn: str) -> EventTargets:
        if self.is_missing:
            raise FunctionMissing(arn)
        return self.targets

    def check(self, target: str) -> None:
        raise AssertionError(target)

    async def deliver(self, target: str, delivery: Delivery) -> None:
        if self.fails:
            raise DeliveryFailed("no")
        self.delivered.append((target, delivery))
        self.news.set()

    def event_taken(self, arn: str, *, age_s: float) -> None:
        assert arn
        assert age_s >= 0
        self.note("taken")

    def event_dropped(self, arn: str) -> None:
        assert arn
        self.note("dropped")

    def dead_letter_failed(self, arn: str) -> None:
        assert arn
        self.note("dead letter failed")

    def delivery_failed(self, arn: str) -> None:
        assert arn
        self.note("delivery failed")

    def note(self, what: str) -> None:
        self.counted.append(what)
        self.news.set()


@asynccontextmanager
async def dispatching(
    store: Store, clock: ManualClock, runner: Runner, outside: Outside, *, width: int = 8
) -> AsyncIterator[EventQueue]:
    dispatcher = Dispatcher(
        store,
        clock,
        event_clock=clock,
        invoker=runner,
        settings=outside,
        delivers=outside,
        counts=outside,
        delays_ms=(60_000, 120_000),
        lane_width=lambda: width,
    )
    task = asyncio.create_task(dispatcher.run())
    try:
        yield EventQueue(store, clock)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def is_due_in(bench: Bench, pause_ms: int) -> bool:
    """Whether the one event of the lane waits for at least so long."""
    heads = bench.store.events.heads()
    return lane_of(ARN) in heads and heads[lane_of(ARN)] >= bench.clock.now_ms() + pause_ms


def has_run(runner: Runner, count: int) -> bool:
    return len(runner.invocations) == count


def is_empty(store: Store) -> bool:
    return store.events.size().event_count == 0


async def test_an_event_is_run_once_and_its_outcome_delivered(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner, outside = Runner(lambda *_: b'{"ok":true}'), Outside()
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            request_id = await queue.enqueue(ARN, b'{"id":1}')
            await until(lambda: is_empty(bench.store))

    assert [invocation.payload for invocation in runner.invocations] == [b'{"id":1}']
    [(target, delivery)] = outside.delivered
    assert target == "good"
    assert orjson.loads(delivery.body) == {
        "version": "1.0",
        "timestamp": orjson.loads(delivery.body)["timestamp"],
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{ARN}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"id": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"ok": True},
    }


async def test_a_failing_event_is_tried_three_times_with_one_request_id(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner, outside = Runner(lambda *_: FAILURE), Outside()
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            request_id = await queue.enqueue(ARN, b'{"id":1}')
            for pause_ms in (60_000, 120_000):
                await until(partial(is_due_in, bench, pause_ms))
                bench.clock.advance(pause_ms)
                # What time does in life.
                bench.store.wake_for_events()
            await until(lambda: any(target == "dead" for target, _ in outside.delivered))

    assert [invocation.request_id for invocation in runner.invocations] == [request_id] * 3
    record = next(orjson.loads(delivery.body) for target, delivery in outside.delivered if target == "bad")
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    dead = next(delivery for target, delivery in outside.delivered if target == "dead")
    assert dead.body == b'{"id":1}'
    assert dead.attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "boom"}


@pytest.mark.parametrize("refusal", [Throttled("no"), SandboxFailed("no")])
async def test_what_is_not_the_functions_fault_is_no_attempt(tmp_path: Path, refusal: Exception) -> None:
    async with open_bench(tmp_path) as bench:
        runner = Runner(lambda _, count: refusal if count <= 3 else b"1")
        outside = Outside()
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            await queue.enqueue(ARN, b"{}")
            for count in (1, 2, 3):
                await until(partial(has_run, runner, count))
                await until(partial(is_due_in, bench, 1))
                bench.clock.advance(300_000)
                bench.store.wake_for_events()
            await until(lambda: bool(outside.delivered))

    record = orjson.loads(outside.delivered[0][1].body)
    assert record["requestContext"]["approximateInvokeCount"] == 1


async def test_a_stopped_function_sends_its_events_on_without_a_try(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner, outside = Runner(lambda *_: b"1"), Outside()
        outside.targets = EventTargets(settings=EventSettings(on_failure="bad"), is_stopped=True)
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            await queue.enqueue(ARN, b"{}")
            await until(lambda: is_empty(bench.store))

    assert runner.invocations == []
    assert [target for target, _ in outside.delivered] == ["bad"]


async def test_events_of_a_function_that_is_gone_are_dropped(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner, outside = Runner(lambda *_: b"1"), Outside()
        outside.is_missing = True
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            await queue.enqueue(ARN, b"{}")
            await until(lambda: is_empty(bench.store))

    assert outside.counted == ["dropped"]


async def test_a_destination_that_fails_is_counted_and_the_event_let_go(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner, outside = Runner(lambda *_: b"1"), Outside()
        outside.fails = True
        async with dispatching(bench.store, bench.clock, runner, outside) as queue:
            await queue.enqueue(ARN, b"{}")
            await until(lambda: is_empty(bench.store))

    assert outside.counted == ["taken", "delivery failed"]


async def test_a_slow_function_holds_up_nobody_else(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        runner = Runner(lambda invocation, _: None if invocation.arn == OTHER else b"1")
        outside = Outside()
        async with dispatching(bench.store, bench.clock, runner, outside, width=3) as queue:
            for _ in range(20):
                await queue.enqueue(OTHER, b"{}")
            await queue.enqueue(ARN, b'"quick"')
            await until(lambda: any(target == "good" for target, _ in outside.delivered))
            slow = [invocation for invocation in runner.invocations if invocation.arn == OTHER]

            runner.held.set()
            await until(lambda: is_empty(bench.store))

    assert len(slow) == 3
    assert len(runner.invocations) == 21


async def test_what_waits_does_not_wait_for_a_clock_that_was_set_back_to_come_round(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        outside = Outside()
        async with dispatching(bench.store, bench.clock, Runner(lambda *_: None), outside) as queue:
            request_id = await queue.enqueue(ARN, b"{}")

    async with open_bench(tmp_path) as bench:
        bench.clock.jump(-3_600_000)
        runner = Runner(lambda *_: b"1")
        async with dispatching(bench.store, bench.clock, runner, outside):
            await until(lambda: is_empty(bench.store))

    assert [invocation.request_id for invocation in runner.invocations] == [request_id]


async def test_what_was_in_hand_when_the_server_ended_is_tried_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        outside = Outside()
        stuck = Runner(lambda *_: None)
        async with dispatching(bench.store, bench.clock, stuck, outside) as queue:
            request_id = await queue.enqueue(ARN, b"{}")
            await until(lambda: len(stuck.invocations) == 1)

    async with open_bench(tmp_path) as bench:
        runner = Runner(lambda *_: b"1")
        async with dispatching(bench.store, bench.clock, runner, outside):
            await until(lambda: is_empty(bench.store))

    assert [invocation.request_id for invocation in runner.invocations] == [request_id]
