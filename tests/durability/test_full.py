"""A store that is full, by its own bound or by the disk's: puts are refused whole, everything else goes on."""

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from streamd.storage.inspect import check
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.durability.loads import Acknowledged, read_back

BALLAST_MIB = 40
RECORD = bytes(500_000)
PUT_COUNT_MAX = 2_000
LOOK_COUNT_MAX = 20_000


@pytest.mark.parametrize("worker_count", [1, 3])
def test_a_store_at_its_size_limit_refuses_puts_until_a_stream_is_deleted(
    daemon_factory: DaemonFactory, tmp_path: Path, worker_count: int
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", str(worker_count), "--size-max-gib", "0.02", data=data)
    client = daemon.client()
    client.create_stream(StreamName="kept", ShardCount=2)
    client.create_stream(StreamName="deleted", ShardCount=1)
    kept = _put(client, "kept", 4)
    refusal = _fill(client, "deleted")

    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert refusal["Error"] == {
        "Code": "InternalFailureException",
        "Message": "Nothing was stored: the store has reached its size limit.",
    }
    for _ in range(5):
        assert _is_refused(client, "kept")
    _everything_else_goes_on(client, daemon, kept)

    client.delete_stream(StreamName="deleted")
    kept += _put_once_there_is_room(client, "kept")
    kept += _put(client, "kept", 4)

    _is_stored_as_acknowledged(client, "kept", kept)
    daemon.stop()
    assert check(data, progress=lambda _done, _total: None).faults == []
    again = daemon_factory(data=data)
    _is_stored_as_acknowledged(again.client(), "kept", kept)
    assert "Traceback" not in daemon.log.read_text()


def test_a_store_at_its_size_limit_takes_puts_again_when_it_is_given_more(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--size-max-gib", "0.02", data=data)
    daemon.client().create_stream(StreamName="kept", ShardCount=1)
    kept = _put(daemon.client(), "kept", 4)
    _fill(daemon.client(), "kept")
    daemon.stop()

    lower = daemon_factory("--size-max-gib", "0.01", data=data)
    assert _is_refused(lower.client(), "kept")
    lower.stop()
    higher = daemon_factory("--size-max-gib", "0.04", data=data)
    _put(higher.client(), "kept", 4)

    found = read_back(higher.client(), "kept")
    assert {record.sequence_number for record in found["shardId-000000000000"]} >= {k.sequence_number for k in kept}


def test_a_put_larger_than_the_room_that_is_left_stores_nothing_of_itself(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory("--size-max-gib", "0.005", data=tmp_path / "data")
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=4)
    records = [{"Data": RECORD, "PartitionKey": str(place)} for place in range(15)]

    with pytest.raises(ClientError, match="size limit"):
        client.put_records(StreamName="s", Records=records)

    assert [records for records in read_back(client, "s").values() if records] == []
    client.put_records(StreamName="s", Records=records[:2])
    assert sum(map(len, read_back(client, "s").values())) == 2


@pytest.mark.parametrize("worker_count", [1, 3])
def test_a_full_disk_refuses_puts_until_there_is_room_and_loses_nothing(
    daemon_factory: DaemonFactory, disk: Path, worker_count: int
) -> None:
    data = disk / "data"
    ballast = disk / "ballast"
    # Its temporary files lie on the full disk too, as they would on a machine with one disk, and so do the counters
    # that limits need.
    environment = {"TMPDIR": str(disk)}
    flags = ("--workers", str(worker_count), "--limits", "shadow")
    daemon = daemon_factory(*flags, data=data, environment=environment)
    client = daemon.client()
    client.create_stream(StreamName="kept", ShardCount=2)
    kept = _put(client, "kept", 4)
    ballast.write_bytes(bytes(BALLAST_MIB << 20))
    refusal = _fill(client, "kept", kept)

    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert refusal["Error"] == {
        "Code": "InternalFailureException",
        "Message": "Nothing was stored: the disk that holds the data directory is full.",
    }
    for _ in range(5):
        _is_refused(client, "kept")
    _everything_else_goes_on(client, daemon, kept)

    ballast.unlink()
    kept += _put_once_there_is_room(client, "kept")
    kept += _put(client, "kept", 10)

    _is_stored_as_acknowledged(client, "kept", kept)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()
    assert "ended with status" not in daemon.log.read_text()
    assert check(data, progress=lambda _done, _total: None).faults == []
    again = daemon_factory(*flags, data=data)
    _is_stored_as_acknowledged(again.client(), "kept", kept)
    again.stop()


def test_a_daemon_that_is_killed_on_a_full_disk_starts_there_and_has_everything(
    daemon_factory: DaemonFactory, disk: Path
) -> None:
    data = disk / "data"
    daemon = daemon_factory("--workers", "3", data=data)
    daemon.client().create_stream(StreamName="kept", ShardCount=2)
    kept = _put(daemon.client(), "kept", 4)
    _fill(daemon.client(), "kept", kept)

    daemon.kill()
    again = daemon_factory("--workers", "3", data=data)

    _everything_else_goes_on(again.client(), again, kept)
    _is_stored_as_acknowledged(again.client(), "kept", kept)
    assert again.stop() == 0


def _put(client: Any, stream_name: str, count: int) -> list[Acknowledged]:
    return [_put_one(client, stream_name) for _ in range(count)]


def _put_one(client: Any, stream_name: str) -> Acknowledged:
    """Put a record of about half a megabyte that no other equals."""
    data = os.urandom(16) + RECORD
    key = data[:4].hex()
    answer = client.put_record(StreamName=stream_name, PartitionKey=key, Data=data)
    return Acknowledged(answer["ShardId"], answer["SequenceNumber"], key, data)


def _fill(client: Any, stream_name: str, kept: list[Acknowledged] | None = None) -> dict[str, Any]:
    """Put until the store refuses; the refusal. What was acknowledged is added to ``kept``."""
    for _ in range(PUT_COUNT_MAX):
        try:
            acknowledged = _put_one(client, stream_name)
        except ClientError as error:
            return dict(error.response)
        if kept is not None:
            kept.append(acknowledged)
    raise AssertionError("the store never was full")


def _is_refused(client: Any, stream_name: str) -> bool:
    try:
        _put_one(client, stream_name)
    except ClientError as error:
        _require_internal_failure(error)
        return True
    return False


def _require_internal_failure(error: ClientError) -> None:
    assert error.response["Error"]["Code"] == "InternalFailureException"


def _put_once_there_is_room(client: Any, stream_name: str) -> list[Acknowledged]:
    """Put again and again until one is taken."""
    for _ in range(LOOK_COUNT_MAX):
        try:
            return [_put_one(client, stream_name)]
        except ClientError as error:
            _require_internal_failure(error)
    raise AssertionError("puts never worked again")


def _everything_else_goes_on(client: Any, daemon: Daemon, kept: list[Acknowledged]) -> None:
    """Read, describe and look at every page while nothing can be put."""
    found = read_back(client, "kept")
    for acknowledged in kept:
        numbers = {record.sequence_number for record in found[acknowledged.shard_id]}
        assert acknowledged.sequence_number in numbers
    assert client.describe_stream(StreamName="kept")["StreamDescription"]["StreamStatus"] == "ACTIVE"
    assert "kept" in client.list_streams()["StreamNames"]
    assert client.describe_stream_summary(StreamName="kept")
    assert daemon.page("/healthz").status == 200
    assert daemon.page("/metrics").status == 200


def _is_stored_as_acknowledged(client: Any, stream_name: str, kept: list[Acknowledged]) -> None:
    found = read_back(client, stream_name)
    stored = [
        Acknowledged(shard_id, record.sequence_number, record.partition_key, record.data)
        for shard_id, records in found.items()
        for record in records
    ]
    assert {record.data for record in stored} == {record.data for record in kept}
    assert set(stored) == set(kept)
    assert len(stored) == len(kept)
