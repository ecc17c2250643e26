"""Asynchronous invocations while the clock is set back an hour, forward a day, or stands still, and over kills.

An event waits between its tries, and grows old, by the time that passes: no jump of the clock ends it, has it tried
more often, or lets it wait for longer.
"""

import json
from pathlib import Path

from tests.conftest import DaemonFactory
from tests.durability.wall_clock import DAY_S, HOUR_S, MOVES, WallClock
from tests.functions.witness import PATIENCE_S, Stage
from tests.workers.wire import count_of, until

__all__: list[str] = []
FAILING = """
def answer(event, texts):
    if event["text"].startswith("bad"):
        raise ValueError("bad event")
"""


class Events:
    """Events for one function, whose outcomes go to a stream; each event is a text."""

    def __init__(self, stage: Stage, clock: WallClock) -> None:
        self.stage = stage
        self.clock = clock
        stage.build()
        stage.keep_for_a_year()
        self.function = stage.deploy("f", FAILING)

    def settle_outcomes(self, **limits: int) -> None:
        """Have outcomes told to the stage's stream."""
        destination = {"Destination": self.stage.arn}
        self.stage.functions.put_function_event_invoke_config(
            FunctionName=self.function, DestinationConfig={"OnSuccess": destination, "OnFailure": destination}, **limits
        )

    def send(self, text: str) -> None:
        """Have the function invoked."""
        payload = json.dumps({"Records": [], "text": text}).encode()
        answer = self.stage.functions.invoke(FunctionName=self.function, InvocationType="Event", Payload=payload)
        assert answer["StatusCode"] == 202

    def look(self, text: str) -> None:
        """Have an event of its own run, so that by then the daemon has looked at all that wait."""
        self.send(text)
        until(lambda: text in self.outcomes(), patience_s=PATIENCE_S)

    def tries(self) -> list[str]:
        """Tell which events were tried, in order."""
        return [each.told["text"] for each in self.stage.invocations()]

    def outcomes(self) -> dict[str, tuple[str, int]]:
        """Tell how events ended, and how many tries they had."""
        documents = [json.loads(row.text) for row in self.stage.shards()[0]]
        return {
            each["requestPayload"]["text"]: (
                each["requestContext"]["condition"],
                each["requestContext"]["approximateInvokeCount"],
            )
            for each in documents
        }

    def wait_for_failures(self, count: int) -> None:
        """Wait until so many tries have failed since the daemon's start: their pauses have begun then."""
        until(lambda: self._failure_count() == count, patience_s=PATIENCE_S)

    def let_pass(self, duration_s: float) -> None:
        """Let time pass; the connections that idled so long are closed by us before the daemon does it."""
        self.stage.hang_up()
        self.clock.let_pass(duration_s)

    def _failure_count(self) -> float:
        return count_of(self.stage.daemon, "streamd_function_errors_total", function=self.function)


def test_an_event_has_its_three_tries_and_pauses_whatever_the_clock_is_set_to(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    events = Events(Stage(daemon_factory(environment=clock.environment), "s"), clock)
    events.settle_outcomes()

    events.send("bad")
    events.wait_for_failures(1)
    for name, move in MOVES.items():
        move(clock)
        events.look(f"first-{name}")
    events.let_pass(61)
    events.wait_for_failures(2)
    clock.thaw()
    for name, move in MOVES.items():
        move(clock)
        events.look(f"second-{name}")
    events.let_pass(100)
    events.look("before the third")
    events.let_pass(21)
    until(lambda: "bad" in events.outcomes(), patience_s=PATIENCE_S)

    first, second = ([f"{nth}-{name}" for name in MOVES] for nth in ("first", "second"))
    assert events.tries() == ["bad", *first, "bad", *second, "before the third", "bad"]
    assert events.outcomes()["bad"] == ("RetriesExhausted", 3)


def test_an_event_is_given_up_at_its_age_whatever_the_clock_is_set_to(
    daemon_factory: DaemonFactory, clock: WallClock
) -> None:
    events = Events(Stage(daemon_factory(environment=clock.environment), "s"), clock)
    events.settle_outcomes(MaximumEventAgeInSeconds=100)

    events.send("bad")
    events.wait_for_failures(1)
    clock.jump(DAY_S)
    events.look("a day ahead")
    events.let_pass(61)
    events.wait_for_failures(2)
    clock.jump(-DAY_S - HOUR_S)
    events.look("an hour back")
    clock.freeze()
    events.let_pass(40)
    until(lambda: "bad" in events.outcomes(), patience_s=PATIENCE_S)

    assert events.tries() == ["bad", "a day ahead", "bad", "an hour back"]
    assert events.outcomes()["bad"] == ("EventAgeExceeded", 2)


def test_an_event_waits_on_over_kills_with_the_clock_set_meanwhile(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock
) -> None:
    events = Events(Stage(daemon_factory(data=tmp_path / "data", environment=clock.environment), "s"), clock)
    events.settle_outcomes()

    def restart(name: str) -> None:
        # By then what was decided of the event before is on disk.
        events.look(f"before {name}")
        events.stage.daemon.kill()
        MOVES[name](clock)
        events.stage.meet(daemon_factory(data=tmp_path / "data", environment=clock.environment))
        events.look(f"after {name}")

    events.send("bad")
    events.wait_for_failures(1)
    restart("back")
    events.let_pass(61)
    events.wait_for_failures(1)
    restart("forward")
    restart("frozen")
    events.let_pass(121)
    until(lambda: "bad" in events.outcomes(), patience_s=PATIENCE_S)

    first, second, third = ([f"before {name}", f"after {name}"] for name in MOVES)
    # One that was done with may be killed before that is on disk, and is done once more.
    tries: list[str] = []
    for text in events.tries():
        if text == "bad" or text not in tries:
            tries.append(text)
    assert tries == ["bad", *first, "bad", *second, *third, "bad"]
    assert events.outcomes()["bad"] == ("RetriesExhausted", 3)
