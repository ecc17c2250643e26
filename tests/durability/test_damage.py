"""What the disk may do to the data: the damage is named, never served, and all that is whole goes on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.durability.commands import inspect_data, serve_in_vain
from tests.durability.golden_data import goldens
from tests.durability.loads import read_back, read_shard
from tests.workers.wire import until

BLOCK_COUNT = 6
RECORD_COUNT = 3
DAMAGED = 3
# In the one shard that is damaged; the other one holds the same records.
SHARD_ID, OTHER_SHARD_ID = "shardId-000000000000", "shardId-000000000001"
HASH_KEYS = {SHARD_ID: "0", OTHER_SHARD_ID: str((1 << 128) - 1)}


def _fill(daemon: Daemon, *, is_encrypted: bool = False) -> list[list[dict[str, str]]]:
    """Put six blocks of three records to each of two shards; the answers for the first shard's, by block."""
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=2)
    if is_encrypted:
        client.start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    answers = []
    for block in range(BLOCK_COUNT):
        for shard_id, hash_key in HASH_KEYS.items():
            records = [
                {"Data": _data(shard_id, block, n), "PartitionKey": "k", "ExplicitHashKey": hash_key}
                for n in range(RECORD_COUNT)
            ]
            answer = client.put_records(StreamName="s", Records=records)
            if shard_id == SHARD_ID:
                answers.append(answer["Records"])
        _await_next_ms()
    return answers


def _data(shard_id: str, block: int, record: int) -> bytes:
    return b"%s/block-%d/record-%d/" % (shard_id.encode(), block, record) + bytes(2000)


def _flip(data: Path, place: bytes) -> None:
    """Flip one bit of the only place in the data file that holds these bytes."""
    file = data / "log" / "data.mdb"
    content = bytearray(file.read_bytes())
    assert content.count(place) == 1
    content[content.index(place) + 1] ^= 1
    file.write_bytes(content)


def _await_next_ms() -> None:
    start_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == start_ms:
        pass


def _iterator(client: Any, kind: str, **place: Any) -> str:
    answer = client.get_shard_iterator(StreamName="s", ShardId=SHARD_ID, ShardIteratorType=kind, **place)
    return str(answer["ShardIterator"])


def test_a_damaged_block_is_named_and_all_around_it_is_served(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    answers = _fill(daemon)
    whole = read_back(daemon.client(), "s")
    arrivals = [
        record["ApproximateArrivalTimestamp"]
        for record in daemon.client().get_records(ShardIterator=_iterator(daemon.client(), "TRIM_HORIZON"))["Records"]
    ]
    daemon.stop()
    _flip(data, b"%s/block-%d/record-1/" % (SHARD_ID.encode(), DAMAGED))
    client = daemon_factory(data=data).client()
    rest = whole[SHARD_ID][(DAMAGED + 1) * RECORD_COUNT :]

    first = client.get_records(ShardIterator=_iterator(client, "TRIM_HORIZON"))
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            client.get_records(ShardIterator=first["NextShardIterator"])
        assert caught.value.response["Error"]["Code"] == "InternalFailureException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        message = caught.value.response["Error"]["Message"]
        assert SHARD_ID in message
        assert f"position {1 + DAMAGED * RECORD_COUNT}" in message

    # What lies in front, with an honest word on how far behind that is; what lies behind; and the other shard.
    assert [record["Data"] for record in first["Records"]] == [r.data for r in whole[SHARD_ID]][
        : DAMAGED * RECORD_COUNT
    ]
    last_damaged = answers[DAMAGED][-1]["SequenceNumber"]
    first_behind = answers[DAMAGED + 1][0]["SequenceNumber"]
    for place in (
        _iterator(client, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=last_damaged),
        _iterator(client, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=first_behind),
        _iterator(client, "AT_TIMESTAMP", Timestamp=arrivals[(DAMAGED + 1) * RECORD_COUNT]),
    ):
        assert read_shard(client, place) == rest
    other = client.get_shard_iterator(StreamName="s", ShardId=OTHER_SHARD_ID, ShardIteratorType="TRIM_HORIZON")
    assert read_shard(client, other["ShardIterator"]) == whole[OTHER_SHARD_ID]
    client.put_record(StreamName="s", Data=b"more", PartitionKey="k", ExplicitHashKey=HASH_KEYS[SHARD_ID])
    assert read_shard(client, place)[-1].data == b"more"


def test_a_damaged_block_of_an_encrypted_stream_is_named_too(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    _fill(daemon, is_encrypted=True)
    daemon.stop()
    file = data / "log" / "data.mdb"
    content = bytearray(file.read_bytes())
    assert b"block-1/record-1" not in content
    report = orjson.loads(inspect_data("check", data, "--json").stdout)
    assert report["faults"] == []

    # Nothing in the clear tells where a sealed block lies, so a byte in the middle of the file is flipped until the
    # check notices one: free pages and LMDB's own are passed over.
    for offset in range(len(content) // 2, len(content), 512):
        content[offset] ^= 1
        file.write_bytes(content)
        report = orjson.loads(inspect_data("check", data, "--json").stdout)
        if any("checksum" in fault["reason"] for fault in report["faults"]):
            break
        content[offset] ^= 1
    (fault,) = report["faults"]
    shard_id = fault["place"].split("/")[1].split(" ")[0]
    file.write_bytes(content)
    client = daemon_factory(data=data).client()

    place = client.get_shard_iterator(StreamName="s", ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    with pytest.raises(ClientError, match="InternalFailureException") as caught:
        read_shard(client, place["ShardIterator"])
    position = fault["place"].rpartition(" ")[2]
    assert f"{shard_id} cannot be read at position {position}" in caught.value.response["Error"]["Message"]


def test_the_check_names_the_damage_and_ends_with_one(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    _fill(daemon)
    beside = inspect_data("check", data)
    daemon.stop()
    after = inspect_data("check", data, "--json")
    _flip(data, b"%s/block-%d/record-1/" % (SHARD_ID.encode(), DAMAGED))

    people = inspect_data("check", data)
    program = inspect_data("check", data, "--json")
    counts = inspect_data("stats", data, "--json")

    assert (beside.returncode, after.returncode) == (0, 0)
    assert "no fault" in beside.stdout
    assert (people.returncode, program.returncode, counts.returncode) == (1, 1, 0)
    place = f"s/{SHARD_ID} at position {1 + DAMAGED * RECORD_COUNT}"
    assert place in people.stdout
    assert "checksum does not match" in people.stdout
    report = orjson.loads(program.stdout)
    assert report["faults"] == [{"place": place, "reason": "the block's checksum does not match"}]
    assert report["record_count"] == 2 * BLOCK_COUNT * RECORD_COUNT
    assert [shard["record_count"] for shard in orjson.loads(counts.stdout)] == [BLOCK_COUNT * RECORD_COUNT] * 2


def _halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _meta_pages_only(content: bytes) -> bytes:
    return content[:8192]


def _other_content(content: bytes) -> bytes:
    return b"no log at all\n" * (len(content) // 14)


def _other_pages(content: bytes) -> bytes:
    return content[:8192] + b"\xa5" * (len(content) - 8192)


def _emptied(_content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("spoil", [_halved, _meta_pages_only, _other_content, _other_pages, _emptied])
def test_a_log_that_is_no_longer_one_is_refused_with_a_sentence(
    daemon_factory: DaemonFactory, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    for _ in range(4):
        client.put_record(StreamName="s", Data=bytes(1_000_000), PartitionKey="k")
    daemon.stop()
    file = data / "log" / "data.mdb"
    file.write_bytes(spoil(file.read_bytes()))

    for refused in (serve_in_vain(data, "--workers", "2"), inspect_data("check", data)):
        assert refused.returncode == 1
        assert str(data / "log") in refused.stderr
        assert "Traceback" not in refused.stderr
        assert refused.stdout == ""


def test_a_log_whose_file_is_gone_is_not_silently_made_anew(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    data = tmp_path / "data"
    daemon_factory(data=data).stop()
    (data / "log" / "data.mdb").unlink()

    refused = serve_in_vain(data)

    assert refused.returncode == 1
    assert "is missing" in refused.stderr
    assert not (data / "log" / "data.mdb").exists()


def test_a_log_cut_short_by_a_little_is_found_out_and_kills_nobody(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory(data=data)
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    for _ in range(4):
        client.put_record(StreamName="s", Data=b"\xff" * 100_000, PartitionKey="k")
    daemon.stop()
    file = data / "log" / "data.mdb"
    content = file.read_bytes()

    for sixteenths in (3, 8, 14):
        file.write_bytes(content[: len(content) * sixteenths // 16])
        checked = inspect_data("check", data)

        # A status below 0 would be the signal by which the kernel ends who reads past the end of a mapped file.
        assert checked.returncode == 1
        assert "Traceback" not in checked.stderr


def test_a_damaged_page_stops_neither_the_daemon_nor_other_streams(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = goldens()[0].unpack(tmp_path)
    log = data / "log" / "data.mdb"
    content = bytearray(log.read_bytes())
    # In the golden directory of format 1, which never changes: how long the key of a shard is.
    content[61_486] ^= 1 << 3
    log.write_bytes(content)

    daemon = daemon_factory("--workers", "2", data=data)
    workers = daemon.worker_pids()
    until(lambda: "tidying was cut short: the log's pages are damaged" in daemon.log.read_text())
    daemon.client().create_stream(StreamName="new", ShardCount=1)
    daemon.client().put_record(StreamName="new", Data=b"x", PartitionKey="k")

    assert read_back(daemon.client(), "new")["shardId-000000000000"][0].data == b"x"
    assert daemon.worker_pids() == workers
    assert "Traceback" not in daemon.log.read_text()
