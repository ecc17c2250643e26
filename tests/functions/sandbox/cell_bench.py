"""Cells of each tier, made of a few lines of Python, and what a test asks of them."""

import asyncio
import os
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamd.functions.sandbox.cells import Cell, Exit, Plan
from streamd.functions.sandbox.probe import Discards

__all__ = ["CellBench", "has_mounts", "is_alive", "read_all", "read_line"]

_PYTHON = str(Path(sys.executable).resolve())
_PATIENCE_S = 60


def is_alive(mark: str) -> bool:
    """Tell whether any process on the machine carries a mark among its arguments."""
    for page in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark.encode() in page.read_bytes() and int(page.parent.name) != os.getpid():
                return True
    return False


@dataclass(slots=True)
class CellBench:
    """Starts cells of one sandbox; ``mark`` is an argument of each of them and of what they start with it."""

    sandbox: Discards
    folder: Path
    mark: str = field(default_factory=lambda: f"mark-{uuid.uuid4().hex}")
    cells: list[Cell] = field(default_factory=list)

    def plan(
        self,
        code: str,
        *,
        scratch: str = "one",
        memory_mb: int = 128,
        scratch_mb: int = 16,
        layers: tuple[Path, ...] = (),
        variables: dict[str, str] | None = None,
        has_network: bool = False,
    ) -> Plan:
        """Plan a cell that runs Python; ``scratch`` names its scratch folder."""
        for name in ("code", "runtime"):
            (self.folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        place = self.folder / "scratch" / scratch
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        program = self.folder / "code" / f"{uuid.uuid4().hex}.py"
        program.write_text(code)
        return Plan(
            command=(_PYTHON, "-S", f"{{task}}/{program.name}", self.mark),
            variables={"PATH": "/usr/bin:/bin", **(variables or {})},
            code=self.folder / "code",
            layers=layers,
            runtime=self.folder / "runtime",
            scratch=place,
            scratch_mb=scratch_mb,
            memory_mb=memory_mb,
            has_network=has_network,
        )

    async def start(self, plan: Plan) -> Cell:
        """Start a cell; the bench ends it."""
        cell = await self.sandbox.start(plan)
        self.cells.append(cell)
        return cell

    async def run(self, plan: Plan) -> tuple[Exit, str]:
        """Run a cell to its end; give what it printed."""
        cell = await self.start(plan)
        printed = asyncio.create_task(read_all(cell))
        ended = await asyncio.wait_for(cell.ended(), _PATIENCE_S)
        return ended, await printed

    async def close(self) -> None:
        """End all cells, and free what they had."""
        for cell in self.cells:
            await cell.kill()
            for end in (cell.runtime_listener, cell.gateway_listener, cell.output, cell.telemetry):
                if end is not None:
                    end.close()
        # Also what belongs to a start that was given up: a mount that stays would be in the way of every later test.
        for place in (self.folder / "scratch").glob("*"):
            self.sandbox.discard(place)


def has_mounts(bench: CellBench) -> bool:
    """Tell whether a bench's scratch folders are file systems of a bounded size."""
    return any("lies in memory" in sentence for sentence in bench.sandbox.lacks)


async def read_all(cell: Cell) -> str:
    """Read what a cell prints until nobody can print any more."""
    parts: list[bytes] = []
    while part := await asyncio.get_running_loop().sock_recv(cell.output, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode()


async def read_line(cell: Cell) -> str:
    """Read the next line that a cell prints."""
    line = b""
    while not line.endswith(b"\n"):
        part = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(cell.output, 1), _PATIENCE_S)
        assert part, f"it ended: {line!r}"
        line += part
    return line.decode().strip()
