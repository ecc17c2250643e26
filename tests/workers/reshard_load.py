"""Producers, a restless resharder and a watcher, which together do to one stream what many users do to many."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from random import Random
from typing import Any

from tests.daemons import Daemon
from tests.workers.shard_walk import ShardWalk, uncovered
from tests.workers.wire import Answered, Wire

__all__ = ["PRODUCER_COUNT", "STREAM", "Load", "check_order", "check_promises", "next_reshard", "open_shards"]

STREAM = "resharded"
PRODUCER_COUNT = 8
_KEY_COUNT = 5
_BATCH = 12
_SCALING_EVERY = 15
_SHARD_COUNT_MAX = 16
_CALLS_PER_CONNECTION = 40
_LOST = (OSError, HTTPException)
# A reshard is being finished, or the chosen shard was resharded by a call whose answer was lost.
_OVERTAKEN = {"ResourceInUseException", "InvalidArgumentException"}


@dataclass(slots=True)
class Load:
    """What the producers were promised, what they were not told about, and whether they should go on."""

    daemon: Daemon
    is_over: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[tuple[bytes, str, str]] = field(default_factory=list)
    unknown: set[bytes] = field(default_factory=set)
    uncovered: list[str] = field(default_factory=list)
    resharded: Counter[str] = field(default_factory=Counter)

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
                with self._lost_calls(wire, payloads):
                    places = wire.put(STREAM, *payloads)
                    self.acknowledged += [
                        (data, shard, number) for (_, data), (shard, number) in zip(payloads, places, strict=True)
                    ]
                calls += 1
                if calls % _CALLS_PER_CONNECTION == 0:
                    wire.close()

    def reshard(self, random: Random, *, count: int) -> None:
        """Split, merge and scale; each time through whatever worker a new connection reaches."""
        for turn in range(1, count + 1):
            with Wire(self.daemon) as wire, self._lost_calls(wire, []):
                shards = open_shards(wire)
                kind, operation, members = next_reshard(random, shards, is_scaling=turn % _SCALING_EVERY == 0)
                wire.ask(operation, StreamName=STREAM, **members)
                self.resharded[kind] += 1

    def watch(self) -> None:
        """Look at the open shards through ever other workers, and note the hash keys that lay in none or in two."""
        while not self.is_over.is_set():
            with Wire(self.daemon) as wire, self._lost_calls(wire, []):
                fault = uncovered(open_shards(wire))
                if fault is not None:
                    self.uncovered.append(fault)

    @contextmanager
    def _lost_calls(self, wire: Wire, payloads: list[tuple[str, bytes]]) -> Iterator[None]:
        """Note what was in a call whose answer never came; the next one goes over another connection."""
        try:
            yield
        except _LOST:
            self.unknown.update(data for _, data in payloads)
            self.resharded["lost"] += 1
            wire.close()
        except Answered as refusal:
            if payloads or refusal.code not in _OVERTAKEN:
                raise
            self.resharded["overtaken"] += 1


def check_promises(load: Load, walk: ShardWalk) -> None:
    """Check that what was acknowledged was read once, where it was promised, and nothing that was not sent."""
    read = Counter((record.data, record.shard_id, record.sequence_number) for record in walk.records)
    acknowledged = set(load.acknowledged)
    assert len(acknowledged) == len(load.acknowledged)
    assert acknowledged - read.keys() == set(), "acknowledged and not read"
    surplus = {data for data, _, _ in read.keys() - acknowledged}
    assert surplus <= load.unknown, "read and never sent"
    assert max(Counter(record.data for record in walk.records).values()) == 1, "read twice"


def check_order(load: Load, walk: ShardWalk) -> None:
    """Check the numbers in each shard against its bounds and its parents', and each key's own in reading order."""
    with Wire(load.daemon) as wire:
        shards = wire.ask("ListShards", StreamName=STREAM)["Shards"]
    range_by_id = {shard["ShardId"]: shard["SequenceNumberRange"] for shard in shards}
    last_by_shard = {name: int(bounds["StartingSequenceNumber"]) for name, bounds in range_by_id.items()}
    last_by_key: dict[str, int] = {}
    for record in walk.records:
        number = int(record.sequence_number)
        assert number > last_by_shard[record.shard_id]
        assert number <= int(range_by_id[record.shard_id].get("EndingSequenceNumber", number))
        last_by_shard[record.shard_id] = number
        own, running = record.data.split(b":")
        last = last_by_key.get(record.key, 0)
        missing = {b"%s:%d" % (own, skipped) for skipped in range(last + 1, int(running))}
        assert int(running) > last, f"{record.key} out of order"
        assert missing <= load.unknown, f"{record.key} out of order"
        last_by_key[record.key] = int(running)
    for shard in shards:
        start = int(shard["SequenceNumberRange"]["StartingSequenceNumber"])
        for name in ("ParentShardId", "AdjacentParentShardId"):
            if name in shard:
                assert start > int(range_by_id[shard[name]]["EndingSequenceNumber"])


def open_shards(wire: Wire, stream: str = STREAM) -> list[dict[str, Any]]:
    """List the open shards, in order of their hash keys."""
    answer = wire.ask("ListShards", StreamName=stream, ShardFilter={"Type": "AT_LATEST"})
    shards: list[dict[str, Any]] = answer["Shards"]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def next_reshard(random: Random, shards: list[dict[str, Any]], *, is_scaling: bool) -> tuple[str, str, dict[str, Any]]:
    """Choose what to do next: the more shards there are, the more likely a merge."""
    count = len(shards)
    if is_scaling:
        target = random.randrange((count + 1) // 2, min(2 * count, _SHARD_COUNT_MAX) + 1)
        return "scale", "UpdateShardCount", {"TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"}
    if count > 1 and random.random() < count / _SHARD_COUNT_MAX:
        low = random.randrange(count - 1)
        low_id, high_id = shards[low]["ShardId"], shards[low + 1]["ShardId"]
        return "merge", "MergeShards", {"ShardToMerge": low_id, "AdjacentShardToMerge": high_id}
    shard = random.choice(shards)
    start, end = (int(shard["HashKeyRange"][f"{edge}HashKey"]) for edge in ("Starting", "Ending"))
    middle = str(random.randrange(start + 2, end))
    return "split", "SplitShard", {"ShardToSplit": shard["ShardId"], "NewStartingHashKey": middle}
