"""Four workers, eight producers, shards that split and merge all the time: nothing is lost, doubled or reordered."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.workers.reshard_load import PRODUCER_COUNT, STREAM, Load, check_order, check_promises
from tests.workers.shard_walk import ShardWalk, uncovered
from tests.workers.wire import Wire, until

_RESHARD_COUNT = 120
_KILL_COUNT = 6
_RESHARDS_PER_KILL = 15
_WORKER_COUNT = 4

pytestmark = pytest.mark.timeout(180)


def _start(daemon_factory: DaemonFactory) -> Load:
    daemon = daemon_factory("--workers", str(_WORKER_COUNT))
    with Wire(daemon) as wire:
        wire.ask("CreateStream", StreamName=STREAM, ShardCount=4)
    return Load(daemon)


def test_every_record_is_read_once_and_in_order_while_shards_split_and_merge(daemon_factory: DaemonFactory) -> None:
    load = _start(daemon_factory)
    follower = ShardWalk(Wire(load.daemon), STREAM, Random(1))

    with ThreadPoolExecutor(PRODUCER_COUNT + 2) as pool:
        producers = [pool.submit(load.produce, producer) for producer in range(PRODUCER_COUNT)]
        watcher = pool.submit(load.watch)
        following = pool.submit(follower.follow, lambda: all(producer.done() for producer in producers))
        try:
            load.reshard(Random(7), count=_RESHARD_COUNT)
            until(lambda: len(load.acknowledged) >= 1000 or any(producer.done() for producer in producers))
        finally:
            load.is_over.set()
        for task in (*producers, watcher, following):
            task.result()
    late = ShardWalk(Wire(load.daemon), STREAM, Random(2))
    late.follow(lambda: True)

    assert not load.uncovered, "hash keys that lay in no open shard, or in two"
    assert not load.unknown
    assert load.resharded.keys() == {"split", "merge", "scale"}
    assert load.resharded.total() == _RESHARD_COUNT
    for walk in (follower, late):
        walk.wire.close()
        check_promises(load, walk)
        check_order(load, walk)


def _kill_one(daemon: Daemon, random: Random) -> None:
    victim = random.choice(daemon.worker_pids())
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(pids := daemon.worker_pids()) == _WORKER_COUNT and victim not in pids)


def test_reshards_that_a_killed_worker_left_half_done_are_finished_and_nothing_is_lost(
    daemon_factory: DaemonFactory,
) -> None:
    load = _start(daemon_factory)
    random = Random(11)

    with ThreadPoolExecutor(PRODUCER_COUNT + 2) as pool:
        producers = [pool.submit(load.produce, producer) for producer in range(PRODUCER_COUNT)]
        watcher = pool.submit(load.watch)
        try:
            for _ in range(_KILL_COUNT):
                resharding = pool.submit(load.reshard, random, count=_RESHARDS_PER_KILL)
                before = load.resharded.total()
                until(lambda: load.resharded.total() > before + 5 or resharding.done())  # noqa: B023 - called at once
                _kill_one(load.daemon, random)
                resharding.result()
        finally:
            load.is_over.set()
        for task in (*producers, watcher):
            task.result()
    with Wire(load.daemon) as wire:
        until(
            lambda: (
                wire.ask("DescribeStreamSummary", StreamName=STREAM)["StreamDescriptionSummary"]["StreamStatus"]
                == "ACTIVE"
            )
        )
        shards = wire.ask("ListShards", StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})["Shards"]
        walk = ShardWalk(wire, STREAM, random)
        walk.follow(lambda: True)

    assert not load.uncovered, "hash keys that lay in no open shard, or in two"
    assert uncovered(shards) is None
    check_promises(load, walk)
    check_order(load, walk)
