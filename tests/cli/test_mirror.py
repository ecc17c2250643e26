"""`streamd mirror`: copies between real daemons, in processes that are killed, and from what is no streamd."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.cli.shell import Shell, run_program
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.kinesis.calls import records_of
from tests.workers.wire import until

PATIENCE_S = 90
# The shards of a mirror that was killed are taken over a second later.
QUICK = ("--member-timeout", "1")


def fill(kinesis: Any, stream: str, numbers: range, *, keys: int = 7) -> None:
    for start in range(numbers.start, numbers.stop, 500):
        part = range(start, min(start + 500, numbers.stop))
        records = [{"PartitionKey": f"key-{number % keys}", "Data": b"%d" % number} for number in part]
        answer = kinesis.put_records(StreamName=stream, Records=records)
        assert answer["FailedRecordCount"] == 0


def by_key(kinesis: Any, stream: str) -> dict[str, list[int]]:
    """Read a stream: the numbers of each key, in order of the shards' ids and of their records."""
    found: dict[str, list[int]] = {}
    for record in records_of(kinesis, stream):
        found.setdefault(record["PartitionKey"], []).append(int(record["Data"]))
    return found


def numbers_of(count: int, *, keys: int = 7) -> dict[str, list[int]]:
    return {f"key-{key}": list(range(key, count, keys)) for key in range(keys)}


def test_a_stream_is_copied_whole_and_a_second_run_copies_only_what_is_new(
    shell: Shell, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=3)
    fill(kinesis, stream_name, range(2000))
    copy = f"{stream_name}-copy"

    first = shell.at("mirror", stream_name, copy, "--create", "--no-follow")
    fill(kinesis, stream_name, range(2000, 2100))
    second = shell.at("mirror", stream_name, copy, "--no-follow")

    assert (first.status, first.out) == (0, f"{copy}: 2,000 records copied, 6.7 KiB\n")
    assert (second.status, second.out) == (0, f"{copy}: 100 records copied, 400 bytes\n")
    assert by_key(kinesis, copy) == numbers_of(2100)
    assert kinesis.describe_stream_summary(StreamName=copy)["StreamDescriptionSummary"]["OpenShardCount"] == 3


def test_records_that_the_kpl_packed_stay_packed(shell: Shell, kinesis: Any, stream_name: str) -> None:
    aggregator = pytest.importorskip("aws_kinesis_agg.aggregator")
    packer = aggregator.RecordAggregator()
    for number in range(3):
        packer.add_user_record(f"key-{number}", b"data")
    _, _, packed = packer.clear_and_get().get_contents()
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.put_record(StreamName=stream_name, PartitionKey="a", Data=packed)

    shell.at("mirror", stream_name, f"{stream_name}-copy", "--create", "--no-follow")

    assert [record["Data"] for record in records_of(kinesis, f"{stream_name}-copy")] == [packed]


def test_mirrors_that_are_killed_lose_nothing_and_keep_each_keys_order(
    daemon_factory: DaemonFactory, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    other = daemon_factory()
    there = other.client()
    there.create_stream(StreamName="copy", ShardCount=2)
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    total = 6000

    for round_number in range(3):
        fill(kinesis, stream_name, range(round_number * 2000, (round_number + 1) * 2000))
        if round_number == 1:
            kinesis.update_shard_count(StreamName=stream_name, TargetShardCount=3, ScalingType="UNIFORM_SCALING")
        seen = len(records_of(there, "copy"))
        with _begin(daemon, other, stream_name) as process:
            _wait_for_more(there, seen)
            process.send_signal(signal.SIGKILL)
    last = run_program(
        "mirror", stream_name, "copy", "--endpoint", daemon.url, "--to", other.url, "--no-follow", *QUICK
    )

    assert last.status == 0, last.err
    found = by_key(there, "copy")
    # A batch in hand at a kill comes again, whole and in order: what is new in each run grows.
    assert {key: sorted(set(numbers)) for key, numbers in found.items()} == numbers_of(total)
    for numbers in found.values():
        firsts = [number for place, number in enumerate(numbers) if number not in numbers[:place]]
        assert firsts == sorted(firsts)


def test_a_mirror_that_is_told_to_stop_ends_well(
    daemon_factory: DaemonFactory, daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    other = daemon_factory()
    there = other.client()
    there.create_stream(StreamName="copy", ShardCount=1)
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    fill(kinesis, stream_name, range(10))
    with _begin(daemon, other, stream_name) as process:
        _wait_for_more(there, 9)

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out, err) == (0, b"copy: 10 records copied, 10 bytes\n", b"")


def test_a_source_that_is_no_streamd_needs_a_file_and_is_resumed_from_it(
    shell: Shell, moto_url: str, kinesis: Any, stream_name: str, tmp_path: Path
) -> None:
    source = boto3.client(
        "kinesis",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret-for-tests-only",
        config=Config(retries={"total_max_attempts": 1}),
    )
    source.create_stream(StreamName=stream_name, ShardCount=2)
    fill(source, stream_name, range(50))
    flags = ("mirror", stream_name, stream_name, "--endpoint", moto_url, "--to", shell.url, "--create", "--no-follow")

    refused = shell(*flags)
    first = shell(*flags, "--state", str(tmp_path / "places.sqlite"))
    fill(source, stream_name, range(50, 60))
    second = shell(*flags, "--state", str(tmp_path / "places.sqlite"))

    assert refused.status == 1
    assert "--state FILE" in refused.err
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert [said.out.split(": ")[1].split(" ")[0] for said in (first, second)] == ["50", "10"]
    assert by_key(kinesis, stream_name) == numbers_of(60)


@pytest.mark.parametrize(
    ("flags", "status", "reason"),
    [
        (["STREAM", "STREAM"], 2, "are the same stream"),
        (["STREAM", "other", "--from", "12345"], 2, "a number is one shard's"),
        (["STREAM", "other", "--group", "g", "--state", "x"], 2, "exclude each other"),
        (["STREAM", "nowhere"], 1, "ResourceNotFoundException"),
    ],
)
def test_what_cannot_be_mirrored_is_told(
    shell: Shell, kinesis: Any, stream_name: str, flags: list[str], status: int, reason: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    said = shell.at("mirror", *[stream_name if flag == "STREAM" else flag for flag in flags], "--no-follow")

    assert (said.status, said.out) == (status, "")
    assert reason in said.err


def _wait_for_more(kinesis: Any, count: int) -> None:
    until(lambda: len(records_of(kinesis, "copy")) > count, patience_s=PATIENCE_S)


def _begin(daemon: Daemon, other: Daemon, stream: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "streamd",
        "mirror",
        stream,
        "copy",
        "--endpoint",
        daemon.url,
        "--to",
        other.url,
        *QUICK,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
