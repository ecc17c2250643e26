"""What these tests talk to: moto as the services elsewhere, and a way out."""

import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from queue import Queue
from typing import IO, Any

import boto3
import pytest
from botocore.config import Config

from streamd.server.outbound import Outbound

__all__: list[str] = []

_PATIENCE_S = 60


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Start moto's server; where it listens."""
    if not (importlib.util.find_spec("moto") and importlib.util.find_spec("flask_cors")):
        pytest.skip("moto[server] is not installed")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found: Queue[str] = Queue()
    reader = threading.Thread(target=_drain, args=(process.stderr, found))
    reader.start()
    try:
        yield found.get(timeout=_PATIENCE_S)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
        reader.join(_PATIENCE_S)
        process.stderr.close()


@pytest.fixture
def elsewhere(moto_url: str) -> Iterator[Callable[[str], Any]]:
    """Give boto3 clients of moto, by service."""
    made: list[Any] = []

    def client(service: str) -> Any:
        made.append(
            boto3.client(
                service,
                endpoint_url=moto_url,
                region_name="us-east-1",
                aws_access_key_id="AKIAEXAMPLE",
                aws_secret_access_key="secret-for-tests-only",
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """Give the real way out."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(Outbound())


def _drain(lines: IO[str], found: "Queue[str]") -> None:
    """Read to the end, so that the server never waits for its reader, and tell its address."""
    for line in lines:
        if match := re.search(r"Running on (http://\S+)", line):
            found.put(match[1])
