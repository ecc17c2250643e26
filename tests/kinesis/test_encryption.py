"""StartStreamEncryption and StopStreamEncryption: what is written meanwhile cannot be read without the key."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.kinesis.calls import HELD_MS, held_daemon, records_of, summary_of
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []

_KEY = "alias/aws/kinesis"
_GUID = "12345678-1234-1234-1234-123456789012"
_BOTH = ["start_stream_encryption", "stop_stream_encryption"]


def test_only_what_is_written_meanwhile_is_marked_and_all_of_it_is_readable(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=2)
    before = _put(kinesis, stream_name, b"before")
    kinesis.start_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)
    during = _put(kinesis, stream_name, b"during")
    kinesis.stop_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)
    after = _put(kinesis, stream_name, b"after")
    kinesis.start_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)
    again = _put(kinesis, stream_name, b"again")

    records = records_of(kinesis, stream_name)

    assert [answer.get("EncryptionType") for answer in (before, during, after, again)] == [None, "KMS", None, "KMS"]
    marks = {record["Data"]: record.get("EncryptionType") for record in records}
    assert marks == {b"before": None, b"during": "KMS", b"after": None, b"again": "KMS"}


def test_put_records_says_that_they_are_encrypted(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    entries = [{"Data": b"one", "PartitionKey": "key"}, {"Data": b"two", "PartitionKey": "key"}]

    plain = kinesis.put_records(StreamName=stream_name, Records=entries)
    kinesis.start_stream_encryption(StreamARN=stream_arn_of(stream_name), EncryptionType="KMS", KeyId=_KEY)
    encrypted = kinesis.put_records(StreamName=stream_name, Records=entries)

    assert "EncryptionType" not in plain
    assert encrypted["EncryptionType"] == "KMS"


def test_descriptions_tell_the_key_while_encryption_is_on(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    kinesis.start_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)
    description = kinesis.describe_stream(StreamName=stream_name)["StreamDescription"]
    summary = summary_of(kinesis, stream_name)
    kinesis.stop_stream_encryption(
        StreamName=stream_name, StreamARN=stream_arn_of(stream_name), EncryptionType="KMS", KeyId=_KEY
    )
    stopped = summary_of(kinesis, stream_name)

    assert (description["EncryptionType"], description["KeyId"]) == ("KMS", _KEY)
    assert (summary["EncryptionType"], summary["KeyId"]) == ("KMS", _KEY)
    assert stopped["EncryptionType"] == "NONE"
    assert "KeyId" not in stopped


@pytest.mark.parametrize(
    "key_id",
    [
        _GUID,
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        f"arn:aws:kms:us-east-1:123456789012:key/{_GUID}",
        "arn:aws:kms:us-east-1:123456789012:alias/mine",
        "alias/mine",
    ],
)
def test_a_key_has_names_of_several_forms(kinesis: Any, stream_name: str, key_id: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    kinesis.start_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=key_id)

    assert summary_of(kinesis, stream_name)["KeyId"] == key_id


@pytest.mark.parametrize("operation", _BOTH)
@pytest.mark.parametrize("key_id", ["mine", "alias/", f"{_GUID}\n", "arn:aws:s3:::bucket"])
def test_what_names_no_key_is_refused(kinesis: Any, stream_name: str, operation: str, key_id: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    kinesis.start_stream_encryption(StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)

    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, EncryptionType="KMS", KeyId=key_id)

    assert fault == (
        "InvalidArgumentException",
        f"KeyId {key_id} is not valid. Use the ID, the ARN, an alias or the ARN of an alias of a KMS key.",
    )


@pytest.mark.parametrize("operation", _BOTH)
def test_kms_is_the_only_kind_of_encryption(kinesis: Any, stream_name: str, operation: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, EncryptionType="NONE", KeyId=_KEY)

    assert fault == ("InvalidArgumentException", "The only supported encryption type is KMS.")


@pytest.mark.parametrize("operation", _BOTH)
def test_type_and_key_must_be_given(kinesis: Any, stream_name: str, operation: str) -> None:
    code, sentence = refusal(getattr(kinesis, operation), StreamName=stream_name)

    assert code == "ValidationException"
    assert sentence.startswith("2 validation errors detected: ")
    assert "Value null at 'keyId' failed to satisfy constraint: Member must not be null" in sentence
    assert "Value null at 'encryptionType' failed to satisfy constraint: Member must not be null" in sentence


@pytest.mark.parametrize("operation", _BOTH)
def test_a_stream_that_is_not_there_is_refused(kinesis: Any, stream_name: str, operation: str) -> None:
    fault = refusal(getattr(kinesis, operation), StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)

    assert fault == (
        "ResourceNotFoundException",
        f"Stream {stream_name} under account 000000000000 not found.",
    )


def test_a_stream_that_is_not_encrypted_cannot_be_stopped(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    fault = refusal(kinesis.stop_stream_encryption, StreamName=stream_name, EncryptionType="KMS", KeyId=_KEY)

    assert fault == ("InvalidArgumentException", "Cannot stop encrypting an unencrypted stream.")


def test_a_stream_is_updating_after_a_start_and_takes_no_other(daemon_factory: DaemonFactory) -> None:
    client = held_daemon(daemon_factory, "stream", ShardCount=1).client()

    client.start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    fault = refusal(client.stop_stream_encryption, StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    put = _put(client, "stream", b"meanwhile")

    assert summary_of(client, "stream")["StreamStatus"] == "UPDATING"
    assert fault == (
        "ResourceInUseException",
        "Stream stream under account 000000000000 not ACTIVE, instead in state UPDATING",
    )
    assert put["EncryptionType"] == "KMS"


def test_a_start_with_the_same_key_is_taken_and_makes_the_stream_updating(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory()
    first.client().create_stream(StreamName="stream", ShardCount=1)
    first.client().start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    _put(first.client(), "stream", b"first")
    first.stop()
    client = daemon_factory("--transition-ms", HELD_MS, data=first.data).client()

    client.start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    _put(client, "stream", b"second")

    assert summary_of(client, "stream")["StreamStatus"] == "UPDATING"
    assert {record["Data"] for record in records_of(client, "stream")} == {b"first", b"second"}


def test_each_may_be_called_25_times_a_day_when_limits_are_on(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory()
    client = first.client()
    client.create_stream(StreamName="stream", ShardCount=1)
    for _ in range(30):
        client.start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    first.stop()
    limited = daemon_factory("--limits", "aws", data=first.data).client()

    start = refusal(limited.start_stream_encryption, StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    limited.stop_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)

    assert start == ("LimitExceededException", "Rate exceeded for stream stream under account 000000000000.")
    assert summary_of(limited, "stream")["EncryptionType"] == "NONE"


def test_encrypted_records_are_nowhere_on_the_disk(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="stream", ShardCount=1)
    _put(client, "stream", b"everybody may read this")
    client.start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    client.put_record(StreamName="stream", PartitionKey="a key to hide", Data=b"nobody may read this")

    daemon.stop()
    content = _content(daemon.data)

    assert b"everybody may read this" in content
    assert b"nobody may read this" not in content
    assert b"a key to hide" not in content


def test_encrypted_records_survive_a_restart(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory()
    first.client().create_stream(StreamName="stream", ShardCount=1)
    first.client().start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    _put(first.client(), "stream", b"kept")

    first.kill()
    client = daemon_factory(data=first.data).client()
    _put(client, "stream", b"added")

    assert [record["Data"] for record in records_of(client, "stream")] == [b"kept", b"added"]


def test_a_start_and_a_stop_hold_in_every_worker_at_once(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory("--workers", "2")
    clients = [daemon.client() for _ in range(6)]
    clients[0].create_stream(StreamName="stream", ShardCount=1)

    clients[0].start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    during = {_put(client, "stream", b"during").get("EncryptionType") for client in clients}
    clients[1].stop_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    after = {_put(client, "stream", b"after").get("EncryptionType") for client in clients}

    assert (during, after) == ({"KMS"}, {None})
    for client in clients:
        assert len(records_of(client, "stream")) == 12


def test_streams_encrypted_first_in_several_workers_share_one_master_key(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory("--workers", "4")
    clients = [first.client() for _ in range(8)]
    names = [f"stream-{number}" for number in range(8)]
    for name in names:
        clients[0].create_stream(StreamName=name, ShardCount=1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(_start_and_put, clients, names))
    first.stop()
    again = daemon_factory(data=first.data).client()

    for name in names:
        assert [record["Data"] for record in records_of(again, name)] == [b"kept"]


def test_the_master_key_is_made_on_first_use_for_its_owner_only(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="stream", ShardCount=1)
    before = (daemon.data / "master.key").exists()

    client.start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)

    assert not before
    assert stat.S_IMODE((daemon.data / "master.key").stat().st_mode) == 0o600


def test_the_user_may_bring_a_master_key(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    master_key = _master_key(tmp_path / "mine.key")
    first = daemon_factory("--master-key", str(master_key))
    first.client().create_stream(StreamName="stream", ShardCount=1)
    first.client().start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    _put(first.client(), "stream", b"kept")

    first.stop()
    client = daemon_factory("--master-key", str(master_key), data=first.data).client()

    assert [record["Data"] for record in records_of(client, "stream")] == [b"kept"]
    assert not (first.data / "master.key").exists()


def test_another_master_key_opens_nothing_and_harms_nothing(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    first = daemon_factory()
    first.client().create_stream(StreamName="stream", ShardCount=1)
    first.client().create_stream(StreamName="plain", ShardCount=1)
    first.client().start_stream_encryption(StreamName="stream", EncryptionType="KMS", KeyId=_KEY)
    _put(first.client(), "stream", b"kept")
    first.stop()
    other = daemon_factory("--master-key", str(_master_key(tmp_path / "other.key")), data=first.data)
    client = other.client()
    place = client.get_shard_iterator(
        StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    read = refusal(client.get_records, ShardIterator=place)
    put = refusal(client.put_record, StreamName="stream", PartitionKey="key", Data=b"lost")
    _put(client, "plain", b"as ever")
    other.stop()
    again = daemon_factory(data=first.data).client()

    assert read[0] == put[0] == "KMSAccessDeniedException"
    assert re.search(r"does not open with this master key", read[1])
    assert [record["Data"] for record in records_of(again, "stream")] == [b"kept"]
    assert [record["Data"] for record in records_of(again, "plain")] == [b"as ever"]


def _put(client: Any, name: str, data: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = client.put_record(StreamName=name, PartitionKey="key", Data=data)
    return answer


def _start_and_put(client: Any, name: str) -> None:
    client.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=_KEY)
    _put(client, name, b"kept")


def _content(folder: Path) -> bytes:
    """Give all that is in the files of a folder; sparse ends read as zeros."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _master_key(path: Path) -> Path:
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return path
