"""Producers that remember what was acknowledged to them, and the reading back that holds the server to it.

Every record is tried once and has data that no other has, so it can be told afterwards whether an acknowledged one is
there exactly as it was acknowledged, and whether one that was not acknowledged is there once at most.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.daemons import client_of

__all__ = ["Acknowledged", "Load", "Stored", "read_back", "read_shard", "running_load"]

_PATIENCE_S = 60.0
_PAUSE_S = 0.005
_SIZES = (0, 1, 100, 2000, 30_000)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the server said of a record."""

    shard_id: str
    sequence_number: str
    partition_key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read back."""

    sequence_number: str
    partition_key: str
    data: bytes


@dataclass(slots=True)
class Load:
    """Several producers on one stream, and what they know."""

    url: str
    stream_name: str
    acknowledged: list[Acknowledged] = field(default_factory=list)
    tried: set[bytes] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopping: threading.Event = field(default_factory=threading.Event)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more records were acknowledged."""
        with self.changed:
            wanted = len(self.acknowledged) + count
            assert self.changed.wait_for(lambda: len(self.acknowledged) >= wanted, _PATIENCE_S), self.refusals

    def produce(self, producer: int) -> None:
        """Put single records and batches until told to stop; whatever fails is not tried again."""
        client = client_of(self.url)
        random = Random(producer)
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            count = random.choice((1, 1, 7, 40))
            keys = [f"key-{random.randrange(50)}" for _ in range(count)]
            data = [b"%d/%d/%d/" % (producer, turn, n) + bytes(random.choice(_SIZES)) for n in range(count)]
            with self.changed:
                self.tried.update(data)
            try:
                answers = self._put(client, keys, data)
            except (BotoCoreError, ClientError) as error:
                self._refused(type(error).__name__)
                # The server is away or full for a moment; asking without a pause would only heat the machine.
                self.stopping.wait(_PAUSE_S)
                continue
            self._note(answers, keys, data)
        client.close()

    def verify(self, stored: dict[str, list[Stored]]) -> None:
        """Hold what was read back, by shard, against what is known."""
        for shard_id, records in stored.items():
            numbers = [int(record.sequence_number) for record in records]
            assert numbers == sorted(set(numbers)), f"{shard_id} is out of order"
        places = {
            record.data: Acknowledged(shard_id, record.sequence_number, record.partition_key, record.data)
            for shard_id, records in stored.items()
            for record in records
        }
        assert sum(map(len, stored.values())) == len(places), "a record was stored twice"
        assert not places.keys() - self.tried, "a record was stored that nobody put"
        lost = [kept for kept in self.acknowledged if places.get(kept.data) != kept]
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged records are not as acknowledged"

    def _put(self, client: Any, keys: list[str], data: list[bytes]) -> list[dict[str, str]]:
        if len(data) == 1:
            return [client.put_record(StreamName=self.stream_name, PartitionKey=keys[0], Data=data[0])]
        records = [{"PartitionKey": key, "Data": datum} for key, datum in zip(keys, data, strict=True)]
        answers: list[dict[str, str]] = client.put_records(StreamName=self.stream_name, Records=records)["Records"]
        return answers

    def _note(self, answers: list[dict[str, str]], keys: list[str], data: list[bytes]) -> None:
        with self.changed:
            for answer, key, datum in zip(answers, keys, data, strict=True):
                self.acknowledged.append(Acknowledged(answer["ShardId"], answer["SequenceNumber"], key, datum))
            self.changed.notify_all()

    def _refused(self, reason: str) -> None:
        with self.changed:
            self.refusals[reason] += 1


@contextmanager
def running_load(url: str, stream_name: str, *, producer_count: int) -> Iterator[Load]:
    """Run producers for as long as the block runs; they have ended when it has."""
    load = Load(url, stream_name)
    threads = [threading.Thread(target=load.produce, args=(n,), name=f"producer-{n}") for n in range(producer_count)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join(_PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)


def read_back(client: Any, stream_name: str) -> dict[str, list[Stored]]:
    """Read every shard of a stream from its beginning to its end."""
    shards = client.list_shards(StreamName=stream_name)["Shards"]
    found = {}
    for shard in shards:
        place = client.get_shard_iterator(
            StreamName=stream_name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        found[shard["ShardId"]] = read_shard(client, place["ShardIterator"])
    return found


def read_shard(client: Any, iterator: str) -> list[Stored]:
    """Read from an iterator on until the server says that nothing is left."""
    found: list[Stored] = []
    following: str | None = iterator
    while following is not None:
        answer = client.get_records(ShardIterator=following)
        found += [Stored(r["SequenceNumber"], r["PartitionKey"], r["Data"]) for r in answer["Records"]]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
        following = answer.get("NextShardIterator")
    return found
