"""Deploys the demo's function: its package from what is installed, and the mapping that feeds it the posts."""

import asyncio
import io
import pkgutil
import sys
import time
import zipfile
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

import orjson

from streamd.demo.failures import FunctionFailed
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["FUNCTION", "WINDOW_S", "deploy_counter", "function_package"]

FUNCTION: Final = "mentions"
# Short enough that the last window's end is not waited for long.
WINDOW_S: Final = 5
_BATCH_SIZE: Final = 2_000
_MEMORY_MB: Final = 256
_TIMEOUT_S: Final = 60
_PATIENCE_S: Final = 60
_PAUSE_S: Final = 0.05
_FUNCTIONS: Final = "/2015-03-31/functions"
_MAPPINGS: Final = "/2015-03-31/event-source-mappings"
# The handler, and the very modules by which the demo itself finds mentions.
_MODULES: Final = {
    "app.py": ("streamd.demo.function", "app.py"),
    "streamd/__init__.py": ("streamd", "__init__.py"),
    "streamd/errors.py": ("streamd", "errors.py"),
    "streamd/demo/__init__.py": ("streamd.demo", "__init__.py"),
    "streamd/demo/failures.py": ("streamd.demo", "failures.py"),
    "streamd/demo/mentions.py": ("streamd.demo", "mentions.py"),
}


def function_package() -> bytes:
    """Zip the function."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, (package, name) in _MODULES.items():
            archive.writestr(path, pkgutil.get_data(package, name) or b"")
    return buffer.getvalue()


async def deploy_counter(client: LambdaClient, *, stream_arn: str, alerts: str, names: Sequence[str]) -> None:
    """Make the function and its mapping, and wait until both are at work.

    Raises FunctionFailed, ServiceRefused and ServiceUnreachable.
    """
    await client.call(
        "POST",
        _FUNCTIONS,
        document={
            "FunctionName": FUNCTION,
            "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "Handler": "app.handler",
            "Role": "arn:aws:iam::000000000000:role/streamd",
            "Code": {"ZipFile": b64encode(function_package()).decode()},
            "MemorySize": _MEMORY_MB,
            "Timeout": _TIMEOUT_S,
            "Environment": {"Variables": {"NAMES": orjson.dumps(list(names)).decode(), "ALERTS": alerts}},
        },
    )
    await _until(client, f"{_FUNCTIONS}/{FUNCTION}/configuration", "Active")
    answer = await client.call(
        "POST",
        _MAPPINGS,
        document={
            "EventSourceArn": stream_arn,
            "FunctionName": FUNCTION,
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": _BATCH_SIZE,
            "TumblingWindowInSeconds": WINDOW_S,
        },
    )
    await _until(client, f"{_MAPPINGS}/{answer.document()['UUID']}", "Enabled")


async def _until(client: LambdaClient, path: str, state: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while (found := (await client.call("GET", path)).document()["State"]) != state:
        if time.monotonic() > deadline_s:
            raise FunctionFailed(f"{path} is {found} and not {state} after {_PATIENCE_S} s")
        await asyncio.sleep(_PAUSE_S)
