"""`streamd data backup` beside a daemon under load, and `restore`: one moment of everything, or nothing at all."""

import shutil
import stat
import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from streamd.core.sequence_numbers import parse
from streamd.storage.backup import copy_data
from streamd.storage.environment import Environment
from streamd.storage.inspect import check
from tests.cli.shell import Shell
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.durability.commands import serve_in_vain
from tests.durability.loads import Load, read_back, running_load
from tests.functions.lambdas import deploy, lambda_client
from tests.workers.wire import until

BACKUP_COUNT = 2
ACKNOWLEDGED_BETWEEN = 150


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Give a shell whose commands need no server."""
    return Shell(capsys, "")


def test_a_backup_under_load_holds_all_that_was_acknowledged_before_it(
    shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory("--workers", "2")
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=2)
    client.start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    known_at: list[Load] = []

    with running_load(daemon.url, "s", producer_count=3) as load:
        for number in range(BACKUP_COUNT):
            load.wait_for_more(ACKNOWLEDGED_BETWEEN)
            known = Load(daemon.url, "s", acknowledged=list(load.acknowledged))
            made = shell("data", "backup", str(daemon.data), str(tmp_path / f"backup-{number}"), "--json")
            assert made.status == 0, made.err
            assert made.json()["faults"] == []
            known.tried = set(load.tried)
            known_at.append(known)
    load.verify(read_back(client, "s"))
    daemon.stop()

    for number, known in enumerate(known_at):
        place = tmp_path / f"restored-{number}"
        assert shell("data", "restore", str(tmp_path / f"backup-{number}"), str(place)).status == 0
        again = daemon_factory(data=place)
        known.verify(read_back(again.client(), "s"))
        again.stop()


def test_a_restored_directory_goes_on_where_the_backup_ended(
    shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    first = client.put_record(StreamName="s", Data=b"first", PartitionKey="k")
    place = client.get_shard_iterator(
        StreamName="s",
        ShardId=first["ShardId"],
        ShardIteratorType="AFTER_SEQUENCE_NUMBER",
        StartingSequenceNumber=first["SequenceNumber"],
    )["ShardIterator"]
    _deploy(daemon)
    assert shell("data", "backup", str(daemon.data), str(tmp_path / "backup")).status == 0
    daemon.stop()
    shutil.rmtree(daemon.data)

    assert shell("data", "restore", str(tmp_path / "backup"), str(daemon.data)).status == 0
    again = daemon_factory(data=daemon.data)
    second = again.client().put_record(StreamName="s", Data=b"second", PartitionKey="k")

    assert int(second["SequenceNumber"]) > int(first["SequenceNumber"])
    # The secret that iterators are signed with came along, and so did the function's code.
    answer = again.client().get_records(ShardIterator=place)
    assert [record["Data"] for record in answer["Records"]] == [b"second"]
    invoked = lambda_client(again).invoke(FunctionName="f", Payload=b'{"a": 1}')
    assert orjson.loads(invoked["Payload"].read()) == {"a": 1}


def test_places_of_records_that_a_restore_lost_are_refused_and_skip_nothing(
    shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    kept = client.put_record(StreamName="s", Data=b"kept", PartitionKey="k")
    assert shell("data", "backup", str(daemon.data), str(tmp_path / "backup")).status == 0
    lost = [client.put_record(StreamName="s", Data=b"lost", PartitionKey="k") for _ in range(4)]
    iterator = partial(client.get_shard_iterator, StreamName="s", ShardId=kept["ShardId"])
    ahead = iterator(ShardIteratorType="LATEST")["ShardIterator"]
    daemon.stop()
    shutil.rmtree(daemon.data)
    # What is put after the restore arrives in a later second than what was lost.
    last = parse(lost[-1]["SequenceNumber"])
    assert last is not None
    until(lambda: time.time() >= last.arrival_s + 1)

    assert shell("data", "restore", str(tmp_path / "backup"), str(daemon.data)).status == 0
    again = daemon_factory(data=daemon.data).client()
    found = again.put_record(StreamName="s", Data=b"found", PartitionKey="k")

    iterator = partial(again.get_shard_iterator, StreamName="s", ShardId=kept["ShardId"])
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        for record in lost:
            with pytest.raises(ClientError, match="invalid because it did not come from this stream"):
                iterator(ShardIteratorType=kind, StartingSequenceNumber=record["SequenceNumber"])
    with pytest.raises(ClientError, match="Invalid ShardIterator"):
        again.get_records(ShardIterator=ahead)
    place = iterator(ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=kept["SequenceNumber"])
    assert [r["Data"] for r in again.get_records(ShardIterator=place["ShardIterator"])["Records"]] == [b"found"]
    place = iterator(ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=found["SequenceNumber"])
    assert [r["Data"] for r in again.get_records(ShardIterator=place["ShardIterator"])["Records"]] == [b"found"]


def test_a_backup_is_as_private_as_the_data_and_holds_nothing_that_is_made_anew(
    shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    daemon.client().start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    _iterator(daemon.client())
    _deploy(daemon)
    backup = tmp_path / "backup"
    backup.mkdir(mode=0o755)

    assert shell("data", "backup", str(daemon.data), str(backup)).status == 0

    (package,) = (daemon.data / "functions" / "code").glob("*.zip")
    modes = {str(path.relative_to(backup)): stat.S_IMODE(path.stat().st_mode) for path in [backup, *backup.rglob("*")]}
    files = {name: mode for name, mode in modes.items() if not (backup / name).is_dir()}
    assert set(files) - {name for name in files if name.startswith("functions/logs/")} == {
        "FORMAT",
        "token.secret",
        "master.key",
        "log/data.mdb",
        "log/lock.mdb",
        "log/made",
        f"functions/code/{package.name}",
    }
    assert set(files.values()) == {0o600}
    assert {mode for name, mode in modes.items() if name not in files} == {0o700}
    for name in ("token.secret", "master.key", f"functions/code/{package.name}"):
        assert (backup / name).read_bytes() == (daemon.data / name).read_bytes()


def test_a_copy_has_no_pages_that_hold_nothing(shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    for name in ("kept", "deleted"):
        client.create_stream(StreamName=name, ShardCount=1)
        for _ in range(10):
            client.put_record(StreamName=name, Data=bytes(500_000), PartitionKey="k")
    client.delete_stream(StreamName="deleted")
    daemon.stop()
    daemon_factory(data=daemon.data).stop()

    assert shell("data", "backup", str(daemon.data), str(tmp_path / "backup")).status == 0

    sizes = [(place / "log" / "data.mdb").stat().st_size for place in (daemon.data, tmp_path / "backup")]
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_nothing_is_written_over(shell: Shell, daemon: Daemon, tmp_path: Path, verb: str) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "mine").write_text("mine")
    file.write_text("mine")

    refused = shell("data", verb, str(daemon.data), str(full))
    not_a_folder = shell("data", verb, str(daemon.data), str(file))
    inside = shell("data", verb, str(daemon.data), str(daemon.data / "copy"))

    assert refused.status == inside.status == 1
    assert not_a_folder.status == 2
    assert "not an empty folder" in refused.err
    assert "lies inside" in inside.err
    assert [path.name for path in full.iterdir()] == ["mine"]
    assert not (daemon.data / "copy").exists()


def test_what_is_no_data_directory_is_not_copied(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    refused = shell("data", "restore", str(tmp_path / "other"), str(tmp_path / "data"))

    assert refused.status == 1
    assert "is not a streamd data directory" in refused.err
    assert not (tmp_path / "data").exists()


def test_a_copy_that_was_interrupted_is_no_data_directory_for_anybody(
    shell: Shell, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.client().list_streams()
    copy_data(daemon.data, tmp_path / "copy")
    (tmp_path / "copy" / "FORMAT").unlink()

    served = serve_in_vain(tmp_path / "copy")
    restored = shell("data", "restore", str(tmp_path / "copy"), str(tmp_path / "data"))

    assert served.returncode == restored.status == 1
    assert "FORMAT" in served.stderr
    assert "FORMAT" in restored.err


def test_a_copy_that_finds_no_room_leaves_nothing(
    shell: Shell, daemon_factory: DaemonFactory, small_disk: Path
) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    for _ in range(30):
        daemon.client().put_record(StreamName="s", Data=bytes(1_000_000), PartitionKey="k")

    refused = shell("data", "backup", str(daemon.data), str(small_disk / "copy"))

    assert refused.status == 1
    assert "was removed" in refused.err
    assert "Traceback" not in refused.err
    assert list(small_disk.iterdir()) == []


def test_a_damaged_record_is_copied_as_it_is_and_told(
    shell: Shell, daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    daemon.client().put_record(StreamName="s", Data=b"marked-record" * 100, PartitionKey="k")
    daemon.client().put_record(StreamName="s", Data=b"another", PartitionKey="k")
    daemon.stop()
    log = daemon.data / "log" / "data.mdb"
    log.write_bytes(log.read_bytes().replace(b"marked-record", b"masked-record"))

    made = shell("data", "backup", str(daemon.data), str(tmp_path / "backup"), "--json")

    assert made.status == 1
    report = made.json()
    assert [fault["reason"] for fault in report["faults"]] == ["the block's checksum does not match"]
    assert report["record_count"] == 2


def test_the_check_names_code_that_is_damaged_or_gone(shell: Shell, daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    _deploy(daemon)
    daemon.stop()
    (package,) = (daemon.data / "functions" / "code").glob("*.zip")
    assert shell("data", "check", str(daemon.data)).status == 0

    package.write_bytes(package.read_bytes()[:-1] + b"?")
    damaged = shell("data", "check", str(daemon.data))
    package.unlink()
    gone = shell("data", "check", str(daemon.data))

    assert (damaged.status, gone.status) == (1, 1)
    assert "its bytes have another hash" in damaged.out
    assert "function/f" in gone.out
    assert "is gone" in gone.out


def test_a_check_beside_a_daemon_whose_log_grows_reads_to_the_end(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    counts = []

    for _ in range(5):
        environment = Environment(daemon.data / "log", size_max=0, read_only=True)
        for _ in range(20):
            client.put_record(StreamName="s", Data=bytes(1_000_000), PartitionKey="k")
        with environment.read() as transaction:
            counts.append(transaction.stat(environment.blocks)["entries"])
        environment.close()

    assert counts == [20, 40, 60, 80, 100]
    assert check(daemon.data, progress=lambda _done, _total: None).faults == []


def _deploy(daemon: Daemon) -> None:
    deploy(lambda_client(daemon), "f")


def _iterator(client: Any) -> None:
    client.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
