"""What all answers of a history say together: the shards, their logs in the end, and where each iterator stands.

A record's sequence number is its place in its shard's log, so the logs are known without any search: they are all
records that were acknowledged or read, in order of their numbers. An iterator's place is known from what was read from
it, or from an iterator that followed it. Whatever contradicts itself here needs no search either: one number for two
records, a record in two places, a number outside its shard's, a gap in an answer, a place that two answers disagree on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.audit.history import Event
from tests.audit.stream_model import ShardRange

__all__ = ["Sent", "Sightings", "index_of", "sent_records"]


class Sent(NamedTuple):
    """A record that was put: by which event, its partition key and its hash key."""

    event: Event
    key: str
    hash_key: int


@dataclass(slots=True)
class Sightings:
    """Everything that is known in the end; ``faults`` are sentences."""

    sent_by_data: dict[str, Sent] = field(default_factory=dict)
    ranges: dict[int, ShardRange] = field(default_factory=dict)
    bounds: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    data_by_number: dict[tuple[int, int], str] = field(default_factory=dict)
    arrival_by_number: dict[tuple[int, int], int] = field(default_factory=dict)
    shard_by_token: dict[str, int] = field(default_factory=dict)
    place_by_token: dict[str, int] = field(default_factory=dict)
    logs: dict[int, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Sightings":
        """Gather what the events say."""
        found = cls()
        ordered = sorted(events, key=lambda event: event.called_ns)
        for event in ordered:
            for data, sent in sent_records(event):
                found.sent_by_data[data] = sent
        # An answer is there before the token in it is used.
        for event in sorted(ordered, key=lambda event: event.returned_ns or event.called_ns):
            if event.answer is not None:
                found._take(event, event.answer)
        for shard, number in sorted(found.data_by_number):
            found.logs.setdefault(shard, []).append(number)
        found._place(ordered)
        found._check_records()
        found._check_shards()
        return found

    def places_of(self, shard: int, numbers: Iterable[int]) -> list[int]:
        """Tell where these records are in their shard's log."""
        log = self.logs.get(shard, [])
        return [log.index(number) for number in numbers]

    def place_by_type(self, event: Event) -> int | None:
        """Tell where an iterator must stand by its type alone; None for LATEST and AT_TIMESTAMP."""
        kind: str = event.request["ShardIteratorType"]
        match kind:
            case "TRIM_HORIZON":
                return 0
            case "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER":
                number = int(event.request["StartingSequenceNumber"])
                (place,) = self.places_of(index_of(event.request["ShardId"]), [number])
                return place + (kind == "AFTER_SEQUENCE_NUMBER")
            case _:
                return None

    def arrivals_ms(self, shard: int) -> list[int] | None:
        """Give when the records of a log arrived; None unless all of them were read."""
        found = [self.arrival_by_number.get((shard, number)) for number in self.logs.get(shard, [])]
        known = [arrival_ms for arrival_ms in found if arrival_ms is not None]
        return known if len(known) == len(found) else None

    def _take(self, event: Event, answer: dict[str, Any]) -> None:
        match event.operation:
            case "PutRecord":
                self._see(answer, event.request["Data"])
            case "PutRecords":
                for row, entry in zip(answer["Records"], event.request["Records"], strict=True):
                    if "SequenceNumber" in row:
                        self._see(row, entry["Data"])
            case "GetShardIterator":
                self.shard_by_token[answer["ShardIterator"]] = index_of(event.request["ShardId"])
            case "GetRecords":
                self._take_read(event, answer)
            case "ListShards" | "DescribeStream":
                for document in answer.get("Shards") or answer.get("StreamDescription", {}).get("Shards", []):
                    self._take_shard(document)
            case _:
                return

    def _take_read(self, event: Event, answer: dict[str, Any]) -> None:
        shard = self.shard_by_token[event.request["ShardIterator"]]
        for row in answer["Records"]:
            number = self._see({"ShardId": f"shardId-{shard:012d}", **row}, row["Data"])
            sent = self.sent_by_data.get(row["Data"])
            if sent is not None and sent.key != row["PartitionKey"]:
                self.faults.append(f"{_named(number)} was put with key {sent.key!r}, read with {row['PartitionKey']!r}")
            arrival_ms = round(row["ApproximateArrivalTimestamp"] * 1000)
            if self.arrival_by_number.setdefault(number, arrival_ms) != arrival_ms:
                self.faults.append(f"{_named(number)} arrived at {self.arrival_by_number[number]} and at {arrival_ms}")
        if (following := answer.get("NextShardIterator")) is not None:
            self.shard_by_token[following] = shard
        for child in answer.get("ChildShards", []):
            parents = tuple(map(index_of, child["ParentShards"]))
            self._take_range(index_of(child["ShardId"]), child["HashKeyRange"], parents)

    def _take_shard(self, document: dict[str, Any]) -> None:
        shard = index_of(document["ShardId"])
        parents = [document[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in document]
        self._take_range(shard, document["HashKeyRange"], tuple(map(index_of, parents)))
        numbers = document["SequenceNumberRange"]
        start, ending = int(numbers["StartingSequenceNumber"]), numbers.get("EndingSequenceNumber")
        known_start, known_end = self.bounds.get(shard, (start, None))
        end = known_end if ending is None else int(ending)
        if start != known_start or known_end not in {None, end}:
            self.faults.append(f"shard {shard} has numbers {known_start} to {known_end}, and {start} to {end}")
        self.bounds[shard] = known_start, end

    def _take_range(self, shard: int, edges: dict[str, str], parents: tuple[int, ...]) -> None:
        told = ShardRange(start=int(edges["StartingHashKey"]), end=int(edges["EndingHashKey"]), parents=parents)
        if self.ranges.setdefault(shard, told) != told:
            self.faults.append(f"shard {shard} is {self.ranges[shard]}, and {told}")

    def _see(self, row: dict[str, Any], data: str) -> tuple[int, int]:
        number = index_of(row["ShardId"]), int(row["SequenceNumber"])
        if self.data_by_number.setdefault(number, data) != data:
            self.faults.append(f"{_named(number)} is {self.data_by_number[number]}, and {data}")
        return number

    def _place(self, events: Sequence[Event]) -> None:
        """Find the iterators' places: from what was read from them, then from those before and after them."""
        steps = []
        for event in events:
            if event.operation != "GetRecords" or event.answer is None:
                continue
            token, answer = event.request["ShardIterator"], event.answer
            shard, count = self.shard_by_token[token], len(answer["Records"])
            places = self.places_of(shard, (int(row["SequenceNumber"]) for row in answer["Records"]))
            if places != list(range(places[0], places[0] + count)) if places else False:
                self.faults.append(f"{event} answered records that are not all that lie between: places {places}")
            elif places:
                self._stand(token, places[0], event)
            if (following := answer.get("NextShardIterator")) is not None:
                steps.append((token, count, following, event))
            elif not places:
                self._stand(token, len(self.logs.get(shard, [])), event)
        self._pass_on(steps)
        # Where nothing was read, the type of the first iterator tells.
        for event in events:
            if event.operation == "GetShardIterator" and event.answer is not None:
                place = self.place_by_type(event)
                if place is not None:
                    self.place_by_token.setdefault(event.answer["ShardIterator"], place)
        self._pass_on(steps)

    def _pass_on(self, steps: Sequence[tuple[str, int, str, Event]]) -> None:
        """Pass places along chains of iterators: once from the first to the last, and once back."""
        for token, count, following, event in (*steps, *steps[::-1]):
            if token in self.place_by_token:
                self._stand(following, self.place_by_token[token] + count, event)
            elif following in self.place_by_token:
                self._stand(token, self.place_by_token[following] - count, event)

    def _stand(self, token: str, place: int, event: Event) -> None:
        if self.place_by_token.setdefault(token, place) != place:
            self.faults.append(f"{event} was at place {place}, where another answer had {self.place_by_token[token]}")

    def _check_records(self) -> None:
        number_by_data: dict[str, tuple[int, int]] = {}
        for number, data in self.data_by_number.items():
            if data not in self.sent_by_data:
                self.faults.append(f"{_named(number)} is {data}, which was never put")
            elif data in number_by_data:
                self.faults.append(f"{data} is there twice: {_named(number_by_data[data])} and {_named(number)}")
            number_by_data[data] = number
            shard = number[0]
            start, end = self.bounds.get(shard, (0, None))
            if not start < number[1] <= (number[1] if end is None else end):
                self.faults.append(f"{_named(number)} is outside its shard's numbers, {start} to {end}")
            sent, owner = self.sent_by_data.get(data), self.ranges.get(shard)
            if sent and owner and not owner.start <= sent.hash_key <= owner.end:
                self.faults.append(f"{_named(number)} has hash key {sent.hash_key}, which its shard does not own")

    def _check_shards(self) -> None:
        for shard in self.logs:
            arrivals_ms = self.arrivals_ms(shard)
            if arrivals_ms is not None and arrivals_ms != sorted(arrivals_ms):
                self.faults.append(f"arrivals run backwards in shard {shard}: {arrivals_ms}")
        if sorted(self.ranges) != list(range(len(self.ranges))):
            self.faults.append(f"shards are missing among {sorted(self.ranges)}")
        for shard, described in self.ranges.items():
            for parent in described.parents:
                end = self.bounds.get(parent, (0, None))[1]
                start = self.bounds.get(shard, (None, None))[0]
                # Of a reshard that was finished only after the last listing, a read tells no numbers.
                if end is not None and start is not None and end >= start:
                    self.faults.append(f"shard {shard} begins at {start}, and its parent {parent} ends at {end}")


def sent_records(event: Event) -> Iterator[tuple[str, Sent]]:
    """Give the records of a put, by their data, of which no two are alike in a history."""
    if event.operation in {"PutRecord", "PutRecords"}:
        for entry in event.request.get("Records", [event.request]):
            key = entry["PartitionKey"]
            digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
            yield entry["Data"], Sent(event, key, int(entry.get("ExplicitHashKey", int.from_bytes(digest, "big"))))


def index_of(shard_id: str) -> int:
    """Read a shard's number from its id."""
    return int(shard_id.removeprefix("shardId-"))


def _named(number: tuple[int, int]) -> str:
    return f"record {number[1]} of shard {number[0]}"
