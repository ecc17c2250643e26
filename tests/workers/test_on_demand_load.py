"""An on-demand stream under load, end to end: it gets more shards by itself, and loses nothing on the way."""

from collections import Counter

import pytest

from tests.conftest import DaemonFactory
from tests.workers.shard_walk import ShardWalk, uncovered
from tests.workers.wire import Wire

_BATCH = 500
# All under one key, so that one shard gets the whole load, many times the 1,000 records a second that it takes.
_CALL_COUNT_MAX = 1_000


@pytest.mark.timeout(120)
def test_an_on_demand_stream_that_stays_over_its_limit_gets_more_shards(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "2")
    name = "busy"
    acknowledged: Counter[bytes] = Counter()
    with Wire(daemon) as wire:
        wire.ask("CreateStream", StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
        first = wire.ask("ListShards", StreamName=name)["Shards"]
        wire.ask("CreateStream", StreamName="quiet", ShardCount=1)
        quiet = wire.iterator("quiet", "shardId-000000000000", "LATEST")

        for call in range(_CALL_COUNT_MAX):
            payloads = [("hot", b"%d:%d" % (call, place)) for place in range(_BATCH)]
            wire.put(name, *payloads)
            acknowledged.update(data for _, data in payloads)
            summary = wire.ask("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"]
            if summary["OpenShardCount"] > len(first):
                break
            # A read that is held measures out the pause: ten thousand records a second are plenty.
            wire.ask("GetRecords", wait_ms=50, ShardIterator=quiet)

        wire.put(name, ("key", b"after"))
        acknowledged[b"after"] += 1
        shards = wire.ask("ListShards", StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
        walk = ShardWalk(wire, name)
        walk.follow(lambda: True)

    assert len(first) == 4
    assert len(shards) > 4
    assert uncovered(shards) is None
    assert Counter(record.data for record in walk.records) == acknowledged
