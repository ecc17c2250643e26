"""A sandbox without walls, and what else a test needs to have real functions run by real environments."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import orjson

from streamd.engine.clock import SystemClock
from streamd.errors import SandboxFailed
from streamd.functions.environments.environments import Environments
from streamd.functions.environments.launch import Launches
from streamd.functions.environments.runtimes import Runtimes, find_runtimes
from streamd.functions.running import Finished, Invocation, LogLine, Runnable, Trigger
from streamd.functions.sandbox.cells import Cell, Exit, Plan, Tier
from streamd.storage.runtime_folder import ScratchFolders

__all__ = ["Bench", "KeptLogs", "PlainCell", "PlainSandbox", "alive", "open_bench", "runtimes_in"]


class PlainCell:
    """A process in a session of its own."""

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        listener: socket.socket,
        output: socket.socket,
        telemetry: socket.socket | None,
    ) -> None:
        self.runtime_listener = listener
        self.gateway_listener: socket.socket | None = None
        self.output = output
        self.telemetry = telemetry
        self.child = child
        self._peak_mb = 0

    async def ended(self) -> Exit:
        status = await self.child.wait()
        self._kill_group(signal.SIGKILL)
        return Exit(None, -status) if status < 0 else Exit(status)

    async def kill(self, *, patience_s: float = 0.0) -> None:
        if patience_s and self.child.returncode is None:
            self._kill_group(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.child.wait(), patience_s)
        self._kill_group(signal.SIGKILL)
        await self.child.wait()

    def memory_peak_mb(self) -> int:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM"))
            self._peak_mb = -(-int(peak.split()[1]) // 1024)
        return self._peak_mb

    def reset_memory_peak(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def _kill_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)


class PlainSandbox:
    """Starts processes as they are; the tier is off. ``has_telemetry`` gives them a framed log."""

    tier = Tier.OFF
    lacks: tuple[str, ...] = ("walls",)

    def __init__(self, *, has_telemetry: bool = False) -> None:
        self.cells: list[PlainCell] = []
        self.plans: list[Plan] = []
        self.failure: SandboxFailed | None = None
        self.released: list[Path] = []
        self._has_telemetry = has_telemetry

    async def release(self, scratch: Path) -> None:
        self.released.append(scratch)

    async def start(self, plan: Plan) -> Cell:
        if self.failure is not None:
            raise self.failure
        listener = socket.create_server(("127.0.0.1", 0))
        ours, theirs = socket.socketpair()
        telemetry, frames = socket.socketpair() if self._has_telemetry else (None, None)
        port = listener.getsockname()[1]
        variables = {**plan.variables, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}", "TMPDIR": str(plan.scratch)}
        if frames is not None:
            variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(frames.fileno())
        places = {"{task}": str(plan.code), "{runtime}": str(plan.runtime)}
        command = [_placed(part, places) for part in plan.command]
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=plan.code,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs.fileno(),
            stderr=theirs.fileno(),
            start_new_session=True,
            pass_fds=() if frames is None else (frames.fileno(),),
        )
        theirs.close()
        if frames is not None:
            frames.close()
        cell = PlainCell(child, listener, ours, telemetry)
        self.cells.append(cell)
        self.plans.append(plan)
        return cell


class KeptLogs:
    """Keeps every line, up to a bound."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self._changed = asyncio.Event()

    def take(self, line: LogLine) -> None:
        if len(self.lines) < 1_000_000:
            self.lines.append(line)
        self._changed.set()

    async def wait_for(self, start: str) -> None:
        """Wait until there is a line that starts like this."""
        while not any(text.startswith(start) for text in self.texts()):
            await self.next_line()

    async def next_line(self) -> None:
        """Wait until another line is there."""
        self._changed.clear()
        await asyncio.wait_for(self._changed.wait(), 30)

    def texts(self) -> list[str]:
        return [line.text.decode() for line in self.lines]


class OneKey:
    """Mints the same key for everybody."""

    def mint(self, role: str, function: str) -> tuple[str, str, str]:
        return "AKIDEXAMPLE", f"secret of {function}", role


@dataclass
class Bench:
    """Environments that run, and a folder of functions for them."""

    environments: Environments
    sandbox: PlainSandbox
    logs: KeptLogs
    folder: Path
    serving: asyncio.Task[NoReturn]

    def python(self, source: str, *, name: str = "f", **more: Any) -> Runnable:
        return self.runnable({"app.py": source}, name=name, runtime="python3.11", handler="app.handler", **more)

    def node(self, source: str, *, file: str = "app.js", **more: Any) -> Runnable:
        return self.runnable({file: source}, runtime="nodejs20.x", handler="app.handler", **more)

    def shell(self, source: str, **more: Any) -> Runnable:
        runnable = self.runnable({"bootstrap": source}, runtime="provided.al2023", handler="any", **more)
        (runnable.code / "bootstrap").chmod(0o755)
        return runnable

    def runnable(self, files: Mapping[str, str], *, name: str = "f", **more: Any) -> Runnable:
        code = self.folder / uuid.uuid4().hex
        code.mkdir(parents=True)
        for file, text in files.items():
            (code / file).write_text(text)
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        values: dict[str, Any] = {"version": "$LATEST", "arn": arn, "revision": uuid.uuid4().hex, "timeout_s": 30}
        return Runnable(name=name, code=code, **{**values, **more})

    async def run(self, runnable: Runnable, event: Any = None, *, may_wait: bool = False, **more: Any) -> Finished:
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            arn=runnable.arn,
            payload=orjson.dumps({} if event is None else event),
            trigger=Trigger.API,
            **more,
        )
        return await self.environments.run(runnable, invocation, may_wait=may_wait)

    async def answer(self, runnable: Runnable, event: Any = None, **more: Any) -> Any:
        finished = await self.run(runnable, event, **more)
        assert finished.error is None, finished.payload
        return orjson.loads(finished.payload)

    async def error(self, runnable: Runnable, event: Any = None, **more: Any) -> Any:
        finished = await self.run(runnable, event, **more)
        assert finished.error == "Unhandled", finished.payload
        return orjson.loads(finished.payload)

    def alive(self) -> list[int]:
        return [cell.child.pid for cell in self.sandbox.cells if alive(cell.child.pid)]


@asynccontextmanager
async def open_bench(
    folder: Path,
    runtimes: Runtimes,
    *,
    limit: int = 4,
    idle_s: float = 600.0,
    has_spares: bool = False,
    has_telemetry: bool = False,
    init_limit_s: float = 10.0,
) -> AsyncIterator[Bench]:
    sandbox = PlainSandbox(has_telemetry=has_telemetry)
    logs = KeptLogs()
    scratches = ScratchFolders(folder / "scratch")
    scratches.sweep()
    environments = Environments(
        sandbox=sandbox,
        launches=Launches(runtimes, OneKey(), tier=sandbox.tier, region="us-east-1"),
        scratches=scratches,
        logs=logs,
        clock=SystemClock(),
        region="us-east-1",
        account_limit=limit,
        idle_s=idle_s,
        has_spares=has_spares,
        init_limit_s=init_limit_s,
        release=sandbox.release,
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(environments.serve())
        bench = Bench(environments, sandbox, logs, folder / "functions", serving)
        try:
            yield bench
        finally:
            await environments.close(patience_s=0.0)
            serving.cancel()
    assert not bench.alive()


@cache
def runtimes_in(folder: Path) -> Runtimes:
    return find_runtimes(folder, own_python=sys.executable)


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _placed(part: str, places: Mapping[str, str]) -> str:
    for name, place in places.items():
        part = part.replace(name, place)
    return part
