"""The judgement of histories: what may happen at once is allowed, and everything that is planted is refused.

The good history is small: a record to the only shard, a split of it, a record to a child, all of it read, with
iterators of several types. Moments are whole numbers, each call a little longer than nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.audit.history import Event
from tests.audit.history_verdict import faults_in_history

__all__: list[str] = []

History = dict[str, Event]

_MIDDLE = 1 << 127
_LAST = (1 << 128) - 1
# Each shard's numbers begin at a thousand of its own.
_CHILDREN = {1: (0, _MIDDLE - 1), 2: (_MIDDLE, _LAST)}


def _call(operation: str, moment: int, answer: dict[str, Any] | None = None, **request: Any) -> Event:
    return Event(
        client=moment,
        called_ns=10 * moment,
        returned_ns=10 * moment + 5,
        operation=operation,
        request=request,
        answer={} if answer is None else answer,
    )


def _id(shard: int) -> str:
    return f"shardId-{shard:012d}"


def _put(moment: int, data: str, shard: int, number: int, *, hash_key: int = 0) -> Event:
    answer = {"ShardId": _id(shard), "SequenceNumber": str(1000 * shard + number)}
    return _call("PutRecord", moment, answer, Data=data, PartitionKey="k", ExplicitHashKey=str(hash_key))


def _iterator(moment: int, shard: int, token: str, kind: str, **members: Any) -> Event:
    return _call(
        "GetShardIterator", moment, {"ShardIterator": token}, ShardId=_id(shard), ShardIteratorType=kind, **members
    )


def _read(moment: int, token: str, *records: tuple[int, str], following: str | None, limit: int = 100) -> Event:
    rows = [
        {"SequenceNumber": str(number), "Data": data, "PartitionKey": "k", "ApproximateArrivalTimestamp": number / 1000}
        for number, data in records
    ]
    answer: dict[str, Any] = {"Records": rows, "MillisBehindLatest": 0, "NextShardIterator": following}
    if following is None:
        answer["ChildShards"] = [
            {"ShardId": _id(shard), "ParentShards": [_id(0)], "HashKeyRange": _edges(*edges)}
            for shard, edges in _CHILDREN.items()
        ]
    return _call("GetRecords", moment, answer, ShardIterator=token, Limit=limit)


def _edges(start: int, end: int) -> dict[str, str]:
    return {"StartingHashKey": str(start), "EndingHashKey": str(end)}


def _list(moment: int, *, is_split: bool) -> Event:
    numbers = {"StartingSequenceNumber": "0"} | ({"EndingSequenceNumber": "999"} if is_split else {})
    shards = [{"ShardId": _id(0), "HashKeyRange": _edges(0, _LAST), "SequenceNumberRange": numbers}]
    for shard, edges in _CHILDREN.items() if is_split else ():
        shards.append(
            {
                "ShardId": _id(shard),
                "ParentShardId": _id(0),
                "HashKeyRange": _edges(*edges),
                "SequenceNumberRange": {"StartingSequenceNumber": str(1000 * shard)},
            }
        )
    return _call("ListShards", moment, {"Shards": shards})


def _good() -> History:
    return {
        "create": _call("CreateStream", 0, ShardCount=1),
        "list before": _list(1, is_split=False),
        "latest": _iterator(2, 0, "latest", "LATEST"),
        "put a": _put(3, "a", 0, 1),
        "put b": _put(4, "b", 0, 2, hash_key=_LAST),
        "horizon": _iterator(5, 0, "t0", "TRIM_HORIZON"),
        "read a": _read(6, "t0", (1, "a"), following="t1", limit=1),
        "read b": _read(7, "t1", (2, "b"), following="t2"),
        "after a": _iterator(8, 0, "after-a", "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber="1"),
        "split": _call("SplitShard", 10, ShardToSplit=_id(0), NewStartingHashKey=str(_MIDDLE)),
        "list after": _list(11, is_split=True),
        "put c": _put(12, "c", 1, 1),
        "end": _read(13, "t2", following=None),
        "read after a": _read(14, "after-a", (2, "b"), following=None),
        "read latest": _read(15, "latest", (1, "a"), (2, "b"), following=None),
        "horizon of child": _iterator(16, 1, "c0", "TRIM_HORIZON"),
        "read c": _read(17, "c0", (1001, "c"), following="c1"),
    }


def _faults(history: History) -> list[str]:
    return faults_in_history(list(history.values()))


def _read_stale(history: History) -> None:
    """Give nothing to the read after an acknowledged put, though the next one gets it."""
    history["read b"] = _read(7, "t1", following="t2")
    history["read b later"] = _read(9, "t2", (2, "b"), following="t3")
    history["end"] = _read(13, "t3", following=None)


def _lose(history: History) -> None:
    """Leave out what was acknowledged when everything is read."""
    history["read c"] = _read(17, "c0", following="c1")
    history["put d"] = _put(18, "d", 1, 2)
    history["read d"] = _read(19, "c1", (1002, "d"), following="c2")


def _lose_the_last(history: History) -> None:
    history["read c"] = _read(17, "c0", following="c1")


def _reorder(history: History) -> None:
    """Have the record that was acknowledged first behind the other."""
    history["put a"], history["put b"] = _put(4, "a", 0, 1), _put(3, "b", 0, 2)


def _store_twice(history: History) -> None:
    history["read c"] = _read(17, "c0", (1001, "c"), (1002, "c"), following="c1")


def _put_to_the_closed(history: History) -> None:
    """Have a record in the parent, within its numbers, that was put after the split was answered."""
    history["put d"] = _put(12, "d", 0, 3)
    history["end"] = _read(13, "t2", (3, "d"), following=None)
    history["read after a"] = _read(14, "after-a", (2, "b"), (3, "d"), following=None)
    history["read latest"] = _read(15, "latest", (1, "a"), (2, "b"), (3, "d"), following=None)


def _put_to_the_child_early(history: History) -> None:
    history["put d"] = _put(8, "d", 2, 1, hash_key=_LAST)


def _put_to_another(history: History) -> None:
    history["put d"] = _put(12, "d", 2, 1, hash_key=0)


def _skip(history: History) -> None:
    history["put between"] = _put(4, "b0", 0, 2)
    history["put b"] = _put(5, "b", 0, 3)
    history["read latest"] = _read(15, "latest", (1, "a"), (3, "b"), following=None)


def _disagree(history: History) -> None:
    history["put x"] = replace(_put(3, "x", 0, 1), returned_ns=None, answer=None)
    history["read a"] = _read(6, "t0", (1, "x"), following="t1", limit=1)


def _invent(history: History) -> None:
    history["read c"] = _read(17, "c0", (1001, "c"), (1002, "z"), following="c1")


def _unread(history: History) -> None:
    """Give a record whose put was never answered, and then not."""
    history["put d"] = replace(_put(12, "d", 1, 2), returned_ns=None, answer=None)
    history["read c"] = _read(17, "c0", (1001, "c"), (1002, "d"), following="c1")
    history["again"] = _iterator(18, 1, "again", "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber="1001")
    history["read again"] = _read(19, "again", following="again-1")
    history["read again later"] = _read(20, "again-1", (1002, "d"), following="again-2")


def _latest_too_early(history: History) -> None:
    history["latest"] = _iterator(5, 0, "latest", "LATEST")


def _latest_too_late(history: History) -> None:
    history["read latest"] = _read(15, "latest", (2, "b"), following=None)


def _time_too_early(history: History) -> None:
    history["time"] = _iterator(9, 0, "time", "AT_TIMESTAMP", Timestamp=0.002)
    history["read time"] = _read(18, "time", (1, "a"), (2, "b"), following=None)


def _end_too_early(history: History) -> None:
    """End an iterator before its shard."""
    history["read b"] = _read(7, "t1", (2, "b"), following=None)
    del history["end"]


def _never_end(history: History) -> None:
    history["end"] = _read(13, "t2", following="t3")


def _forget_a_child(history: History) -> None:
    answer = history["end"].answer
    assert answer is not None
    answer["ChildShards"].pop()


def _list_the_past(history: History) -> None:
    history["list again"] = _list(12, is_split=False)


def _list_the_future(history: History) -> None:
    history["list before"] = _list(9, is_split=True)


def _refuse_for_nothing(history: History) -> None:
    history["merge"] = replace(
        _call("MergeShards", 18, ShardToMerge=_id(1), AdjacentShardToMerge=_id(2)),
        answer=None,
        refusal="ResourceInUseException",
    )


def _split_again(history: History) -> None:
    history["split again"] = _call("SplitShard", 18, ShardToSplit=_id(0), NewStartingHashKey=str(_MIDDLE))


def _leave_limit_unused(history: History) -> None:
    history["read latest"] = _read(15, "latest", (1, "a"), following="rest")
    history["read rest"] = _read(16, "rest", (2, "b"), following=None)


def _keep_apart(history: History) -> None:
    """Have another record between those that one PutRecords put to one shard."""
    rows = [{"ShardId": _id(2), "SequenceNumber": str(number)} for number in (2001, 2003)]
    records = [{"Data": data, "PartitionKey": "k", "ExplicitHashKey": str(_LAST)} for data in ("p", "q")]
    history["put many"] = _call("PutRecords", 12, {"Records": rows, "FailedRecordCount": 0}, Records=records)
    history["put d"] = _put(13, "d", 2, 2, hash_key=_LAST)


def _refuse_a_put(history: History) -> None:
    history["put d"] = replace(_put(18, "d", 1, 2), answer=None, refusal="InternalFailureException")


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_read_stale, 'GetRecords {"ShardIterator":"t1","Limit":100} answered'),
        (_lose, "is at place 1, and not at 0"),
        (_lose_the_last, "no order explains"),
        (_reorder, "no order explains"),
        (_store_twice, "c is there twice"),
        (_put_to_the_closed, "no order explains"),
        (_put_to_the_child_early, "no order explains"),
        (_put_to_another, "which its shard does not own"),
        (_skip, "not all that lie between"),
        (_disagree, "record 1 of shard 0 is a, and x"),
        (_invent, "which was never put"),
        (_unread, "no order explains"),
        (_latest_too_early, "no order explains"),
        (_latest_too_late, "no order explains"),
        (_time_too_early, "no order explains"),
        (_end_too_early, "no order explains"),
        (_never_end, "no order explains"),
        (_forget_a_child, "other child shards"),
        (_list_the_past, "no order explains"),
        (_list_the_future, "no order explains"),
        (_refuse_for_nothing, "no order explains"),
        (_split_again, "no order explains"),
        (_leave_limit_unused, "no order explains"),
        (_keep_apart, "not together"),
        (_refuse_a_put, "nothing allows this refusal"),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[History], None], sentence: str) -> None:
    history = _good()

    plant(history)

    assert any(sentence in fault for fault in _faults(history)), _faults(history)


def test_what_is_as_it_must_be_has_no_fault() -> None:
    assert _faults(_good()) == []


def _read_during_the_put(history: History) -> None:
    history["put b"] = replace(history["put b"], called_ns=30, returned_ns=200)


def _put_unanswered_and_read(history: History) -> None:
    history["put b"] = replace(history["put b"], returned_ns=None, answer=None)


def _put_unanswered_and_gone(history: History) -> None:
    history["put d"] = replace(_put(3, "d", 0, 1), returned_ns=None, answer=None)


def _split_unanswered_and_done(history: History) -> None:
    """Have the split's worker die: it is done late, when a put meets the sealed parent."""
    history["split"] = replace(history["split"], returned_ns=None, answer=None)
    history["list between"] = replace(_list(11, is_split=False), returned_ns=200)
    history["list after"] = _list(18, is_split=True)


def _merge_unanswered_and_never_done(history: History) -> None:
    merge = _call("MergeShards", 18, ShardToMerge=_id(1), AdjacentShardToMerge=_id(2))
    history["merge"] = replace(merge, returned_ns=None, answer=None)
    history["list last"] = _list(19, is_split=True)


def _latest_during_the_put(history: History) -> None:
    history["latest"] = replace(history["latest"], returned_ns=100)


def _list_during_the_split(history: History) -> None:
    history["list during"] = replace(_list(8, is_split=True), returned_ns=200)
    history["list before"] = replace(history["list before"], returned_ns=200)
    history["split"] = replace(history["split"], called_ns=60)


def _refused_during_the_split(history: History) -> None:
    refused = _call("SplitShard", 10, ShardToSplit=_id(0), NewStartingHashKey=str(_MIDDLE))
    history["refused"] = replace(refused, answer=None, refusal="ResourceInUseException")


def _put_to_the_parent_during_the_split(history: History) -> None:
    history["split"] = replace(history["split"], called_ns=60, returned_ns=109)
    history["put late"] = _put(9, "late", 0, 3)
    history["end"] = _read(13, "t2", (3, "late"), following=None)
    history["read after a"] = _read(14, "after-a", (2, "b"), (3, "late"), following=None)
    history["read latest"] = _read(15, "latest", (1, "a"), (2, "b"), (3, "late"), following=None)


@pytest.mark.parametrize(
    "change",
    [
        _read_during_the_put,
        _put_unanswered_and_read,
        _put_unanswered_and_gone,
        _split_unanswered_and_done,
        _merge_unanswered_and_never_done,
        _latest_during_the_put,
        _list_during_the_split,
        _refused_during_the_split,
        _put_to_the_parent_during_the_split,
    ],
)
def test_what_may_happen_at_once_has_no_fault(change: Callable[[History], None]) -> None:
    history = _good()

    change(history)

    assert _faults(history) == []
