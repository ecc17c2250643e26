"""What a sandbox is asked for and what it gives: a plan goes in, a cell with a process in it comes out."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

__all__ = ["Cell", "Exit", "Plan", "Sandbox", "Tier"]


class Tier(StrEnum):
    """How strong the walls are."""

    BWRAP = "bwrap"
    PROCESS = "process"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A process to start. Inside, ``code`` is the working directory (/var/task), ``layers`` are /opt, ``scratch`` /tmp.

    ``runtime`` is a folder that is /var/runtime inside. ``command`` is run as it is, but that ``{task}`` and
    ``{runtime}`` in its parts become the paths as they are inside. ``variables`` is the whole environment, but for
    AWS_LAMBDA_RUNTIME_API and AWS_ENDPOINT_URL, which only the sandbox knows and adds. ``scratch`` outlives the cell:
    it is the environment's, and a cell that follows after a timeout finds it as it was.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)
    code: Path
    layers: tuple[Path, ...]
    runtime: Path
    scratch: Path
    scratch_mb: int
    memory_mb: int
    has_network: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit status, or the signal that ended it; whether it was killed for its memory."""

    status: int | None
    signal: int | None = None
    is_out_of_memory: bool = False


class Cell(Protocol):
    """A started process and its walls. ``runtime_listener`` and ``gateway_listener`` listen where it can reach them.

    The first is for the Runtime API, the second stands for the server's own port (None where the process reaches that
    by itself). Both are listening already, and are the caller's to accept on and to close. ``output`` gives what the
    process prints, stdout and stderr together; ``telemetry`` is the reading end of awslambdaric's framed log, None
    without one.
    """

    runtime_listener: socket.socket
    gateway_listener: socket.socket | None
    output: socket.socket
    telemetry: socket.socket | None

    async def ended(self) -> Exit:
        """Wait until the process has ended and nothing of it is left."""
        ...

    async def kill(self, *, patience_s: float = 0.0) -> None:
        """End it and all its children, with SIGTERM first if there is patience; on return nothing of it is left."""
        ...

    def memory_peak_mb(self) -> int:
        """Give the most memory it has held since the last reset (MB, rounded up)."""
        ...

    def reset_memory_peak(self) -> None:
        """Begin to measure anew."""
        ...


class Sandbox(Protocol):
    """Starts cells, all of one tier."""

    tier: Tier
    lacks: tuple[str, ...]
    """What this machine does not give to the tier, as sentences for the log, /readyz and the metric."""

    async def start(self, plan: Plan) -> Cell:
        """Start a process. Raises SandboxFailed."""
        ...
