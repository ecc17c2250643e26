"""Which walls this machine gives: found by trying them, once, at the start.

``auto`` takes the strongest tier that works, and names in ``lacks`` what it cannot give; a tier that was asked for by
name and does not work is refused with the reason.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamd.errors import ConfigInvalid
from streamd.functions.sandbox.bwrap import BwrapSandbox, walls
from streamd.functions.sandbox.cells import Sandbox, Tier
from streamd.functions.sandbox.tenants import Tenants, can_mount
from streamd.functions.sandbox.warded import WardedSandbox

__all__ = ["Discards", "Findings", "choose", "probe"]

_TRY_TIMEOUT_S = 20.0
# Exactly what the launcher needs to do behind the walls: loopback is up, and the user can be changed.
_TRIAL = "import os, socket; socket.create_server(('127.0.0.1', 9001)); os.setgroups([]) or os.setresuid(9, 9, 9)"
_TRIAL_AS_USER = "import socket; socket.create_server(('127.0.0.1', 9001))"

_NO_MEMORY_GROUP = "memory is not bounded by the kernel but looked at ten times a second (and RLIMIT_DATA is set)"
_NO_USERS = "functions run as the daemon's own user"
_SCRATCH_IN_MEMORY = "what is in /tmp lies in memory, beside what the function itself may hold"
_NO_QUOTA = "the size of /tmp is looked at once a second: past it the environment is ended"
_NO_BWRAP_WALLS = "functions see the machine's network and processes, and its files as any of its users may"
_OPENED_WAYS = "the folders on the way to the code of functions, the data directory among them, are opened (x) to all"
_NO_SIGNAL_WALL = "functions may signal each other, and the daemon, and read what it may read"


class Discards(Sandbox, Protocol):
    """A sandbox that is told when a scratch folder has no more use."""

    def discard(self, scratch: Path) -> None:
        """Free what belongs to a scratch folder whose last cell has ended; blocks for a moment."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found. ``bwrap`` is the program if it works, else ``bwrap_reason`` says why not."""

    is_root: bool
    has_mounts: bool
    bwrap: str | None
    bwrap_reason: str = ""


def probe(folder: Path) -> Findings:
    """Try what this machine gives; ``folder`` is where file systems would be mounted. Blocks."""
    is_root = os.geteuid() == 0
    program = shutil.which("bwrap")
    reason = "bubblewrap (bwrap) is not on the PATH" if program is None else _refusal(program, is_root=is_root)
    return Findings(
        is_root=is_root,
        has_mounts=is_root and can_mount(folder),
        bwrap=None if reason else program,
        bwrap_reason=reason,
    )


def choose(mode: str, *, folder: Path) -> Discards:
    """Give the sandbox of a mode: auto, bwrap, process or off. Blocks; raises ConfigInvalid.

    ``folder`` is the sandbox's own: nothing else may be in it. What a daemon that was killed left there is removed.
    It lies two folders deep in the data directory (DIR/functions/cells).
    """
    findings = probe(folder)
    if mode == "auto":
        mode = "process" if findings.bwrap is None else "bwrap"
    has_users = findings.is_root and mode != "off"
    tenants = Tenants(folder, has_users=has_users, has_mounts=findings.has_mounts and has_users)
    tenants.sweep()
    match mode:
        case "bwrap":
            if findings.bwrap is None:
                raise ConfigInvalid(f"the sandbox bwrap does not work here: {findings.bwrap_reason}")
            lacks = _lacks(findings, has_users=has_users)
            return BwrapSandbox(findings.bwrap, tenants=tenants, as_root=findings.is_root, lacks=lacks)
        case "process" | "off":
            tier = Tier(mode)
            lacks = (*_lacks(findings, has_users=has_users), *_lacks_without_namespaces(findings, has_users=has_users))
            data = folder.parent.parent
            return WardedSandbox(tier, tenants=tenants, data=data, has_view=findings.has_mounts, lacks=lacks)
        case _:
            raise ConfigInvalid(f"a sandbox is auto, bwrap, process or off, not {mode}")


def _refusal(program: str, *, is_root: bool) -> str:
    """Give the reason why bubblewrap does not work; none if it does."""
    argv = [*walls(program, as_root=is_root, has_network=False), "--remount-ro", "/", "--"]
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    trial = _TRIAL if is_root else _TRIAL_AS_USER
    command = ["/bin/true"] if python is None else [python, "-I", "-S", "-c", trial]
    try:
        tried = subprocess.run(  # noqa: S603 - our own command
            [*argv, *command],
            capture_output=True,
            check=False,
            env={},
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_TRY_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if tried.returncode == 0:
        return ""
    return tried.stderr.strip() or f"it ended with {tried.returncode}"


def _lacks(findings: Findings, *, has_users: bool) -> tuple[str, ...]:
    lacks = [_NO_MEMORY_GROUP]
    if not has_users:
        lacks.append(_NO_USERS)
    lacks.append(_SCRATCH_IN_MEMORY if has_users and findings.has_mounts else _NO_QUOTA)
    return tuple(lacks)


def _lacks_without_namespaces(findings: Findings, *, has_users: bool) -> tuple[str, ...]:
    if not has_users:
        return (_NO_BWRAP_WALLS, _NO_SIGNAL_WALL)
    return (_NO_BWRAP_WALLS,) if findings.has_mounts else (_NO_BWRAP_WALLS, _OPENED_WAYS)
