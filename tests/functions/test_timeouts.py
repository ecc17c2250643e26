"""How long an invocation may run: its time is what passes, whatever the daemon's clock is set to meanwhile.

The function's own process does not see the moved clock: the sandbox hands it no variables but its own.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.durability.wall_clock import DAY_S, MOVES, WallClock
from tests.functions.witness import PATIENCE_S, Stage
from tests.workers.wire import until

__all__: list[str] = []

TIMEOUT_S = 60
# It runs until there is a stream of the name that it is given.
HELD = """
import threading
from urllib.error import HTTPError

def answer(event, texts):
    while not is_there(event["until"]):
        threading.Event().wait(0.02)
    return "released"

def is_there(stream):
    headers = {
        "X-Amz-Target": "Kinesis_20131202.DescribeStreamSummary",
        "Content-Type": "application/x-amz-json-1.1",
    }
    body = json.dumps({"StreamName": stream}).encode()
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + "/", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return bool(reply.read())
    except HTTPError as error:
        with error:
            return False
"""


@pytest.fixture
def stage(daemon_factory: DaemonFactory, clock: WallClock) -> Iterator[Stage]:
    made = Stage(daemon_factory(environment=clock.environment), "s")
    made.build()
    made.keep_for_a_year()
    yield made
    made.hang_up()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_an_invocation_runs_on_while_the_clock_jumps_until_its_time_has_passed(
    stage: Stage, clock: WallClock, threads: ThreadPoolExecutor
) -> None:
    function = stage.deploy("held", HELD)

    good = _begin(stage, function, threads, until_stream="go")
    for move in MOVES.values():
        move(clock)
        stage.kinesis.list_streams()
    clock.let_pass(TIMEOUT_S - 15)
    stage.kinesis.create_stream(StreamName="go", ShardCount=1)
    good_answer = good.result(PATIENCE_S)
    late = _begin(stage, function, threads, until_stream="never")
    clock.thaw()
    clock.jump(-DAY_S)
    clock.freeze()
    clock.let_pass(TIMEOUT_S + 1)
    until(lambda: _has_ended(stage, late), patience_s=PATIENCE_S)

    assert good_answer == (None, "released")
    error, document = late.result()
    assert error == "Unhandled"
    assert document["errorType"] == "Sandbox.Timedout"
    assert document["errorMessage"].endswith(f"Task timed out after {TIMEOUT_S}.00 seconds")


def _begin(
    stage: Stage, function: str, threads: ThreadPoolExecutor, *, until_stream: str
) -> "Future[tuple[str | None, Any]]":
    """Have the function invoked, and wait until it runs."""
    count = len(stage.invocations())
    payload = json.dumps({"Records": [], "until": until_stream}).encode()

    def invoke() -> tuple[str | None, Any]:
        answer = stage.functions.invoke(FunctionName=function, Payload=payload)
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    begun = threads.submit(invoke)
    until(lambda: len(stage.invocations()) == count + 1, patience_s=PATIENCE_S)
    return begun


def _has_ended(stage: Stage, answer: "Future[tuple[str | None, Any]]") -> bool:
    # Asking wakes the daemon, so that it meets the timers that are due.
    stage.kinesis.list_streams()
    return answer.done()
