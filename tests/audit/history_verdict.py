"""Tells whether a history of one stream is linearizable, and if not, why.

The stream is taken as one object, shards and settings together. What follows from the answers alone comes first
(``sightings``): then every log is known to its end, and every iterator's place. What is left is to find one order of
all calls, in real time, that the model of a stream accepts (``linearize``, ``stream_model``). With the logs known, that
decides, among others:

- a record is behind every record of its shard that was acknowledged before its put was called;
- it is in a shard that was open, and owned its hash key, at a moment of its put, and no put reaches a closed shard;
- a read gives all that is there at a moment of its call, from its place on and up to its limit, so it sees what was
  acknowledged, or read by anybody, before it was called, whether its put was answered or not;
- an iterator ends exactly at the end of a closed shard; LATEST stands behind what was acknowledged before its call and
  before what was put after its end, and every other kind stands where it says;
- all listings and refusals are explained by one order of reshards, in which each takes effect at one moment.

This is linearizability of the whole stream, which is more than that of each shard's log. Nothing is lost by fixing the
logs first: numbers grow along a log, so any order of the calls must append in the order of the numbers, and a record
that was neither acknowledged nor read has no witness, so that leaving it out changes nothing. Nor by fixing the places:
an iterator's place is one number, and what is read from it allows no other.

One thing is left out on purpose: the records of one PutRecords are taken as one append for each shard, not as one for
all, which nobody promises. In a shard they must lie together and in their order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.audit.history import Event
from tests.audit.linearize import Operation, find_obstacle
from tests.audit.sightings import Sightings, index_of, sent_records
from tests.audit.stream_model import ShardRange, Step, StreamModel, StreamState

__all__ = ["faults_in_history"]

_IN_USE = "ResourceInUseException"
_NOT_THERE = "ResourceNotFoundException"
_LIMIT_MAX = 10_000
_NOT_ALLOWED = {
    "SplitShard": "InvalidArgumentException",
    "MergeShards": "InvalidArgumentException",
    "UpdateShardCount": "LimitExceededException",
}


def faults_in_history(events: Sequence[Event]) -> list[str]:
    """Give everything that is not as it must be; nothing, if the history is linearizable."""
    seen = Sightings.of(events)
    if seen.faults:
        return seen.faults
    shards = [seen.ranges[shard] for shard in range(len(seen.ranges))]
    model = StreamModel(shards, [seen.arrivals_ms(shard) or [] for shard in range(len(shards))])
    reading = _Reading(seen, model, [])
    operations = [operation for number, event in enumerate(events) for operation in reading.operations(number, event)]
    if reading.faults:
        return reading.faults
    (created,) = (event for event in events if event.operation == "CreateStream")
    try:
        obstacle = find_obstacle(operations, model.initial(created.request["ShardCount"]))
    except OverflowError as undecided:
        return [str(undecided)]
    return [] if obstacle is None else [str(obstacle)]


@dataclass(slots=True)
class _Reading:
    """Turns calls into operations of the model."""

    seen: Sightings
    model: StreamModel
    faults: list[str]

    def operations(self, number: int, event: Event) -> Iterator[Operation[StreamState]]:
        """Give what a call is to the model: a put is an append for each shard, a reshard two steps."""
        match event.operation:
            case "PutRecord" | "PutRecords":
                yield from self._appends(event)
            case "SplitShard" | "MergeShards" | "UpdateShardCount":
                yield from self._reshard(number, event)
            case "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod":
                yield from self._retention(event)
            case "CreateStream" | "DeleteStream":
                # Before and after everything else.
                return
            case _ if event.returned_ns is None:
                # A look that nobody saw the end of says nothing.
                return
            case _:
                step = self._refused_look(event) if event.answer is None else self._look(event, event.answer)
                if step is not None:
                    yield _operation(event, step, is_look=True)

    def _appends(self, event: Event) -> Iterator[Operation[StreamState]]:
        if event.refusal is not None or (event.answer or {}).get("FailedRecordCount"):
            self._surprised(event)
            return
        number_by_data = {data: number for number, data in self.seen.data_by_number.items()}
        numbers = [number_by_data[data] for data, _ in sent_records(event) if data in number_by_data]
        for shard in sorted({shard for shard, _ in numbers}):
            places = self.seen.places_of(shard, (number for owner, number in numbers if owner == shard))
            if places != list(range(places[0], places[0] + len(places))):
                self.faults.append(f"{event}: its records are not together and in order in {shard}: places {places}")
                continue
            step = self.model.append(shard, first=places[0], count=len(places))
            yield _operation(event, step, what=f" of {len(places)} to {shard} at {places[0]}")

    def _retention(self, event: Event) -> Iterator[Operation[StreamState]]:
        hours = event.request["RetentionPeriodHours"]
        is_longer = event.operation.startswith("Increase")
        match event.refusal:
            case None:
                yield _operation(event, self.model.retain(hours, is_longer=is_longer))
            case "InvalidArgumentException":
                step = self.model.not_retained(hours, is_longer=is_longer)
                yield _operation(event, step, is_look=True)
            case "ResourceInUseException":
                yield _operation(event, self.model.in_use(), is_look=True)
            case _:
                self._surprised(event)

    def _reshard(self, number: int, event: Event) -> Iterator[Operation[StreamState]]:
        model, request = self.model, event.request
        parents: tuple[int, ...] = ()
        ranges: list[tuple[int, int]] = []
        match event.operation:
            case "SplitShard":
                parents, at = (index_of(request["ShardToSplit"]),), int(request["NewStartingHashKey"])
                allows = model.may_split(parents[0], at)
                start, end = self._edges(parents)
                ranges = [(start, at - 1), (at, end)]
            case "MergeShards":
                parents = index_of(request["ShardToMerge"]), index_of(request["AdjacentShardToMerge"])
                allows = model.may_merge(*parents)
                ranges = [self._edges(parents)]
            case _:
                allows = model.may_scale(request["TargetShardCount"])
        if event.refusal == _IN_USE:
            yield _operation(event, model.in_use(), is_look=True)
        elif event.refusal == _NOT_ALLOWED[event.operation]:
            yield _operation(event, model.refused(allows), is_look=True)
        elif event.refusal is not None:
            self._surprised(event)
        elif parents:
            yield _operation(event, model.begin(number, allows), what=" begins")
            yield _operation(event, model.finish(number, parents, ranges), what=" ends")
        else:
            yield from self._scaling(number, event, event.answer)

    def _scaling(self, number: int, event: Event, answer: dict[str, Any] | None) -> Iterator[Operation[StreamState]]:
        target = event.request["TargetShardCount"]
        current = answer["CurrentShardCount"] if answer is not None else None
        if current == target:
            yield _operation(event, self.model.described(open_count=target, is_updating=False), is_look=True)
            return
        yield _operation(event, self.model.begin(number, self.model.may_scale(target, current)), what=" begins")
        yield _operation(event, self.model.finish_scaling(number, target), what=" ends")

    def _edges(self, shards: Iterable[int]) -> tuple[int, int]:
        ranges: list[ShardRange] = [self.model.shards[shard] for shard in shards]
        return min(each.start for each in ranges), max(each.end for each in ranges)

    def _refused_look(self, event: Event) -> Step | None:
        if event.operation == "GetShardIterator" and event.refusal == _NOT_THERE:
            return self.model.shard_exists(index_of(event.request["ShardId"]), is_there=False)
        self._surprised(event)
        return None

    def _look(self, event: Event, answer: dict[str, Any]) -> Step | None:
        described = self.model.described
        match event.operation:
            case "GetRecords":
                return self._read(event, answer)
            case "GetShardIterator":
                return self._iterator(event, answer)
            case "ListShards" if event.request.get("ShardFilter") == {"Type": "AT_LATEST"}:
                return described(open_shards=frozenset(index_of(shard["ShardId"]) for shard in answer["Shards"]))
            case "ListShards":
                return described(**_listed(answer["Shards"]))
            case "DescribeStream":
                document = answer["StreamDescription"]
                return described(**_listed(document["Shards"]), **_settings(document))
            case "DescribeStreamSummary":
                document = answer["StreamDescriptionSummary"]
                return described(open_count=document["OpenShardCount"], **_settings(document))
            case _:
                raise ValueError(event.operation)

    def _read(self, event: Event, answer: dict[str, Any]) -> Step:
        token = event.request["ShardIterator"]
        shard = self.seen.shard_by_token[token]
        is_end = answer.get("NextShardIterator") is None
        if is_end:
            children = [index for index, each in enumerate(self.model.shards) if shard in each.parents]
            if [index_of(child["ShardId"]) for child in answer.get("ChildShards", [])] != children:
                self.faults.append(f"{event} ended with other child shards than {children}")
        return self.model.read(
            shard,
            # Where nothing is known of a place, there was nothing to read, and no later place to tell.
            place=self.seen.place_by_token.get(token, len(self.seen.logs.get(shard, []))),
            limit=event.request.get("Limit", _LIMIT_MAX),
            count=len(answer["Records"]),
            is_end=is_end,
            is_behind=answer["MillisBehindLatest"] > 0,
        )

    def _iterator(self, event: Event, answer: dict[str, Any]) -> Step:
        request = event.request
        shard = index_of(request["ShardId"])
        exists = self.model.shard_exists(shard, is_there=True)
        place = self.seen.place_by_token.get(answer["ShardIterator"])
        if place is None:
            return exists
        match request["ShardIteratorType"]:
            case "LATEST":
                return self.model.tip(shard, place=place)
            case "AT_TIMESTAMP":
                time_ms = round(request["Timestamp"] * 1000)
                is_known = self.seen.arrivals_ms(shard) is not None
                return self.model.place_of_time(shard, place=place, time_ms=time_ms) if is_known else exists
            case _:
                wanted = self.seen.place_by_type(event)
                if place != wanted:
                    self.faults.append(f"{event} is at place {place}, and not at {wanted}")
                return exists

    def _surprised(self, event: Event) -> None:
        self.faults.append(f"{event}: nothing allows this refusal")


def _operation(event: Event, step: Step, *, what: str = "", is_look: bool = False) -> Operation[StreamState]:
    return Operation(
        name=f"{event}{what}", called=event.called_ns, returned=event.returned_ns, step=step, is_look=is_look
    )


def _listed(shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tell what a whole listing says: how many were made, and which are open."""
    open_shards = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return {"made_count": len(shards), "open_shards": frozenset(index_of(shard["ShardId"]) for shard in open_shards)}


def _settings(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "is_updating": document["StreamStatus"] == "UPDATING",
        "retention_hours": document["RetentionPeriodHours"],
    }
