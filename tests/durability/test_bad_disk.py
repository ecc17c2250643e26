"""A disk that fails to write, is slow to sync, tiny, or read-only: nothing is promised that is not kept."""

import os
import subprocess
import threading
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from streamd.daemon import STORE_FAILED_STATUS
from streamd.storage.inspect import check
from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.durability.commands import inspect_data, serve_in_vain
from tests.durability.loads import read_back, running_load
from tests.durability.preloads import compiled, has_compiler
from tests.workers.wire import Wire

SOURCE = Path(__file__).with_name("bad_disk.c")
PATIENCE_S = 60
_LOOK_PAUSE_S = 0.02
PRODUCER_COUNT = 32
RECORD_BYTE_COUNT = 1_000_000
PUTS_OF_EACH = 2
COPY_COUNT_MAX = 6


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library that makes the disk bad."""
    if not has_compiler():
        pytest.skip("there is no C compiler here to make the library that spoils the disk")
    return compiled(SOURCE, tmp_path_factory.mktemp("preload"))


@pytest.fixture
def environment(library: Path, tmp_path: Path) -> Mapping[str, str]:
    """Give the environment that preloads the library; flags go into the test's own folder."""
    return {"LD_PRELOAD": str(library), "BAD_DISK": str(tmp_path)}


@pytest.mark.parametrize("worker_count", [1, 3])
def test_a_write_that_fails_ends_the_daemon_and_nothing_acknowledged_is_lost(
    daemon_factory: DaemonFactory, tmp_path: Path, environment: Mapping[str, str], worker_count: int
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", str(worker_count), data=data, environment=environment)
    daemon.client().create_stream(StreamName="s", ShardCount=3)

    # Enough of them that some look something up between the commit that fails and the end of the daemon.
    with running_load(daemon.url, "s", producer_count=16) as load:
        load.wait_for_more(100)
        (tmp_path / "writes-fail").touch()
        status = daemon.process.wait(PATIENCE_S)

    assert status == STORE_FAILED_STATUS
    log = daemon.log.read_text()
    assert "the daemon ends" in log
    assert "Traceback" not in log
    again = daemon_factory("--workers", str(worker_count), data=data)
    load.verify(read_back(again.client(), "s"))
    assert again.stop() == 0
    assert check(data, progress=lambda _done, _total: None).faults == []


def test_a_slow_disk_makes_puts_wait_each_in_a_few_times_its_own_bytes(
    daemon_factory: DaemonFactory, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    daemon = daemon_factory(data=tmp_path / "data", environment=environment)
    daemon.client().create_stream(StreamName="s", ShardCount=4)
    before = _own_byte_count(daemon)
    (tmp_path / "syncs-slow").touch()
    acknowledged: list[tuple[bytes, str]] = []

    def produce(number: int) -> None:
        with Wire(daemon) as wire:
            for turn in range(PUTS_OF_EACH):
                data = b"%d/%d/" % (number, turn) + bytes(RECORD_BYTE_COUNT)
                (place,) = wire.put("s", (str(number), data))
                acknowledged.append((data[:10], place[1]))

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(PRODUCER_COUNT)]
    for thread in threads:
        thread.start()
    most = before
    while any(thread.is_alive() for thread in threads):
        threads[-1].join(_LOOK_PAUSE_S)
        most = max(most, _own_byte_count(daemon))
    (tmp_path / "syncs-slow").unlink()

    assert len(acknowledged) == PRODUCER_COUNT * PUTS_OF_EACH
    found = read_back(daemon.client(), "s")
    stored = [(record.data[:10], record.sequence_number) for records in found.values() for record in records]
    assert sorted(stored) == sorted(acknowledged)
    # As text, decoded, in a block and on its way to the disk; nothing is kept of those that were answered.
    assert most - before < COPY_COUNT_MAX * PRODUCER_COUNT * RECORD_BYTE_COUNT


def test_a_caller_who_gave_up_on_a_slow_disk_was_told_nothing_and_is_stored_once_at_most(
    daemon_factory: DaemonFactory, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    daemon = daemon_factory(data=tmp_path / "data", environment=environment)
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    (tmp_path / "syncs-slow").touch()
    left: list[bytes] = []

    for number in range(6):
        wire = Wire(daemon)
        wire.begin("PutRecord", StreamName="s", PartitionKey="k", Data=b64encode(b"left-%d" % number).decode())
        assert not wire.has_answer()
        left.append(b"left-%d" % number)
        wire.close()
    with Wire(daemon) as wire:
        kept = wire.put("s", ("k", b"kept"))

    (records,) = read_back(daemon.client(), "s").values()
    texts = [record.data for record in records]
    assert len(set(texts)) == len(texts)
    assert set(texts) <= {*left, b"kept"}
    assert [record.sequence_number for record in records if record.data == b"kept"] == [kept[0][1]]


def test_a_disk_of_a_few_megabytes_refuses_puts_and_keeps_what_it_said(
    daemon_factory: DaemonFactory, small_disk: Path
) -> None:
    data = small_disk / "data"
    daemon = daemon_factory(data=data)
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    kept: list[str] = []

    def fill() -> None:
        for _ in range(1000):
            answer = client.put_record(StreamName="s", Data=os.urandom(20_000), PartitionKey="k")
            kept.append(answer["SequenceNumber"])

    with pytest.raises(ClientError, match="is full") as caught:
        fill()

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert len(kept) > 10
    (records,) = read_back(client, "s").values()
    assert [record.sequence_number for record in records] == kept
    daemon.kill()
    again = daemon_factory(data=data)
    (records,) = read_back(again.client(), "s").values()
    assert [record.sequence_number for record in records] == kept
    assert again.stop() == 0
    assert check(data, progress=lambda _done, _total: None).faults == []


def test_a_read_only_disk_is_refused_for_serving_and_can_be_checked(
    daemon_factory: DaemonFactory, small_disk: Path
) -> None:
    data = small_disk / "data"
    daemon = daemon_factory(data=data)
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    daemon.client().put_record(StreamName="s", Data=b"kept", PartitionKey="k")
    daemon.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    served = serve_in_vain(data)
    checked = inspect_data("check", data)

    assert served.returncode == 1
    assert "Read-only file system" in served.stderr
    assert served.stderr.count("\n") == 1
    assert checked.returncode == 0
    assert "1 records" in checked.stdout


def _own_byte_count(daemon: Daemon) -> int:
    """Tell how much memory of its own the daemon has now, without the pages of the data file that it maps."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024
