"""What a daemon writes is its user's alone, whatever umask it was started with, and its log keeps secrets."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.shell import run_program
from tests.conftest import DaemonFactory
from tests.functions.lambdas import deploy, lambda_client, package
from tests.workers.wire import until

__all__: list[str] = []

_CODE = "import l\ndef handler(event, context):\n    if event: raise ValueError(event)\n    return 1\n"


@contextmanager
def _umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


# Without walls a function is the daemon's own user, and what it leaves beside its code is its own affair.
@pytest.mark.parametrize(("umask", "sandbox"), [(0, "auto"), (0, "process"), (0o022, "off")])
def test_what_a_daemon_writes_is_its_users_alone(
    daemon_factory: DaemonFactory, tmp_path: Path, umask: int, sandbox: str
) -> None:
    data, backup, restored, failures, temporary = (
        tmp_path / name for name in ("data", "backup", "restored", "failures", "temporary")
    )
    temporary.mkdir(mode=0o700)
    settings = tmp_path / "functions.toml"
    settings.write_text(f'[destinations]\nfolders = ["{failures}"]\n')
    environment = {"TMPDIR": str(temporary)}
    with _umask(umask):
        daemon = daemon_factory(
            *("--workers", "2", "--functions-config", str(settings), "--function-sandbox", sandbox),
            data=data,
            environment=environment,
        )
    kinesis, functions = daemon.client(), lambda_client(daemon)
    kinesis.create_stream(StreamName="s", ShardCount=1)
    kinesis.start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    kinesis.put_record(StreamName="s", PartitionKey="k", Data=b"x")
    layer = functions.publish_layer_version(LayerName="l", Content={"ZipFile": package("", "python/l.py")})
    deploy(functions, "f", _CODE, Layers=[layer["LayerVersionArn"]])
    functions.put_function_event_invoke_config(
        FunctionName="f",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"file://{failures}/f"}},
    )
    functions.invoke(FunctionName="f", Payload=b"{}")
    functions.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"n": 1}')
    until(lambda: any(failures.rglob("*.json")))
    with _umask(umask):
        assert run_program("data", "backup", str(data), str(backup)).status == 0
        assert run_program("data", "restore", str(backup), str(restored)).status == 0
    running = list(_open_to_others(data, failures, backup, restored, temporary))

    assert daemon.stop() == 0
    assert running == []
    assert list(_open_to_others(data, failures, backup, restored, temporary)) == []


def _open_to_others(*roots: Path) -> Iterator[tuple[str, str]]:
    """Find what another user could read, change or list."""
    for root in roots:
        for place in (root, *root.rglob("*")):
            mode = place.lstat().st_mode
            if mode & _bits_allowed(root, place) != stat.S_IMODE(mode) and not stat.S_ISLNK(mode):
                yield str(place.relative_to(root.parent)), stat.filemode(mode)


def _bits_allowed(root: Path, place: Path) -> int:
    """Who runs a function is another user, who passes through folders to read its code and the runtime's."""
    parts = place.relative_to(root).parts
    if (len(parts) >= 3 and parts[:2] == ("functions", "code")) or parts[:2] == ("functions", "runtime"):
        return 0o755
    return 0o701 if place.is_dir() else 0o700
