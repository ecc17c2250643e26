"""The AWS SDK for JavaScript v3 in Node.js: its own HTTP/2 handler on the plain port and under TLS, and HTTP/1.1."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import SeenBy, TlsDaemon

__all__: list[str] = []

_SOURCES = Path(__file__).parent / "javascript"
_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "streamd-tests" / "javascript"
_PATIENCE_S = 300

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
    manifest = json.loads((packages / "node_modules/@aws-sdk/client-kinesis/package.json").read_text())
    row = seen_by("@aws-sdk/client-kinesis", version=manifest["version"], transport=transport)
    shutil.copy(_SOURCES / "walk.mjs", packages)

    done = subprocess.run(
        ["node", "walk.mjs", tls_daemon.url if is_tls else tls_daemon.daemon.url, handler],
        cwd=packages,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(tls_daemon.authority)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )

    row.ran(*done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "SubscribeToShard" in row.operations
    assert "DeleteStream" in row.operations
