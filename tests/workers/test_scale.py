"""Many streams and shards: answers come in bounded pages, and memory stays small. `benchmarks.scale` has figures."""

from collections.abc import Iterator

import pytest

from tests.daemons import Daemon, start_daemon
from tests.workers.process_figures import resident_mib
from tests.workers.shard_walk import uncovered
from tests.workers.wire import Wire, pinned

_STREAM_COUNT = 200
_SHARD_COUNT = 300
_RESIDENT_MIB_MAX = 80
_NAMES = [f"stream-{number:03d}" for number in range(_STREAM_COUNT)]
_BIG = "the-big-one"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = start_daemon(tmp_path_factory.mktemp("scale") / "data", "--workers", "2")
    with Wire(daemon) as wire:
        for name in _NAMES:
            wire.ask("CreateStream", StreamName=name, ShardCount=1)
        wire.ask("CreateStream", StreamName=_BIG, ShardCount=_SHARD_COUNT)
    yield daemon
    daemon.stop()


def test_streams_are_listed_in_pages_that_miss_none_and_repeat_none(loaded: Daemon) -> None:
    found: list[str] = []
    pages = 0
    with Wire(loaded) as wire:
        answer = wire.ask("ListStreams")
        found += answer["StreamNames"]
        while answer["HasMoreStreams"]:
            pages += 1
            answer = wire.ask("ListStreams", NextToken=answer["NextToken"])
            found += answer["StreamNames"]

    assert found == sorted([*_NAMES, _BIG])
    assert pages == _STREAM_COUNT // 100


def test_the_shards_of_a_large_stream_come_in_pages_that_cover_every_hash_key(loaded: Daemon) -> None:
    described = []
    listed = []
    with Wire(loaded) as wire:
        page = wire.ask("DescribeStream", StreamName=_BIG)["StreamDescription"]
        described += page["Shards"]
        while page["HasMoreShards"]:
            last = described[-1]["ShardId"]
            page = wire.ask("DescribeStream", StreamName=_BIG, ExclusiveStartShardId=last)["StreamDescription"]
            described += page["Shards"]
        answer = wire.ask("ListShards", StreamName=_BIG, MaxResults=70)
        sizes = [len(answer["Shards"])]
        listed += answer["Shards"]
        while "NextToken" in answer:
            answer = wire.ask("ListShards", NextToken=answer["NextToken"], MaxResults=70)
            sizes.append(len(answer["Shards"]))
            listed += answer["Shards"]

    assert sizes == [70, 70, 70, 70, 20]
    assert described == listed
    assert uncovered(listed) is None


def test_one_call_reaches_hundreds_of_shards_and_each_record_is_in_the_shard_that_owns_its_key(loaded: Daemon) -> None:
    with Wire(loaded) as wire:
        shards = wire.ask("ListShards", StreamName=_BIG)["Shards"]
        starts = {shard["ShardId"]: shard["HashKeyRange"]["StartingHashKey"] for shard in shards}
        rows = [{"PartitionKey": "k", "Data": "", "ExplicitHashKey": start} for start in starts.values()]
        answer = wire.ask("PutRecords", StreamName=_BIG, Records=rows)

    assert answer["FailedRecordCount"] == 0
    assert [row["ShardId"] for row in answer["Records"]] == list(starts)


def test_a_large_stream_is_scaled_to_twice_its_shards_and_stays_whole(loaded: Daemon) -> None:
    with Wire(loaded) as wire:
        wire.ask("CreateStream", StreamName="doubled", ShardCount=_SHARD_COUNT)
        target = 2 * _SHARD_COUNT
        wire.ask("UpdateShardCount", StreamName="doubled", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
        shards = wire.ask("ListShards", StreamName="doubled", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        wire.ask("DeleteStream", StreamName="doubled")

    assert len(shards) == target
    assert uncovered(shards) is None


def test_a_worker_that_has_seen_every_stream_stays_small(loaded: Daemon) -> None:
    wires = pinned(loaded)
    for wire in wires.values():
        for name in _NAMES:
            wire.put(name, ("key", b"data"))
            wire.ask("DescribeStreamSummary", StreamName=name)
        wire.ask("ListShards", StreamName=_BIG)
        wire.close()
    page = loaded.page("/metrics")

    resident = {pid: resident_mib(pid) for pid in wires}

    assert page.status == 200
    assert max(resident.values()) < _RESIDENT_MIB_MAX, resident
