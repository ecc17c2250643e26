"""Mappings from the put to the handler and its outcome: a real daemon, boto3, and handlers in real processes."""

import json
from base64 import b64decode
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.daemons import Daemon
from tests.functions.witness import PATIENCE_S, Invocation, Row, Stage
from tests.workers.wire import until

POISONED = """
def answer(event, texts):
    if "poison" in texts:
        raise ValueError("bad record")
"""
PARTIAL = """
def answer(event, texts):
    numbers = [r["kinesis"]["sequenceNumber"] for r in event["Records"]]
    return {"batchItemFailures": [{"itemIdentifier": n} for n, text in zip(numbers, texts) if text == "poison"]}
"""
COUNTING = """
def answer(event, texts):
    return {"state": {"count": event["state"].get("count", 0) + len(texts)}}
"""


@pytest.fixture
def stage(daemon: Daemon, stream_name: str) -> Iterator[Stage]:
    """Give a stage on the shared daemon, with no streams yet."""
    made = Stage(daemon, stream_name)
    yield made
    made.clear()


def rows_of(count: int, *, keys: int = 1, prefix: str = "n") -> list[tuple[str, str]]:
    return [(f"key-{number % keys}", f"{prefix}{number}") for number in range(count)]


def by_key(rows: list[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row.text)
    return found


def in_order(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    return by_key([Row(0, key, text) for key, text in rows])


def failures(stage: Stage, stream: str) -> list[dict[str, Any]]:
    """Wait for a failure record; all that there are."""
    until(lambda: any(stage.shards(stream)), patience_s=PATIENCE_S)
    return [json.loads(row.text) for shard in stage.shards(stream) for row in shard]


def test_each_record_is_seen_once_and_in_order_of_its_key(stage: Stage) -> None:
    stage.build(shard_count=2)
    function = stage.deploy("f")
    early, late = rows_of(300, keys=17), rows_of(300, keys=17, prefix="late-")
    stage.put(*early)
    mapping = stage.map(function, ParallelizationFactor=4, BatchSize=7)

    stage.put(*late)
    seen = stage.wait_until_seen([text for _, text in early + late])

    assert by_key(seen) == in_order(early + late)
    invocations = stage.invocations()
    assert {tuple(each.told["sources"]) for each in invocations} == {(stage.arn,)}
    assert max(len(each.rows) for each in invocations) <= 7
    # One shard in a batch, and its records in order.
    assert all(len({each.partition(":")[0] for each in one.told["ids"]}) == 1 for one in invocations)
    assert all(first.number < second.number for one in invocations for first, second in pairwise(one.rows))
    status = stage.wait_until_done(mapping)
    assert status["counters"] | {"polled": 600, "invoked": 600, "dropped": 0} == status["counters"]
    assert status["last_result"] == "OK"


def test_only_what_passes_the_filter_is_seen_and_the_checkpoint_passes_the_rest(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f")
    pattern = {"data": {"kind": ["wanted"], "size": [{"numeric": [">", 3]}]}}
    wanted = '{ "kind":"wanted",   "size": 4.0 }'

    mapping = stage.map(function, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]})
    stage.put(("k", wanted), ("k", '{"kind": "wanted", "size": 3}'), ("k", "no JSON"), ("k", '{"kind": "other"}'))
    status = stage.wait_until_done(mapping)

    # The very bytes that were put, not the same value written anew.
    assert [row.text for row in stage.seen()] == [wanted]
    assert status["counters"] | {"polled": 4, "filtered_out": 3, "invoked": 1} == status["counters"]
    assert status["shards"][0]["checkpoint"] == str(stage.shards()[0][-1].number)


def test_windows_add_up_to_all_records_each_counted_in_its_own_window(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f", COUNTING)
    stage.map(function, TumblingWindowInSeconds=1, BatchSize=5)

    def has_three_windows() -> bool:
        stage.put(*rows_of(4))
        return len({arrival_ms // 1000 for arrival_ms in _arrivals_ms(stage)}) >= 3

    until(has_three_windows)
    expected = [arrival_ms // 1000 for arrival_ms in _arrivals_ms(stage)]

    def finals() -> dict[str, int]:
        ended = [each.told for each in stage.invocations() if each.told["isFinalInvokeForWindow"]]
        return {told["window"]["start"]: told["state"]["count"] for told in ended}

    until(lambda: sum(finals().values()) == len(expected), patience_s=PATIENCE_S)
    assert sorted(finals().values()) == sorted(expected.count(window) for window in set(expected))
    assert len(finals()) == len(set(expected))
    assert [row.text for row in stage.seen()] == [row.text for row in stage.shards()[0]]
    assert not any(each.told["isWindowTerminatedEarly"] for each in stage.invocations())


def _arrivals_ms(stage: Stage) -> list[int]:
    shard_id = stage.kinesis.list_shards(StreamName=stage.stream)["Shards"][0]["ShardId"]
    iterator = stage.kinesis.get_shard_iterator(
        StreamName=stage.stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = stage.kinesis.get_records(ShardIterator=iterator)["Records"]
    return [round(record["ApproximateArrivalTimestamp"].timestamp() * 1000) for record in records]


def test_halving_isolates_the_poison_and_its_record_is_delivered(stage: Stage) -> None:
    stage.build()
    failed = f"{stage.stream}-failed"
    stage.create_stream(failed)
    function = stage.deploy("f", POISONED)
    good = [f"n{number}" for number in range(11)]
    stage.put(*[("k", text) for text in [*good[:6], "poison", *good[6:]]])

    mapping = stage.map(
        function,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": stage.arn_of(failed)}},
    )
    stage.wait_until_done(mapping)
    [document] = failures(stage, failed)

    succeeded = [text for each in stage.invocations() if "poison" not in each.texts for text in each.texts]
    poison = next(row for row in stage.shards()[0] if row.text == "poison")
    assert succeeded == good
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert document["requestContext"]["functionArn"].endswith(function)
    assert document["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    batch = document["KinesisBatchInfo"]
    assert (batch["batchSize"], batch["startSequenceNumber"]) == (1, str(poison.number))
    assert (batch["streamArn"], batch["endSequenceNumber"]) == (stage.arn, str(poison.number))
    [lost] = document["payload"]["Records"]
    assert b64decode(lost["kinesis"]["data"]) == b"poison"
    counters = stage.status(mapping)["counters"]
    assert (counters["dropped"], counters["on_failure_delivered"]) == (1, 1)


def test_without_halving_the_whole_batch_is_given_up_and_the_next_one_goes_on(stage: Stage) -> None:
    stage.build()
    failed = f"{stage.stream}-failed"
    stage.create_stream(failed)
    function = stage.deploy("f", POISONED)
    texts = stage.put(("k", "n0"), ("k", "poison"), ("k", "n1"), ("k", "n2"), ("k", "n3"))

    stage.map(
        function,
        BatchSize=3,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": stage.arn_of(failed)}},
    )
    stage.wait_until_seen(texts)
    [document] = failures(stage, failed)

    assert [each.texts for each in stage.invocations()] == [["n0", "poison", "n1"], ["n2", "n3"]]
    assert document["requestContext"]["approximateInvokeCount"] == 1
    assert document["KinesisBatchInfo"]["batchSize"] == 3


def test_a_partial_answer_repeats_from_the_first_failed_record_only(stage: Stage) -> None:
    stage.build()
    failed = f"{stage.stream}-failed"
    stage.create_stream(failed)
    function = stage.deploy("f", PARTIAL)
    stage.put(("k", "n0"), ("k", "n1"), ("k", "poison"), ("k", "n2"))

    mapping = stage.map(
        function,
        BatchSize=3,
        MaximumRetryAttempts=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": stage.arn_of(failed)}},
    )
    stage.wait_until_done(mapping)
    [document] = failures(stage, failed)

    # Once in its batch; then progress was made, so the count begins again: one attempt and one retry.
    assert [each.texts for each in stage.invocations()] == [["n0", "n1", "poison"], ["poison"], ["poison"], ["n2"]]
    assert document["requestContext"]["approximateInvokeCount"] == 2
    assert document["responseContext"]["functionError"] is None
    assert document["KinesisBatchInfo"]["batchSize"] == 1


def test_a_blocked_shard_says_why_and_blocks_no_other(stage: Stage) -> None:
    stage.build(shard_count=2)
    function = stage.deploy("f", POISONED)
    mapping = stage.map(function)
    first, second = _keys_by_shard(stage)

    stage.put((first, "poison"))
    until(lambda: any(_errors(stage.status(mapping))), patience_s=PATIENCE_S)
    texts = stage.put((second, "n0"), (second, "n1"))
    stage.wait_until_seen(texts)

    # The last record was seen a moment before its checkpoint was stored.
    until(lambda: len(_lagging(stage, mapping)) == 1, patience_s=PATIENCE_S)
    [blocked] = _lagging(stage, mapping)
    [lane] = blocked["lanes"]
    assert lane["error"] == "ValueError: bad record"
    assert lane["attempt"] >= 1
    assert lane["queued"] == 1
    assert lane["blocked_since_ms"] is not None
    until(lambda: stage.status(mapping)["counters"]["failed_invoke"] >= 2, patience_s=PATIENCE_S)
    # A mended function goes on with the very record that blocked the shard.
    stage.update(mapping, FunctionName=stage.deploy("mended"))
    assert stage.wait_until_done(mapping)["last_result"] == "OK"
    assert stage.invocations()[-1].texts == ["poison"]


def _lagging(stage: Stage, mapping: str) -> list[dict[str, Any]]:
    return [shard for shard in stage.status(mapping)["shards"] if shard["lag_records"]]


def _errors(status: dict[str, Any]) -> list[str]:
    return [lane["error"] for shard in status["shards"] for lane in shard["lanes"] if lane["error"]]


def _keys_by_shard(stage: Stage) -> list[str]:
    """Find a key of each shard."""
    key_by_shard: dict[str, str] = {}
    for number in range(100):
        answer = stage.kinesis.put_record(StreamName=stage.stream, PartitionKey=f"k{number}", Data=b"first")
        key_by_shard[answer["ShardId"]] = f"k{number}"
        if len(key_by_shard) == 2:
            return list(key_by_shard.values())
    raise AssertionError("all keys are of one shard")


def test_a_disabled_mapping_sees_nothing_and_goes_on_where_it_stopped(stage: Stage) -> None:
    stage.build()
    stopped, witness = stage.deploy("stopped"), stage.deploy("witness")
    mapping = stage.map(stopped)
    before = stage.put(*rows_of(20))
    stage.wait_until_seen(before)

    stage.update(mapping, Enabled=False)
    stage.map(witness)
    meanwhile = stage.put(*rows_of(20, prefix="meanwhile-"))
    until(lambda: _texts_of(stage, witness) == before + meanwhile, patience_s=PATIENCE_S)
    seen_while_disabled = _texts_of(stage, stopped)
    stage.update(mapping, Enabled=True)
    until(lambda: len(_texts_of(stage, stopped)) >= 40, patience_s=PATIENCE_S)

    assert seen_while_disabled == before
    assert _texts_of(stage, stopped) == before + meanwhile


def _texts_of(stage: Stage, function: str) -> list[str]:
    return [text for each in stage.invocations() if each.told["name"] == function for text in each.texts]


def test_updates_under_load_repeat_nothing_and_skip_nothing(stage: Stage) -> None:
    stage.build(shard_count=2)
    first, second = stage.deploy("first"), stage.deploy("second")
    mapping = stage.map(first, BatchSize=10)
    rows: list[tuple[str, str]] = []

    changes: list[dict[str, Any]] = [
        {"BatchSize": 3},
        {"FunctionName": second},
        {"ParallelizationFactor": 5},
        {"ParallelizationFactor": 2, "MaximumBatchingWindowInSeconds": 1},
        {"FunctionName": first, "MaximumBatchingWindowInSeconds": 0},
        {"Enabled": False},
        {"Enabled": True},
    ]
    for number, change in enumerate(changes):
        more = rows_of(120, keys=9, prefix=f"{number}-")
        stage.put(*more)
        rows += more
        stage.update(mapping, **change)
    seen = stage.wait_until_seen([text for _, text in rows])

    assert by_key(seen) == in_order(rows)
    assert {each.told["name"] for each in stage.invocations()} == {first, second}


def test_a_reshard_under_way_keeps_the_order_of_each_key(stage: Stage) -> None:
    stage.build(shard_count=2)
    function = stage.deploy("f")
    stage.map(function, BatchSize=20, ParallelizationFactor=2)
    rows: list[tuple[str, str]] = []

    def put_more() -> None:
        more = rows_of(200, keys=13, prefix=f"{len(rows)}-")
        stage.put(*more)
        rows.extend(more)

    put_more()
    left, right = [shard["ShardId"] for shard in stage.kinesis.list_shards(StreamName=stage.stream)["Shards"]]
    stage.kinesis.split_shard(StreamName=stage.stream, ShardToSplit=left, NewStartingHashKey=str(1 << 126))
    put_more()
    _wait_until_active(stage)
    low, high = _children_of(stage, left)
    put_more()
    stage.kinesis.merge_shards(StreamName=stage.stream, ShardToMerge=high, AdjacentShardToMerge=right)
    put_more()
    _wait_until_active(stage)
    [merged] = _children_of(stage, right)
    put_more()
    seen = stage.wait_until_seen([text for _, text in rows])

    assert by_key(seen) == in_order(rows)
    invocations = stage.invocations()
    assert {each.shard_id for each in invocations} == {left, right, low, high, merged}
    for parent, child in [(left, low), (left, high), (high, merged), (right, merged)]:
        assert _places(invocations, parent)[-1] < _places(invocations, child)[0]


def _wait_until_active(stage: Stage) -> None:
    def is_active() -> bool:
        summary = stage.kinesis.describe_stream_summary(StreamName=stage.stream)["StreamDescriptionSummary"]
        return bool(summary["StreamStatus"] == "ACTIVE")

    until(is_active, patience_s=PATIENCE_S)


def _children_of(stage: Stage, parent: str) -> list[str]:
    shards = stage.kinesis.list_shards(StreamName=stage.stream)["Shards"]
    return [
        shard["ShardId"]
        for shard in shards
        if parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    ]


def _places(invocations: list[Invocation], shard_id: str) -> list[int]:
    return [place for place, each in enumerate(invocations) if each.shard_id == shard_id]


def test_a_mapping_from_a_moment_sees_what_arrived_since_then(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f")
    while len(set(_arrivals_ms(stage)[-2:])) < 2:
        stage.put(*rows_of(1))
    stage.put(("k", "last"))
    *_, before_ms, moment_ms, _ = _arrivals_ms(stage)
    expected = [
        row.text
        for row, arrival_ms in zip(stage.shards()[0], _arrivals_ms(stage), strict=True)
        if arrival_ms >= moment_ms
    ]

    mapping = stage.map(function, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=moment_ms / 1000)
    stage.wait_until_done(mapping)

    assert before_ms < moment_ms
    assert [row.text for row in stage.seen()] == expected


def test_a_mapping_from_the_latest_begins_with_the_call_that_made_it(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f")
    stage.put(("k", "before"))

    stage.functions.create_event_source_mapping(
        FunctionName=function, EventSourceArn=stage.arn, StartingPosition="LATEST"
    )
    # Without a wait: the mapping is still being made.
    after = stage.put(*rows_of(30))
    seen = stage.wait_until_seen(after)

    assert [row.text for row in seen] == after


def test_a_consumer_of_the_stream_is_a_source_under_its_own_arn(stage: Stage) -> None:
    stage.build(shard_count=2)
    function = stage.deploy("f")
    consumer = stage.kinesis.register_stream_consumer(StreamARN=stage.arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    rows = rows_of(50, keys=5)

    stage.map(function, EventSourceArn=consumer)
    stage.put(*rows)
    seen = stage.wait_until_seen([text for _, text in rows])

    assert by_key(seen) == in_order(rows)
    assert {tuple(each.told["sources"]) for each in stage.invocations()} == {(consumer,)}


def test_a_function_that_is_made_again_is_handed_what_came_meanwhile(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f")
    mapping = stage.map(function)
    before = stage.put(*rows_of(10))
    stage.wait_until_seen(before)
    stage.wait_until_done(mapping)
    stage.functions.delete_function(FunctionName=function)

    meanwhile = stage.put(*rows_of(10, prefix="meanwhile-"))
    until(lambda: stage.status(mapping)["last_result"].startswith("PROBLEM: Function not found"))
    stage.deploy("f")
    seen = stage.wait_until_seen(meanwhile)

    assert [row.text for row in seen] == before + meanwhile


def test_a_stream_that_is_made_again_is_read_from_its_start(stage: Stage) -> None:
    stage.build()
    function = stage.deploy("f")
    mapping = stage.map(function)
    stage.wait_until_seen(stage.put(*rows_of(10)))
    stage.kinesis.delete_stream(StreamName=stage.stream)
    until(lambda: stage.status(mapping)["last_result"].startswith("PROBLEM: Stream not found"), patience_s=PATIENCE_S)

    stage.create_stream(stage.stream)
    anew = stage.put(*rows_of(10, prefix="anew-"))
    seen = stage.wait_until_seen(anew)

    assert [row.text for row in seen[10:]] == anew
