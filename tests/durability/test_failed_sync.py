"""A sync that fails: nobody is answered that it is stored, nothing is tried again, and the daemon ends with 74."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from streamd.daemon import STORE_FAILED_STATUS
from streamd.storage.inspect import check
from tests.conftest import DaemonFactory
from tests.durability.loads import read_back, running_load
from tests.durability.preloads import compiled, has_compiler

SOURCE = Path(__file__).with_name("fail_sync.c")
PATIENCE_S = 60


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library that makes syncs fail."""
    if not has_compiler():
        pytest.skip("there is no C compiler here to make the library that fails syncs")
    return compiled(SOURCE, tmp_path_factory.mktemp("preload"))


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """Give the file whose existence makes syncs fail."""
    return tmp_path / "syncs-fail-now"


@pytest.fixture
def environment(library: Path, flag: Path) -> Mapping[str, str]:
    """Give the environment that preloads the library."""
    return {"LD_PRELOAD": str(library), "FAIL_SYNC_WHEN": str(flag)}


@pytest.mark.parametrize("worker_count", [1, 3])
def test_a_put_whose_sync_fails_is_not_acknowledged_and_the_daemon_ends(
    daemon_factory: DaemonFactory, tmp_path: Path, flag: Path, environment: Mapping[str, str], worker_count: int
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", str(worker_count), data=data, environment=environment)
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=1)
    client.put_record(StreamName="s", Data=b"before", PartitionKey="k")

    flag.touch()
    with pytest.raises(ClientError, match="InternalFailureException") as caught:
        client.put_record(StreamName="s", Data=b"after", PartitionKey="k")
    status = daemon.process.wait(PATIENCE_S)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "could not write" in caught.value.response["Error"]["Message"]
    assert status == STORE_FAILED_STATUS == 74
    log = daemon.log.read_text()
    assert "the daemon ends" in log
    assert "Traceback" not in log
    assert "is replaced" not in log
    again = daemon_factory(data=data)
    (records,) = read_back(again.client(), "s").values()
    assert [record.data for record in records] == [b"before"]


@pytest.mark.parametrize("worker_count", [1, 3])
def test_a_sync_that_fails_under_load_loses_nothing_that_was_acknowledged(
    daemon_factory: DaemonFactory, tmp_path: Path, flag: Path, environment: Mapping[str, str], worker_count: int
) -> None:
    data = tmp_path / "data"
    daemon = daemon_factory("--workers", str(worker_count), data=data, environment=environment)
    daemon.client().create_stream(StreamName="s", ShardCount=3)

    with running_load(daemon.url, "s", producer_count=4) as load:
        load.wait_for_more(200)
        flag.touch()
        status = daemon.process.wait(PATIENCE_S)

    assert status == STORE_FAILED_STATUS
    with pytest.raises(BotoCoreError):
        daemon.client().list_streams()
    again = daemon_factory("--workers", str(worker_count), data=data)
    load.verify(read_back(again.client(), "s"))
    again.stop()
    assert check(data, progress=lambda _done, _total: None).faults == []


def test_a_daemon_whose_first_sync_fails_says_so_and_serves_nothing(
    tmp_path: Path, daemon_factory: DaemonFactory, flag: Path, environment: Mapping[str, str]
) -> None:
    flag.touch()

    with pytest.raises(AssertionError, match="did not start") as caught:
        daemon_factory(data=tmp_path / "data", environment=environment)

    assert "Traceback" not in str(caught.value)
    assert "Input/output error" in str(caught.value)
