"""Starts real daemons for tests, talks to them, and ends them gently or not."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import orjson
from botocore.config import Config

__all__ = ["Daemon", "RawReply", "client_of", "raw", "start_daemon"]

_STOP_PATIENCE_S = 30


@dataclass(frozen=True)
class RawReply:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return orjson.loads(self.body)


@dataclass
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    log: Path
    flags: tuple[str, ...] = ()
    pointer: str = ""
    _clients: list[Any] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def client(self, **settings: Any) -> Any:
        """Make a boto3 client of it."""
        return client_of(settings.pop("url", self.url), **settings)

    def worker_pids(self) -> list[int]:
        """List the supervisor's workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill(self) -> None:
        """End the whole daemon at once, as ``kill -9`` of its process group does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_STOP_PATIENCE_S)
        self._hang_up()

    def stop(self) -> int:
        """Ask it to end, and wait until it has; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._hang_up()
        return status

    def _hang_up(self) -> None:
        # Workers that outlived their supervisor are a failure of the test that sees them, and nobody else's burden.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def page(self, path: str) -> RawReply:
        """GET one of its pages."""
        return _fetch(urllib.request.Request(self.url + path))


def start_daemon(data: Path, *flags: str, port: int = 0, environment: Mapping[str, str] | None = None) -> Daemon:
    """Start ``streamd serve`` on a free port and wait for its ready line."""
    data.parent.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    command = [sys.executable, "-m", "streamd", "serve", "--port", str(port), "--data", str(data), *flags]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"(https?://\S+)$", line.strip())
    if found is None:
        process.kill()
        process.wait(_STOP_PATIENCE_S)
        process.stdout.close()
        raise AssertionError(f"the daemon did not start: {line!r}\n{log.read_text()}")
    return Daemon(process=process, url=found.group(1), data=data, log=log, flags=flags)


def client_of(url: str, *, region: str = "us-east-1", **settings: Any) -> Any:
    """Make a boto3 client that does not retry."""
    import boto3  # noqa: PLC0415 - not there in aiobotocore's environment, whose tests start daemons too

    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name=region,
        verify=settings.pop("verify", None),
        aws_access_key_id=settings.pop("access_key", "AKIAEXAMPLE"),
        aws_secret_access_key=settings.pop("secret_key", "secret-for-tests-only"),
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=settings.pop("connections", 20),
            parameter_validation=settings.pop("validate", False),
        ),
    )


def raw(
    url: str,
    operation: str,
    body: bytes | dict[str, Any],
    *,
    content_type: str | None = "application/x-amz-json-1.1",
    method: str = "POST",
    **headers: str,
) -> RawReply:
    """Send one request as it is given; a dict is sent as JSON."""
    content = orjson.dumps(body) if isinstance(body, dict) else body
    request = urllib.request.Request(url, data=content, method=method)
    request.add_header("X-Amz-Target", f"Kinesis_20131202.{operation}")
    # urllib adds a form's content type of its own when there is none.
    request.add_header("Content-Type", content_type or "")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    return _fetch(request)


def _fetch(request: urllib.request.Request) -> RawReply:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return RawReply(answer.status, _lowered(answer.headers), answer.read())
    except HTTPError as error:
        with error:
            return RawReply(error.code, _lowered(error.headers), error.read())


def _lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
