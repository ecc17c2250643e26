"""Streams fed to deployed functions by a real daemon: order, filters, failures, reshards, changes, and kill -9."""

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, client_of
from tests.functions.lambdas import deploy, lambda_client
from tests.workers.wire import until

# Prints a line for each record before anything else, then fails on what it is told to fail on.
HANDLER = """
import base64, json
def handler(event, context):
    lines, failed = [], []
    for record in event["Records"]:
        kinesis = record["kinesis"]
        text = base64.b64decode(kinesis["data"]).decode()
        lines.append(" ".join(["SAW", record["eventID"].partition(":")[0], kinesis["partitionKey"], text]))
        if "poison" in text:
            failed.append(kinesis["sequenceNumber"])
    print("\\n".join(lines))
    if failed and REPORTS:
        return {"batchItemFailures": [{"itemIdentifier": failed[0]}]}
    if failed:
        raise ValueError("poison")
"""
KILL_COUNT = int(os.environ.get("STREAMD_KILL_COUNT", "30"))


def handler(*, reports: bool = False) -> str:
    return f"REPORTS = {reports}\n{HANDLER}"


def seen(daemon: Daemon, name: str) -> list[tuple[str, str, str]]:
    """Tell what a function printed of each record: shard, key and text, in the order of the log."""
    pages = (
        lambda_client(daemon, "logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"/aws/lambda/{name}", filterPattern="SAW")
    )
    messages = [event["message"].strip() for page in pages for event in page["events"]]
    lines = [message.split(" ", 3) for message in messages if message.startswith("SAW ")]
    return [(shard, key, text) for _, shard, key, text in lines]


def texts(daemon: Daemon, name: str) -> list[str]:
    return [text for _, _, text in seen(daemon, name)]


def has_seen(daemon: Daemon, name: str, count: int) -> bool:
    return len(seen(daemon, name)) >= count


def put(kinesis: Any, stream: str, records: list[tuple[str, str]]) -> None:
    """Put keys and texts, in order, and see that each was taken."""
    for first in range(0, len(records), 500):
        entries = [{"PartitionKey": key, "Data": text.encode()} for key, text in records[first : first + 500]]
        assert kinesis.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


def create(client: Any, name: str, source: str, **members: Any) -> str:
    answer = client.create_event_source_mapping(
        **{"FunctionName": name, "EventSourceArn": source, "StartingPosition": "TRIM_HORIZON", **members}
    )
    mapping = str(answer["UUID"])
    until(lambda: client.get_event_source_mapping(UUID=mapping)["State"] == "Enabled")
    return mapping


def stream(kinesis: Any, name: str, *, shards: int = 1) -> str:
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return str(kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"])


def records_of(kinesis: Any, name: str) -> list[Any]:
    """Read a stream of one shard from its start."""
    [shard] = kinesis.list_shards(StreamName=name)["Shards"]
    asked = {"StreamName": name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    answer = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**asked)["ShardIterator"])
    return list(answer["Records"])


def test_records_of_a_key_come_in_order_in_parallel_lanes(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name, shards=2)
    create(functions, name, source, ParallelizationFactor=4, BatchSize=7)

    put(kinesis, stream_name, [(f"k{number % 11}", str(number)) for number in range(1000)])

    until(lambda: len(seen(daemon, name)) >= 1000)
    numbers_by_key = defaultdict(list)
    for _, key, text in seen(daemon, name):
        numbers_by_key[key].append(int(text))
    assert sum(map(len, numbers_by_key.values())) == 1000
    assert all(numbers == sorted(numbers) for numbers in numbers_by_key.values())


def test_only_records_that_a_filter_takes_reach_the_function(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name)
    pattern = json.dumps({"data": {"lang": ["en"], "likes": [{"numeric": [">", 10]}]}})
    create(functions, name, source, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    posts = [{"lang": lang, "likes": likes} for lang in ("en", "de") for likes in (5, 50)]

    put(kinesis, stream_name, [("k", json.dumps(post)) for post in posts] + [("k", "no json")])

    until(lambda: bool(seen(daemon, name)))
    assert [json.loads(text) for text in texts(daemon, name)] == [{"lang": "en", "likes": 50}]


def test_a_poison_record_is_isolated_and_told_to_the_destination(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name)
    failures = stream(kinesis, f"{stream_name}-failures")
    put(kinesis, stream_name, [("k", "poison" if number == 5 else str(number)) for number in range(10)])

    mapping = create(
        functions,
        name,
        source,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": failures}},
    )

    until(lambda: bool(records_of(kinesis, f"{stream_name}-failures")))
    [record] = records_of(kinesis, f"{stream_name}-failures")
    told = json.loads(record["Data"])
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert told["KinesisBatchInfo"]["batchSize"] == 1
    assert told["KinesisBatchInfo"]["streamArn"] == source
    # The nine others were each in a batch that went well.
    until(lambda: texts(daemon, name)[-1] == "9")
    assert set(texts(daemon, name)) == {"poison", *(str(number) for number in range(10) if number != 5)}
    functions.delete_event_source_mapping(UUID=mapping)


def test_what_comes_before_a_reported_failure_is_not_repeated(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler(reports=True))
    source = stream(kinesis, stream_name)
    put(kinesis, stream_name, [("k", text) for text in ("a", "b", "poison", "c")])

    create(
        functions,
        name,
        source,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True,
    )

    until(lambda: texts(daemon, name).count("c") >= 1 and texts(daemon, name)[-1] == "c")
    counts = Counter(texts(daemon, name))
    assert (counts["a"], counts["b"]) == (1, 1)
    assert counts["poison"] >= 2


def test_children_of_a_split_and_a_merge_come_after_their_parents(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name)
    create(functions, name, source, BatchSize=10)
    expected = []
    for round_number, shard_count in enumerate((2, 4, 2, 1)):
        batch = [(f"k{number % 7}", f"{round_number}-{number}") for number in range(100)]
        put(kinesis, stream_name, batch)
        expected += batch
        kinesis.update_shard_count(StreamName=stream_name, TargetShardCount=shard_count, ScalingType="UNIFORM_SCALING")
        kinesis.get_waiter("stream_exists").wait(StreamName=stream_name)
    put(kinesis, stream_name, [("k0", "last")])
    expected.append(("k0", "last"))

    until(lambda: len(seen(daemon, name)) >= len(expected))

    by_key = defaultdict(list)
    for _, key, text in seen(daemon, name):
        by_key[key].append(text)
    wanted = defaultdict(list)
    for key, text in expected:
        wanted[key].append(text)
    assert by_key == wanted


def test_a_mapping_that_is_stopped_changed_and_started_replays_nothing(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name)
    mapping = create(functions, name, source)
    put(kinesis, stream_name, [("k", "1"), ("k", "2")])
    until(lambda: len(seen(daemon, name)) == 2)

    for members in ({"Enabled": False}, {"BatchSize": 5}, {"Enabled": True}, {"ParallelizationFactor": 3}):
        functions.update_event_source_mapping(UUID=mapping, **members)
        until(lambda: functions.get_event_source_mapping(UUID=mapping)["State"] in ("Enabled", "Disabled"))
        put(kinesis, stream_name, [("k", json.dumps(members))])

    until(lambda: len(seen(daemon, name)) == 6)
    assert texts(daemon, name) == [
        "1",
        "2",
        *(
            json.dumps(m)
            for m in ({"Enabled": False}, {"BatchSize": 5}, {"Enabled": True}, {"ParallelizationFactor": 3})
        ),
    ]


def test_a_registered_consumer_is_a_source_too(
    functions: Any, name: str, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    deploy(functions, name, handler())
    source = stream(kinesis, stream_name)
    consumer = kinesis.register_stream_consumer(StreamARN=source, ConsumerName="c")["Consumer"]["ConsumerARN"]
    create(functions, name, consumer, StartingPosition="LATEST")

    put(kinesis, stream_name, [("k", "pushed")])

    until(lambda: texts(daemon, name) == ["pushed"])


def test_a_stream_elsewhere_is_a_source_by_an_endpoint(
    daemon_factory: Callable[..., Daemon], daemon: Daemon, kinesis: Any, stream_name: str, tmp_path: Path
) -> None:
    source = stream(kinesis, stream_name).replace("000000000000", "111111111111")
    settings = tmp_path / "functions.toml"
    settings.write_text(f'[[endpoint]]\narn = "arn:aws:kinesis:*:111111111111:*"\nendpoint_url = "{daemon.url}"\n')
    near = daemon_factory("--functions-config", str(settings))
    client = lambda_client(near)
    deploy(client, "f", handler())
    create(client, "f", source)

    put(kinesis, stream_name, [("k", "from afar")])

    until(lambda: texts(near, "f") == ["from afar"])


@pytest.mark.timeout(600)
def test_no_record_is_missed_when_the_daemon_is_killed_in_the_middle_of_batches(
    daemon_factory: Callable[..., Daemon], tmp_path: Path
) -> None:
    chance = random.Random(7)
    data = tmp_path / "killed"
    daemon = daemon_factory(data=data)
    client, kinesis = lambda_client(daemon), client_of(daemon.url)
    deploy(client, "f", handler(), MemorySize=256)
    source = stream(kinesis, "s", shards=2)
    create(client, "f", source, BatchSize=10, ParallelizationFactor=2)
    count = 0
    batch_count_max = 2 * 2

    for _ in range(KILL_COUNT):
        put(kinesis, "s", [(f"k{number % 13}", str(number)) for number in range(count, count + 200)])
        count += 200
        done = min(count, len(seen(daemon, "f")) + chance.randrange(10, 120))
        until(partial(has_seen, daemon, "f", done))
        daemon.kill()
        daemon = daemon_factory(data=data)
        kinesis = client_of(daemon.url)

    until(lambda: len(set(texts(daemon, "f"))) >= count, patience_s=120)
    times = Counter(texts(daemon, "f"))
    assert set(times) == {str(number) for number in range(count)}
    # What was in hand at a kill may come again: a batch for each lane, at each kill.
    assert sum(times.values()) - count <= KILL_COUNT * batch_count_max * 10
    first_by_key = defaultdict(list)
    met = set()
    for _, key, text in seen(daemon, "f"):
        if text not in met:
            met.add(text)
            first_by_key[key].append(int(text))
    assert all(numbers == sorted(numbers) for numbers in first_by_key.values())
