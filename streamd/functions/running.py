"""What running a function takes and gives, as plain values: who asks, who runs and who writes it down agree here."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

__all__ = ["Finished", "Invocation", "Invokes", "LogLine", "Runnable", "Runs", "TakesLogs", "Throttled", "Trigger"]


class Trigger(StrEnum):
    """Who asked for an invocation."""

    API = "api"
    QUEUE = "queue"
    MAPPING = "mapping"


class Throttled(Exception):
    """No environment is free and none may be started; the reason is AWS's word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """One version of a function as its environments run it. Environments are shared by equal runnables only.

    ``arn`` is the function's, without a qualifier. ``revision`` changes with every change of code or configuration,
    and so retires the environments before it. ``code`` is the unpacked package, never written to. Sizes are MB
    (2**20 bytes), times seconds. ``reserved`` is the function's reserved concurrency, None without one.
    """

    name: str
    version: str
    arn: str
    revision: str
    runtime: str
    handler: str
    code: Path
    layers: tuple[Path, ...] = ()
    memory_mb: int = 128
    timeout_s: int = 3
    scratch_mb: int = 512
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    role: str = ""
    log_format: str = "Text"
    log_level: str = ""
    reserved: int | None = None
    architecture: str = "x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a function: ``arn`` as it was invoked, with its qualifier if it had one; ``payload`` is JSON.

    ``depth`` is how many functions ran one after another until it was asked for.
    """

    request_id: str
    arn: str
    payload: bytes
    trigger: Trigger
    client_context: str | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an invocation ended. ``error`` is None or "Unhandled"; then ``payload`` is the error's document.

    ``init_ms`` is there for the invocation that met a cold start. ``log_tail`` is at most the last 4 KB of this
    invocation's log, START to REPORT.
    """

    request_id: str
    version: str
    payload: bytes
    error: str | None
    started_ms: int
    duration_ms: float
    billed_ms: int
    init_ms: float | None
    memory_mb: int
    memory_peak_mb: int
    log_tail: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a function's log, without its end. ``stream`` is the environment's log stream name."""

    function: str
    version: str
    stream: str
    time_ms: int
    request_id: str
    text: bytes


class Runs(Protocol):
    """Runs one version of a function: the environments."""

    async def run(self, runnable: Runnable, invocation: Invocation, *, may_wait: bool) -> Finished:
        """Run it once. Raises Throttled, unless the caller may wait for a free environment."""
        ...


class Invokes(Protocol):
    """Finds a function by ARN and runs it: what pollers, the queue and the API share."""

    async def invoke(self, invocation: Invocation, *, may_wait: bool) -> Finished:
        """Resolve ``invocation.arn`` (function, version or alias), run it once, count it.

        Raises Throttled, and FunctionMissing when there is no such function, version or alias.
        """
        ...


class TakesLogs(Protocol):
    """Keeps what functions print. Never blocks and never fails: what cannot be kept is counted and dropped."""

    def take(self, line: LogLine) -> None:
        """Take one line."""
        ...
