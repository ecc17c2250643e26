"""Four workers, eight producers, and shards that split and merge all the time: nothing is lost, doubled or reordered."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.workers.shard_walk import ShardWalk, uncovered
from tests.workers.wire import Wire, until

_STREAM = "resharded"
_PRODUCER_COUNT = 8
_KEY_COUNT = 5
_BATCH = 12
_RESHARD_COUNT = 120
_SCALING_EVERY = 15
_SHARD_COUNT_MAX = 16
_CALLS_PER_CONNECTION = 40


@dataclass(slots=True)
class _Load:
    """What the producers were promised, and whether they should go on."""

    daemon: Daemon
    is_over: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[tuple[bytes, str, str]] = field(default_factory=list)

    def produce(self, producer: int) -> None:
        """Put numbered records under keys that are this producer's own, until it is over."""
        random = Random(producer)
        numbers = [0] * _KEY_COUNT
        calls = 0
        with Wire(self.daemon) as wire:
            while not self.is_over.is_set():
                payloads = []
                for _ in range(random.choice((1, _BATCH))):
                    key = random.randrange(_KEY_COUNT)
                    numbers[key] += 1
                    payloads.append((f"{producer}-{key}", b"%d-%d:%d" % (producer, key, numbers[key])))
                places = wire.put(_STREAM, *payloads)
                self.acknowledged += [
                    (data, shard, number) for (_, data), (shard, number) in zip(payloads, places, strict=True)
                ]
                calls += 1
                if calls % _CALLS_PER_CONNECTION == 0:
                    wire.close()


def _open_shards(wire: Wire) -> list[dict[str, Any]]:
    answer = wire.ask("ListShards", StreamName=_STREAM, ShardFilter={"Type": "AT_LATEST"})
    shards: list[dict[str, Any]] = answer["Shards"]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def _reshard(daemon: Daemon, seed: int) -> Counter[str]:
    """Split, merge and scale; each time through whatever worker a new connection reaches."""
    random = Random(seed)
    done: Counter[str] = Counter()
    for turn in range(1, _RESHARD_COUNT + 1):
        with Wire(daemon) as wire:
            shards = _open_shards(wire)
            if turn % _SCALING_EVERY == 0:
                target = random.randrange((len(shards) + 1) // 2, min(2 * len(shards), _SHARD_COUNT_MAX) + 1)
                wire.ask("UpdateShardCount", StreamName=_STREAM, TargetShardCount=target, ScalingType="UNIFORM_SCALING")
                done["scale"] += 1
            elif len(shards) > 1 and random.random() < len(shards) / _SHARD_COUNT_MAX:
                low = random.randrange(len(shards) - 1)
                low_id, high_id = shards[low]["ShardId"], shards[low + 1]["ShardId"]
                wire.ask("MergeShards", StreamName=_STREAM, ShardToMerge=low_id, AdjacentShardToMerge=high_id)
                done["merge"] += 1
            else:
                shard = random.choice(shards)
                start, end = (int(shard["HashKeyRange"][f"{edge}HashKey"]) for edge in ("Starting", "Ending"))
                middle = str(random.randrange(start + 2, end))
                wire.ask("SplitShard", StreamName=_STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)
                done["split"] += 1
    return done


def _watch(daemon: Daemon, is_over: threading.Event) -> list[str]:
    """Look at the open shards through ever other workers: the hash keys that were in none or in two of them."""
    faults = []
    while not is_over.is_set():
        with Wire(daemon) as wire:
            fault = uncovered(_open_shards(wire))
        if fault is not None:
            faults.append(fault)
    return faults


@pytest.mark.timeout(180)
def test_every_record_is_read_once_and_in_order_while_shards_split_and_merge(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "4")
    load = _Load(daemon)
    with Wire(daemon) as wire:
        wire.ask("CreateStream", StreamName=_STREAM, ShardCount=4)
    follower = ShardWalk(Wire(daemon), _STREAM, Random(1))

    with ThreadPoolExecutor(_PRODUCER_COUNT + 3) as pool:
        producers = [pool.submit(load.produce, producer) for producer in range(_PRODUCER_COUNT)]
        watcher = pool.submit(_watch, daemon, load.is_over)
        following = pool.submit(follower.follow, lambda: all(producer.done() for producer in producers))
        try:
            done = pool.submit(_reshard, daemon, 7).result()
            until(lambda: len(load.acknowledged) >= 1000 or any(producer.done() for producer in producers))
        finally:
            load.is_over.set()
        for producer in producers:
            producer.result()
        following.result()
        faults = watcher.result()
    late = ShardWalk(Wire(daemon), _STREAM, Random(2))
    late.follow(lambda: True)

    assert not faults, "hash keys that lay in no open shard, or in two"
    assert min(done["split"], done["merge"], done["scale"]) >= 5
    for walk in (follower, late):
        walk.wire.close()
        _check_exactly_once(load, walk)
        _check_order(daemon, walk)


def _check_exactly_once(load: _Load, walk: ShardWalk) -> None:
    read = Counter((record.data, record.shard_id, record.sequence_number) for record in walk.records)
    acknowledged = set(load.acknowledged)
    assert len(acknowledged) == len(load.acknowledged)
    assert acknowledged - read.keys() == set(), "acknowledged and not read"
    assert read.keys() - acknowledged == set(), "read and never acknowledged"
    assert max(read.values()) == 1


def _check_order(daemon: Daemon, walk: ShardWalk) -> None:
    """Check the numbers in each shard against its bounds and its parents', and each key's own in reading order."""
    with Wire(daemon) as wire:
        shards = wire.ask("ListShards", StreamName=_STREAM)["Shards"]
    range_by_id = {shard["ShardId"]: shard["SequenceNumberRange"] for shard in shards}
    last_by_shard = {name: int(bounds["StartingSequenceNumber"]) for name, bounds in range_by_id.items()}
    last_by_key: dict[str, int] = {}
    for record in walk.records:
        number = int(record.sequence_number)
        assert number > last_by_shard[record.shard_id]
        assert number <= int(range_by_id[record.shard_id].get("EndingSequenceNumber", number))
        last_by_shard[record.shard_id] = number
        running = int(record.data.rpartition(b":")[2])
        assert running == last_by_key.get(record.key, 0) + 1, f"{record.key} out of order"
        last_by_key[record.key] = running
    for shard in shards:
        start = int(shard["SequenceNumberRange"]["StartingSequenceNumber"])
        for name in ("ParentShardId", "AdjacentParentShardId"):
            if name in shard:
                assert start > int(range_by_id[shard[name]]["EndingSequenceNumber"])
