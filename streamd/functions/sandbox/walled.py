"""A cell: a started process, watched until it has ended and nothing of it is left.

Its root is the first process of a namespace of its own, or a warden: with the root's end all below it ends. While its
end is awaited the memory of all its processes is looked at ten times a second, and their number; and the size of its
/tmp once a second where no file system bounds it. Past a bound the cell is killed.
"""

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamd.functions.sandbox import memory
from streamd.functions.sandbox.cells import Exit, Plan
from streamd.functions.sandbox.killing import family, tell, tell_descriptor
from streamd.functions.sandbox.limits import MIB, PROCESS_COUNT_MAX

__all__ = ["Pipes", "WalledCell"]

_LOOK_INTERVAL_S = 0.1
_LOOKS_PER_SIZE = 10
_WARDEN_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Pipes:
    """Our ends of what leads into a cell."""

    runtime_listener: socket.socket
    gateway_listener: socket.socket
    output: socket.socket
    telemetry: socket.socket | None


class WalledCell:
    """Implements Cell. ``child`` is what was started; ``root_pid`` is below it, or the child itself: a warden.

    ``root_descriptor`` stands for the root, and is the cell's from now on.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        root_pid: int,
        root_descriptor: int,
        pipes: Pipes,
        plan: Plan,
        *,
        unbounded_scratch: Path | None,
    ) -> None:
        self.runtime_listener: socket.socket = pipes.runtime_listener
        self.gateway_listener: socket.socket | None = pipes.gateway_listener
        self.output: socket.socket = pipes.output
        self.telemetry: socket.socket | None = pipes.telemetry
        self._child = child
        self._root_pid = root_pid
        self._plan = plan
        self._unbounded_scratch = unbounded_scratch
        self._is_out_of_memory = False
        self._peak_kb = 0
        self._loop = asyncio.get_running_loop()
        self._child_end = asyncio.Event()
        self._root_end = asyncio.Event()
        self._root_descriptor = root_descriptor
        self._await_end(root_pid, root_descriptor, self._root_end)
        if self._has_warden:
            self._child_end = self._root_end
        else:
            self._await_end(child.pid, os.pidfd_open(child.pid), self._child_end)

    async def ended(self) -> Exit:
        """Wait until the process has ended and nothing of it is left."""
        look_count = 0
        while not self._child_end.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._child_end.wait(), _LOOK_INTERVAL_S)
                break
            if await asyncio.to_thread(self._is_beyond):
                self._kill()
            look_count += 1
            if self._unbounded_scratch is not None and look_count % _LOOKS_PER_SIZE == 0:
                await self._look_at_scratch(self._unbounded_scratch)
        await self._finish()
        status = self._child.returncode
        if self._is_out_of_memory:
            return Exit(None, signal.SIGKILL, is_out_of_memory=True)
        if status < 0:
            return Exit(None, -status)
        # Both bubblewrap and the warden say it as shells do.
        return Exit(None, status - 128) if status > 128 else Exit(status)

    async def kill(self, *, patience_s: float = 0.0) -> None:
        """End it and all its children; on return nothing of it is left."""
        if patience_s and not self._child_end.is_set():
            for pid in self._members():
                tell(pid, signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._child_end.wait(), patience_s)
        self._kill()
        await self._finish()

    def memory_peak_mb(self) -> int:
        """Give the most memory it has held since the last reset (MB, rounded up)."""
        self._peak_kb = max(self._peak_kb, memory.peak_kb(self._members()))
        return -(-self._peak_kb * 1024 // MIB)

    def reset_memory_peak(self) -> None:
        """Begin to measure anew."""
        self._peak_kb = 0
        memory.reset_peak(self._members())

    @property
    def _has_warden(self) -> bool:
        return self._root_pid == self._child.pid

    def _members(self) -> list[int]:
        return [] if self._root_end.is_set() else family(self._root_pid)

    def _await_end(self, pid: int, descriptor: int, end: asyncio.Event) -> None:

        def note() -> None:
            self._loop.remove_reader(descriptor)
            # Whose parent is gone may have become our child: somebody must take leave of it.
            if pid == self._child.pid:
                self._child.wait()
            else:
                with suppress(ChildProcessError):
                    os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
            os.close(descriptor)
            end.set()

        self._loop.add_reader(descriptor, note)

    def _kill(self) -> None:
        if not self._root_end.is_set():
            tell_descriptor(self._root_descriptor, signal.SIGTERM if self._has_warden else signal.SIGKILL)

    async def _finish(self) -> None:
        """See to it that the root has ended too: with it all below it has."""
        if not self._has_warden:
            self._kill()
        try:
            await asyncio.wait_for(self._root_end.wait(), _WARDEN_PATIENCE_S)
        except TimeoutError:
            tell_descriptor(self._root_descriptor, signal.SIGKILL)
            await self._root_end.wait()
        await self._child_end.wait()

    def _is_beyond(self) -> bool:
        """Look whether it holds too much, or is too many; on a thread, since a function may make this long."""
        members = self._members()
        limit_kb = self._plan.memory_mb * 1024
        held_kb = memory.held_kb(members)
        if held_kb > limit_kb:
            held_kb = memory.held_together_kb(members)
        self._peak_kb = max(self._peak_kb, held_kb)
        self._is_out_of_memory = self._is_out_of_memory or held_kb > limit_kb
        return held_kb > limit_kb or len(members) > PROCESS_COUNT_MAX

    async def _look_at_scratch(self, scratch: Path) -> None:
        if await asyncio.to_thread(_size, scratch) > self._plan.scratch_mb * MIB:
            self._kill()


def _size(folder: Path) -> int:
    """Give the bytes that a folder's files take on disk."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(Path(place, name)).st_blocks * 512
    return size
