"""Mappings while the daemon's clock is set back an hour, forward a day, or stands still, and across a kill.

Records are handed over in order whatever the clock says. Batching windows and pauses go by the time that passes, and no
jump ends or lengthens them; how old a record is goes by the clock, which stamped it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, start_daemon
from tests.durability.preloads import has_compiler
from tests.durability.wall_clock import DAY_S, HOUR_S, MOVES, WallClock
from tests.functions.witness import PATIENCE_S, Stage
from tests.workers.wire import until

__all__: list[str] = []

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler here to make the clock")
FAILING = """
def answer(event, texts):
    raise ValueError("bad record")
"""


@pytest.fixture(scope="module")
def moved_clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def moved_daemon(tmp_path_factory: pytest.TempPathFactory, moved_clock: WallClock) -> Iterator[Daemon]:
    """Give a daemon whose clocks the tests of this module move."""
    running = start_daemon(tmp_path_factory.mktemp("moved") / "data", environment=moved_clock.environment)
    yield running
    running.stop()


@pytest.fixture
def stage(moved_daemon: Daemon, moved_clock: WallClock, stream_name: str) -> Iterator[Stage]:
    """Give a stage with its streams, which keep records for longer than the clock is ever set forward."""
    made = Stage(moved_daemon, stream_name)
    made.build()
    made.keep_for_a_year()
    yield made
    moved_clock.thaw()
    made.clear()


@pytest.mark.parametrize("move", MOVES)
def test_what_is_put_after_a_jump_is_handed_over_once_and_in_order(
    stage: Stage, moved_clock: WallClock, move: str
) -> None:
    mapping = stage.map(stage.deploy("f"), BatchSize=4)
    texts = _put(stage, "before", 10)
    stage.wait_until_seen(texts)

    MOVES[move](moved_clock)
    texts += _put(stage, "after", 10)
    seen = stage.wait_until_seen(texts)
    status = stage.wait_until_done(mapping)

    assert [row.text for row in seen] == texts
    assert status["shards"][0]["checkpoint"] == str(stage.shards()[0][-1].number)
    assert status["last_result"] == "OK"


def test_a_mapping_goes_on_after_kills_with_the_clock_set_meanwhile(
    daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock
) -> None:
    stage = Stage(daemon_factory(data=tmp_path / "data", environment=clock.environment), "s")
    stage.build()
    stage.keep_for_a_year()
    mapping = stage.map(stage.deploy("f"), BatchSize=4, MaximumBatchingWindowInSeconds=300)
    texts = _put(stage, "before", 6)

    def are_but_two_handled() -> bool:
        # The checkpoint is told once it is on disk.
        handled = len(texts) - 2
        if len(stage.seen()) != handled or _queued_count(stage, mapping) != 2:
            return False
        return bool(stage.status(mapping)["shards"][0]["checkpoint"] == str(stage.shards()[0][handled - 1].number))

    for name, move in MOVES.items():
        until(are_but_two_handled, patience_s=PATIENCE_S)
        stage.daemon.kill()
        move(clock)
        stage.meet(daemon_factory(data=tmp_path / "data", environment=clock.environment))
        texts += _put(stage, name, 8)
    until(are_but_two_handled, patience_s=PATIENCE_S)
    _let_pass(stage, clock, 301)
    seen = stage.wait_until_seen(texts)
    status = stage.wait_until_done(mapping)

    # Nothing was in hand at any kill, so nothing is repeated.
    assert [row.text for row in seen] == texts
    assert status["shards"][0]["checkpoint"] == str(stage.shards()[0][-1].number)


def test_a_batching_window_lasts_for_its_time_whatever_the_clock_is_set_to(
    stage: Stage, moved_clock: WallClock
) -> None:
    mapping = stage.map(stage.deploy("f"), MaximumBatchingWindowInSeconds=300)
    texts: list[str] = []

    def is_still_open() -> bool:
        """Have the shard looked at by a record that comes to it."""
        texts.extend(_put(stage, f"{len(texts)}-", 1))
        until(lambda: _queued_count(stage, mapping) == len(texts), patience_s=PATIENCE_S)
        return not stage.seen()

    assert is_still_open()
    moved_clock.jump(DAY_S)
    assert is_still_open()
    moved_clock.jump(-DAY_S - HOUR_S)
    assert is_still_open()
    moved_clock.freeze()
    _let_pass(stage, moved_clock, 250)
    assert is_still_open()
    _let_pass(stage, moved_clock, 55)
    stage.wait_until_seen(texts)

    assert [each.texts for each in stage.invocations()] == [texts]


def test_a_pause_between_tries_lasts_for_its_time_whatever_the_clock_is_set_to(
    stage: Stage, moved_clock: WallClock
) -> None:
    mapping = stage.map(stage.deploy("f", FAILING))
    _put(stage, "poison", 1)
    # Until the pauses are as long as they get: between 48 and 72 seconds.
    for count in range(1, 10):
        _wait_for_tries(stage, mapping, count)
        if count < 9:
            _let_pass(stage, moved_clock, 75)
    try_count = _try_count(stage, mapping)
    texts = ["poison0"]

    def left_ms() -> int:
        """Have the shard looked at by a record that comes to it, and tell how long the pause still lasts."""
        texts.extend(_put(stage, f"{len(texts)}-", 1))
        until(lambda: _queued_count(stage, mapping) == len(texts), patience_s=PATIENCE_S)
        [lane] = stage.status(mapping)["shards"][0]["lanes"]
        return int(lane["next_try_ms"] - moved_clock.now_ms())

    lefts_ms = []
    for jump_s in (DAY_S, -DAY_S - HOUR_S):
        moved_clock.jump(jump_s)
        lefts_ms.append(left_ms())
    _let_pass(stage, moved_clock, 20)
    moved_clock.freeze()
    lefts_ms.append(left_ms())
    _let_pass(stage, moved_clock, 55)
    _wait_for_tries(stage, mapping, try_count + 1)

    assert 0 < lefts_ms[2] < lefts_ms[1] <= 72_000
    assert 0 < lefts_ms[0] <= 72_000


def test_a_record_is_given_up_when_it_is_too_old_by_the_clock(stage: Stage, moved_clock: WallClock) -> None:
    failed = f"{stage.stream}-failed"
    stage.create_stream(failed)
    mapping = stage.map(
        stage.deploy("f", FAILING),
        MaximumRecordAgeInSeconds=600,
        DestinationConfig={"OnFailure": {"Destination": stage.arn_of(failed)}},
    )

    _put(stage, "first", 1)
    _wait_for_tries(stage, mapping, 1)
    moved_clock.jump(HOUR_S)
    until(lambda: len(_given_up(stage, failed)) == 1, patience_s=PATIENCE_S)
    _put(stage, "second", 1)
    until(lambda: stage.seen()[-1].text == "second0", patience_s=PATIENCE_S)
    moved_clock.jump(-HOUR_S)
    # It came an hour in the future: it is tried on, rather than given up early.
    for _ in range(3):
        try_count = _try_count(stage, mapping)
        _let_pass(stage, moved_clock, 75)
        _wait_for_tries(stage, mapping, try_count + 1)
    assert len(_given_up(stage, failed)) == 1
    moved_clock.jump(HOUR_S)
    _let_pass(stage, moved_clock, 600)
    until(lambda: len(_given_up(stage, failed)) == 2, patience_s=PATIENCE_S)

    assert {document["requestContext"]["condition"] for document in _given_up(stage, failed)} == {"RecordAgeExceeded"}


def _let_pass(stage: Stage, clock: WallClock, duration_s: float) -> None:
    """Let time pass; the connections that idled so long are closed by us before the daemon does it."""
    stage.hang_up()
    clock.let_pass(duration_s)


def _given_up(stage: Stage, stream: str) -> list[dict[str, Any]]:
    return [json.loads(row.text) for row in stage.shards(stream)[0]]


def _put(stage: Stage, prefix: str, count: int) -> list[str]:
    return stage.put(*[("key", f"{prefix}{number}") for number in range(count)])


def _queued_count(stage: Stage, mapping: str) -> int:
    return sum(lane["queued"] for shard in stage.status(mapping)["shards"] for lane in shard["lanes"])


def _try_count(stage: Stage, mapping: str) -> int:
    return int(stage.status(mapping)["counters"]["failed_invoke"])


def _wait_for_tries(stage: Stage, mapping: str, count: int) -> None:
    until(lambda: _try_count(stage, mapping) >= count, patience_s=PATIENCE_S)
