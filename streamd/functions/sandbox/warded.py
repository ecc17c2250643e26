"""The tiers without namespaces: a process of another user, or of this one, below a warden that nothing escapes.

As root (tier process) each environment is a user of its own. What it needs of folders that only the daemon may enter is
shown to it in a private view of the file system, in which the rest of them is covered; where that may not be had, its
way there is opened. As another user, and in the tier off, the process is the daemon's user: only the bounds and the
end are seen to.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from streamd.functions.sandbox import launcher
from streamd.functions.sandbox.cells import Cell, Plan, Tier
from streamd.functions.sandbox.limits import MIB
from streamd.functions.sandbox.starting import Order, Starter, placed
from streamd.functions.sandbox.tenants import Tenant, Tenants

__all__ = ["WardedSandbox"]


class WardedSandbox:
    """Implements Sandbox. ``has_view`` says that private views may be mounted; else ways in ``data`` are opened."""

    def __init__(self, tier: Tier, *, tenants: Tenants, data: Path, has_view: bool, lacks: tuple[str, ...]) -> None:
        self.tier = tier
        self.lacks: tuple[str, ...] = lacks
        self._tenants = tenants
        self._data = data
        self._has_view = has_view
        self._starter = Starter(tenants.go_private)

    async def start(self, plan: Plan) -> Cell:
        """Start a process. Raises SandboxFailed."""
        tenant = await self._starter.on_thread(self._tenants.enter, plan)
        order = await asyncio.to_thread(self._order, plan, tenant)
        argv = [sys.executable, "-I", "-S", launcher.__file__]
        with_scratch = _with_scratch(plan)
        unbounded = None if tenant.is_bounded else tenant.place
        return await self._starter.start(with_scratch, order, argv, ports=(0, 0), unbounded_scratch=unbounded)

    def discard(self, scratch: Path) -> None:
        """Free what belongs to a scratch folder whose last cell has ended; blocks for a moment."""
        self._starter.wait_on_thread(self._tenants.leave, scratch)

    def _order(self, plan: Plan, tenant: Tenant) -> Order:
        command = [placed(part, task=str(plan.code), runtime=str(plan.runtime)) for part in plan.command]
        covers: list[str] = []
        shows: list[tuple[str, str]] = []
        if tenant.uid is not None:
            program = Path(command[0])
            shown = [plan.code, *plan.layers, plan.runtime, *_interpreter(program)]
            if self._has_view:
                covers, shows = _view([place for place in shown if place.exists()], tenant.place, plan.scratch)
            else:
                _open_ways(self._data, [plan.code, *plan.layers, plan.runtime, plan.scratch])
        return Order(
            place=str(plan.code),
            command=command,
            uid=tenant.uid,
            guards=True,
            # The kernel counts a user's processes: a bound on a user who has others would be met by those.
            has_process_bound=tenant.uid is not None,
            file_byte_count_max=0 if tenant.is_bounded else plan.scratch_mb * MIB,
            covers=covers,
            shows=shows,
        )


def _with_scratch(plan: Plan) -> Plan:
    return replace(plan, variables={**plan.variables, "TMPDIR": str(plan.scratch)})


def _interpreter(program: Path) -> Iterator[Path]:
    """Give the folders of a program and of the libraries beside it, if they are not in /usr."""
    for place in dict.fromkeys((program, program.resolve())) if program.is_absolute() else ():
        if not place.is_relative_to("/usr"):
            yield place.parent
            if place.parent.name == "bin":
                yield place.parent.parent / "lib"


def _view(shown: Sequence[Path], scratch: Path, inside: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Give the folders to cover, and what to show beneath them: (r or w and the place, the place inside)."""
    covers = {closed for place in (*shown, inside) if (closed := _closed(place)) is not None}
    shows = [(f"r{place}", str(place)) for place in dict.fromkeys(shown)]
    shows.append((f"w{scratch}", str(inside)))
    usual = Path("/tmp")  # noqa: S108 - covered by a folder of the process's own
    if not any(place.is_relative_to(usual) for place in (*shown, inside)):
        shows.append((f"w{scratch}", str(usual)))
    return sorted(map(str, covers)), shows


def _closed(place: Path) -> Path | None:
    """Give the first folder on the way to a place that others may not enter."""
    for folder in reversed(place.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _open_ways(data: Path, places: Sequence[Path]) -> None:
    """Let others pass to places: through the data directory, which is ours to open, without a look at what is in it."""
    for folder in {folder for place in places for folder in place.parents if folder.is_relative_to(data)}:
        mode = folder.stat().st_mode & 0o7777
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
