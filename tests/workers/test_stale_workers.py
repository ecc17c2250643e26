"""A change made through one worker holds in all others from its answer on."""

import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.workers.shard_walk import ShardWalk
from tests.workers.wire import Answered, Wire, pinned

_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
_SHARD = "shardId-000000000000"
_GENERATION_COUNT = 30
_PRODUCER_COUNT = 4


@pytest.fixture
def wires(daemon_factory: DaemonFactory) -> Iterator[list[Wire]]:
    found = list(pinned(daemon_factory("--workers", "4")).values())
    yield found
    for wire in found:
        wire.close()


def _summary(wire: Wire, name: str) -> dict[str, object]:
    summary: dict[str, object] = wire.ask("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"]
    return summary


def _code_of(wire: Wire, operation: str, **members: Any) -> str:
    with pytest.raises(Answered) as caught:
        wire.ask(operation, **members)
    return caught.value.code


def test_a_new_stream_is_there_for_every_worker(wires: list[Wire]) -> None:
    for maker, wire in enumerate(wires):
        name = f"made-{maker}"
        for other in wires:
            assert _code_of(other, "DescribeStreamSummary", StreamName=name) == "ResourceNotFoundException"

        wire.ask("CreateStream", StreamName=name, ShardCount=maker + 1)

        assert [_summary(other, name)["OpenShardCount"] for other in wires] == [maker + 1] * len(wires)
        assert all(name in other.ask("ListStreams")["StreamNames"] for other in wires)
        assert all(_code_of(other, "CreateStream", StreamName=name) == "ResourceInUseException" for other in wires)


def test_a_record_put_through_one_worker_is_read_through_every_other(wires: list[Wire]) -> None:
    wires[0].ask("CreateStream", StreamName="read", ShardCount=1)
    places = [wire.iterator("read", _SHARD, "LATEST") for wire in wires]

    for number, writer in enumerate(wires):
        writer.put("read", ("key", b"%d" % number))
        answers = [wire.ask("GetRecords", ShardIterator=place) for wire, place in zip(wires, places, strict=True)]
        places = [answer["NextShardIterator"] for answer in answers]

        found = [[b64decode(record["Data"]) for record in answer["Records"]] for answer in answers]
        assert found == [[b"%d" % number]] * len(wires)


def test_settings_and_tags_changed_through_one_worker_hold_in_every_other(wires: list[Wire]) -> None:
    wires[0].ask("CreateStream", StreamName="set", ShardCount=1)
    for number, wire in enumerate(wires, start=1):
        hours = 24 + number

        wire.ask("IncreaseStreamRetentionPeriod", StreamName="set", RetentionPeriodHours=hours)
        wire.ask("AddTagsToStream", StreamName="set", Tags={f"tag-{number}": "value"})

        assert [_summary(other, "set")["RetentionPeriodHours"] for other in wires] == [hours] * len(wires)
        for other in wires:
            tags = other.ask("ListTagsForResource", ResourceARN=f"{_ARN}set")["Tags"]
            assert {tag["Key"] for tag in tags} == {f"tag-{place}" for place in range(1, number + 1)}


def test_a_reshard_through_one_worker_routes_the_puts_of_every_other(wires: list[Wire]) -> None:
    wires[0].ask("CreateStream", StreamName="cut", ShardCount=1)
    assert {wire.put("cut", ("key", b"before"))[0][0] for wire in wires} == {_SHARD}

    wires[1].ask("SplitShard", StreamName="cut", ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))

    assert {wire.put("cut", ("key", b"after"))[0][0] for wire in wires}.isdisjoint({_SHARD})
    assert [_summary(wire, "cut")["OpenShardCount"] for wire in wires] == [2] * len(wires)


def test_a_deleted_stream_is_gone_for_every_worker_and_a_new_one_of_its_name_is_empty(wires: list[Wire]) -> None:
    name = "again"
    for number, wire in enumerate(wires):
        other = wires[number - 1]
        wire.ask("CreateStream", StreamName=name, ShardCount=number + 1)
        for writer in wires:
            writer.put(name, ("key", b"old"))
        old_place = other.iterator(name, _SHARD, "TRIM_HORIZON")

        other.ask("DeleteStream", StreamName=name)

        assert {_code_of(any_wire, "DescribeStreamSummary", StreamName=name) for any_wire in wires} == {
            "ResourceNotFoundException"
        }
        assert {_code_of(w, "PutRecord", StreamName=name, PartitionKey="k", Data="") for w in wires} == {
            "ResourceNotFoundException"
        }

        wire.ask("CreateStream", StreamName=name, ShardCount=number + 2)

        assert [_summary(any_wire, name)["OpenShardCount"] for any_wire in wires] == [number + 2] * len(wires)
        assert {_code_of(w, "GetRecords", ShardIterator=old_place) for w in wires} == {"ResourceNotFoundException"}
        for reader in wires:
            walk = ShardWalk(reader, name)
            walk.follow(lambda: True)
            assert walk.records == []
        wire.ask("DeleteStream", StreamName=name)


@dataclass(slots=True)
class _Writers:
    """Producers that put all the while; each record says in which generation of the stream its call began."""

    daemon: Daemon
    stream: str
    generation: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[tuple[int, bytes]] = field(default_factory=list)
    refusals: set[str] = field(default_factory=set)

    def produce(self, producer: int) -> None:
        """Put until it is over, whether or not the stream is there just now."""
        number = 0
        while not self.is_over.is_set():
            with Wire(self.daemon) as wire:
                for _ in range(20):
                    number += 1
                    generation = self.generation
                    data = b"%d:%d:%d" % (generation, producer, number)
                    try:
                        wire.put(self.stream, ("key", data))
                    except Answered as refusal:
                        self.refusals.add(refusal.code)
                    else:
                        self.acknowledged.append((generation, data))


def test_a_stream_made_again_while_producers_go_on_holds_no_record_of_the_old_one(
    daemon_factory: DaemonFactory,
) -> None:
    daemon = daemon_factory("--workers", "4")
    writers = _Writers(daemon, "churned")
    read_by_generation: list[set[bytes]] = []
    before_by_generation: list[set[bytes]] = []

    with ThreadPoolExecutor(_PRODUCER_COUNT) as pool:
        producers = [pool.submit(writers.produce, producer) for producer in range(_PRODUCER_COUNT)]
        try:
            for generation in range(1, _GENERATION_COUNT + 1):
                with Wire(daemon) as wire:
                    before_by_generation.append({data for _, data in list(writers.acknowledged)})
                    if generation > 1:
                        wire.ask("DeleteStream", StreamName=writers.stream)
                with Wire(daemon) as wire:
                    wire.ask("CreateStream", StreamName=writers.stream, ShardCount=2)
                    writers.generation = generation
                    wire.put(writers.stream, ("key", b"%d:alive" % generation))
                    walk = ShardWalk(wire, writers.stream)
                    # Two rounds, because the producers never stop.
                    assert [walk.read_round() for _ in range(2)]
                    read_by_generation.append({record.data for record in walk.records})
        finally:
            writers.is_over.set()
        for producer in producers:
            producer.result()
    with Wire(daemon) as wire:
        last = ShardWalk(wire, writers.stream)
        last.follow(lambda: True)

    for generation, (read, before) in enumerate(zip(read_by_generation, before_by_generation, strict=True), start=1):
        assert b"%d:alive" % generation in read
        assert read.isdisjoint(before), "what was acknowledged before the deletion belongs to the old stream"
    assert writers.refusals <= {"ResourceNotFoundException"}
    promised = {data for generation, data in writers.acknowledged if generation == _GENERATION_COUNT}
    read_last = [record.data for record in last.records]
    assert promised <= set(read_last)
    assert len(read_last) == len(set(read_last))
