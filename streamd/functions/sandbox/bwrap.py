"""The tier of bubblewrap: namespaces of its own for everything, and of the machine only what a program needs to run.

Inside there are /usr and its like, the interpreter, /var/task, /var/runtime, /opt and /tmp; nothing can be written to
but /tmp (there is no shared memory, as in AWS). Without a network of its own the process reaches two ports: the
Runtime API's and this server's. As root the folders are mounted before the privileges go, so nothing of the data
directory is opened to others, and the process is a user of its own. As another user it is this user, in its namespace.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from streamd.functions.sandbox import launcher
from streamd.functions.sandbox.cells import Cell, Plan, Tier
from streamd.functions.sandbox.layering import merged
from streamd.functions.sandbox.limits import MIB
from streamd.functions.sandbox.starting import Order, Starter, placed
from streamd.functions.sandbox.tenants import Tenants

__all__ = ["BwrapSandbox", "walls"]

_TASK, _RUNTIME, _LAYERS, _SCRATCH = "/var/task", "/var/runtime", "/opt", "/tmp"  # noqa: S108 - AWS's own name
_LAUNCHER = "/run/launcher.py"
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SETTINGS = (
    *("ssl", "ca-certificates", "pki", "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("localtime", "timezone", "locale.alias", "mime.types", "nsswitch.conf", "protocols", "services"),
)
_NETWORK_SETTINGS = ("resolv.conf", "hosts", "host.conf", "gai.conf")


class BwrapSandbox:
    """Implements Sandbox. ``as_root`` says that the daemon is root, and so may change users."""

    tier = Tier.BWRAP

    def __init__(self, program: str, *, tenants: Tenants, as_root: bool, lacks: tuple[str, ...]) -> None:
        self.lacks: tuple[str, ...] = lacks
        self._program = program
        self._tenants = tenants
        self._as_root = as_root
        self._starter = Starter(tenants.go_private)

    async def start(self, plan: Plan) -> Cell:
        """Start a process. Raises SandboxFailed."""
        tenant = await self._starter.on_thread(self._tenants.enter, plan)
        command = [placed(part, task=_TASK, runtime=_RUNTIME) for part in plan.command]
        order = Order(
            place=_TASK,
            command=command,
            uid=tenant.uid,
            listens=not plan.has_network,
            file_byte_count_max=0 if tenant.is_bounded else plan.scratch_mb * MIB,
        )
        with _user_page(tenant.uid or os.getuid()) as users:
            return await self._starter.start(
                plan,
                order,
                await asyncio.to_thread(self._argv, plan, command[0], tenant.place, users.fileno()),
                ports=(launcher.RUNTIME_PORT, launcher.GATEWAY_PORT),
                unbounded_scratch=None if tenant.is_bounded else tenant.place,
                descriptors=[users.fileno()],
            )

    def discard(self, scratch: Path) -> None:
        """Free what belongs to a scratch folder whose last cell has ended; blocks for a moment."""
        self._starter.wait_on_thread(self._tenants.leave, scratch)

    def _argv(self, plan: Plan, program: str, scratch: Path, users: int) -> list[str]:
        own_python = str(Path(sys.executable).resolve())
        return [
            *walls(self._program, as_root=self._as_root, has_network=plan.has_network),
            *_interpreter(own_python),
            *(() if program.startswith((_TASK, _LAYERS)) else _interpreter(program)),
            *("--ro-bind", str(plan.code), _TASK),
            *("--ro-bind-try", str(plan.runtime), _RUNTIME),
            *merged(plan.layers, _LAYERS),
            *("--bind", str(scratch), _SCRATCH),
            *("--perms", "0644", "--ro-bind-data", str(users), "/etc/passwd"),
            *("--ro-bind", launcher.__file__, _LAUNCHER),
            *("--remount-ro", "/", "--", own_python, "-I", "-S", _LAUNCHER),
        ]


def walls(program: str, *, as_root: bool, has_network: bool) -> list[str]:
    """Give the part of bubblewrap's arguments that is the same for every function."""
    argv = [program, "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    if not has_network:
        argv.append("--unshare-net")
    if as_root:
        # For the launcher, which gives them up as it becomes another user.
        argv += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        argv.append("--unshare-user")
    argv += ["--die-with-parent", "--new-session", "--hostname", "function", "--chdir", "/"]
    # Left to bubblewrap, the folders above what is shown would be closed to other users.
    for folder_name in ("/var", "/run", "/etc"):
        argv += ["--perms", "0755", "--dir", folder_name]
    argv += ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            argv += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            argv += ["--ro-bind", str(folder), str(folder)]
    for name in (*_SETTINGS, *(_NETWORK_SETTINGS if has_network else ())):
        argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return [*argv, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]


def _user_page(uid: int) -> BinaryIO:
    """Make the list of users that is seen inside: some programs do not run as a user without a name."""
    page = os.fdopen(os.memfd_create("passwd"), "w+b")
    page.write(f"function:x:{uid}:{uid}::{_SCRATCH}:/bin/sh\n".encode())
    page.seek(0)
    return page


def _interpreter(program: str) -> Iterator[str]:
    """Show a program and the libraries beside it, if they are not in /usr: not the whole folder they lie in."""
    path = Path(program)
    if not path.is_absolute():
        # It is looked for on the process's own PATH.
        return
    for place in dict.fromkeys(place for place in (path, path.resolve()) if not place.is_relative_to("/usr")):
        folders = [place.parent]
        if place.parent.name == "bin":
            folders.append(place.parent.parent / "lib")
        for above in reversed(folders[0].parents[:-1]):
            yield from ("--perms", "0755", "--dir", str(above))
        for folder in folders:
            yield from ("--ro-bind-try", str(folder), str(folder))
