"""The AWS SDK for JavaScript v3 in Node.js: HTTP/2 on the plain port and under TLS, and HTTP/1.1."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import SeenBy, TlsDaemon
from tests.functions.lambdas import package

__all__: list[str] = []

_SOURCES = Path(__file__).parent / "javascript"
_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamd-tests" / "javascript"
_PATIENCE_S = 300
_HANDLER = "export const handler = async (event) => ({ received: event });\n"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="Node.js and npm are not installed"
)


@pytest.fixture(scope="session")
def packages() -> Path:
    """Give a folder with the SDK installed; it is kept for the next time."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = (_SOURCES / "package.json").read_text()
    kept = _FOLDER / "package.json"
    if not (kept.exists() and kept.read_text() == wanted and (_FOLDER / "node_modules" / "@aws-sdk").exists()):
        kept.write_text(wanted)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
        if done.returncode and "CI" not in os.environ:
            kept.unlink()
            pytest.skip(f"npm cannot install the SDK: {done.stderr.strip()[-200:]}")
        assert done.returncode == 0, done.stderr
    return _FOLDER


@pytest.mark.parametrize(
    ("is_tls", "handler", "transport"),
    [
        (False, "default", "HTTP/2 by prior knowledge, JSON"),
        (True, "default", "HTTP/2 over TLS, JSON"),
        (False, "http1", "HTTP/1.1, JSON"),
        (True, "http1", "HTTP/1.1 over TLS, JSON"),
    ],
)
def test_a_walk_through_the_sdk(
    tls_daemon: TlsDaemon, packages: Path, seen_by: SeenBy, *, is_tls: bool, handler: str, transport: str
) -> None:
    version = _version(packages, "client-kinesis")
    row = seen_by("@aws-sdk/client-kinesis", version=version, transport=transport)

    done = _walked(tls_daemon, packages, "walk.mjs", handler, is_tls=is_tls)

    row.ran(*done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "SubscribeToShard" in row.operations
    assert "DeleteStream" in row.operations


@pytest.mark.parametrize(
    ("is_tls", "handler", "transport"),
    [
        (False, "default", "HTTP/1.1"),
        (True, "default", "HTTP/1.1 over TLS"),
        (False, "http2", "HTTP/2 by prior knowledge"),
        (True, "http2", "HTTP/2 over TLS"),
    ],
)
def test_a_walk_through_the_sdk_of_functions(
    tls_daemon: TlsDaemon, packages: Path, seen_by: SeenBy, *, is_tls: bool, handler: str, transport: str
) -> None:
    row = seen_by("@aws-sdk/client-lambda", version=_version(packages, "client-lambda"), transport=transport)
    (packages / "function.zip").write_bytes(package(_HANDLER, "app.mjs"))

    done = _walked(tls_daemon, packages, "walk_functions.mjs", handler, is_tls=is_tls)

    row.ran(*done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert {"Invoke", "InvokeWithResponseStream", "CreateEventSourceMapping", "DeleteFunction"} <= set(row.operations)


def _version(packages: Path, name: str) -> str:
    return str(json.loads((packages / "node_modules/@aws-sdk" / name / "package.json").read_text())["version"])


def _walked(
    daemon: TlsDaemon, packages: Path, script: str, handler: str, *, is_tls: bool
) -> subprocess.CompletedProcess[str]:
    shutil.copy(_SOURCES / script, packages)
    return subprocess.run(
        ["node", script, daemon.url if is_tls else daemon.daemon.url, handler],
        cwd=packages,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(daemon.authority)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
