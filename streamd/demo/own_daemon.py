"""The demo's own daemon: `streamd serve` as a user would start it, in a process of its own, on a free port.

It is started with the Python that runs the demo, waited for until it says that it accepts, and stopped with
SIGTERM. What it writes to standard error is kept in a file beside its data, and its last line is in the error
if it fails.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NoReturn

from streamd.demo.failures import DaemonFailed

__all__ = ["OwnDaemon", "own_daemon"]

READY_TIMEOUT_S: Final = 30
STOP_TIMEOUT_S: Final = 20

_LOG_BYTE_COUNT_READ: Final = 16_384


class OwnDaemon:
    """A daemon that accepts at ``url``."""

    def __init__(self, process: asyncio.subprocess.Process, *, url: str, log_path: Path) -> None:
        self.url = url
        self._process = process
        self._log_path = log_path

    async def watch(self) -> NoReturn:
        """Drain what the daemon prints until it ends. Raises DaemonFailed then: any end is too early."""
        assert self._process.stdout is not None, "it was started with a pipe"
        while await self._process.stdout.read(65_536):
            pass
        status = await self._process.wait()
        raise DaemonFailed(f"the daemon ended with status {status}{await _last_words(self._log_path)}")


@contextlib.asynccontextmanager
async def own_daemon(directory: Path, *, log_path: Path, worker_count: int | None) -> AsyncIterator[OwnDaemon]:
    """Run a daemon for as long as the context lasts. Raises DaemonFailed if it does not come up."""
    arguments = ["-m", "streamd", "serve", "--host", "127.0.0.1", "--port", "0", "--data", str(directory)]
    if worker_count is not None:
        arguments += ["--workers", str(worker_count)]
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    finally:
        os.close(log)
    try:
        yield OwnDaemon(process, url=await _url_of(process, log_path), log_path=log_path)
    finally:
        await _stop(process)


async def _url_of(process: asyncio.subprocess.Process, log_path: Path) -> str:
    """Wait for the line that says it accepts, which ends in the address."""
    try:
        url = await asyncio.wait_for(_read_url(process), READY_TIMEOUT_S)
    except TimeoutError:
        reason = f"did not come up in {READY_TIMEOUT_S} s"
    else:
        if url is not None:
            return url
        reason = f"ended with status {await process.wait()} before it accepted"
    raise DaemonFailed(f"the daemon {reason}{await _last_words(log_path)}")


async def _read_url(process: asyncio.subprocess.Process) -> str | None:
    assert process.stdout is not None, "it was started with a pipe"
    while line := await process.stdout.readline():
        last_word = line.decode(errors="replace").split()[-1:]
        if last_word and last_word[0].startswith(("http://", "https://")):
            return last_word[0]
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        # Its output is drained meanwhile: a daemon that cannot write its last line would not end.
        await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _last_words(log_path: Path) -> str:
    """Give the last line of the daemon's log, as the tail of a sentence."""
    data = await asyncio.to_thread(log_path.read_bytes)
    lines = data[-_LOG_BYTE_COUNT_READ:].decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"; its last words: {said[-1]}" if said else ""
