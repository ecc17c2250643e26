"""Starting a cell: the process, its order, and what comes back; the same for every tier.

Processes are started on one thread that lives as long as the sandbox: what dies with its parent dies with the parent's
*thread*. A start that fails, or is given up, leaves nothing.
"""

import array
import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from streamd.errors import SandboxFailed
from streamd.functions.sandbox.cells import Plan
from streamd.functions.sandbox.killing import family
from streamd.functions.sandbox.limits import DESCRIPTOR_COUNT_MAX, PROCESS_COUNT_MAX, data_byte_count_max
from streamd.functions.sandbox.walled import Pipes, WalledCell

__all__ = ["Order", "Starter", "placed"]

P = ParamSpec("P")
T = TypeVar("T")
_START_LIMIT_S = 20.0
_END_PATIENCE_S = 1.0
_COMPLAINT_BYTE_COUNT_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the launcher is told: the launcher's module says it. ``file_byte_count_max`` 0 is no bound."""

    place: str
    command: Sequence[str]
    uid: int | None = None
    listens: bool = False
    guards: bool = False
    has_process_bound: bool = True
    file_byte_count_max: int = 0
    covers: Sequence[str] = ()
    shows: Sequence[tuple[str, str]] = ()

    def text(self, plan: Plan, variables: Mapping[str, str]) -> bytes:
        """Write it down."""
        numbers = (
            self.uid or 0,
            data_byte_count_max(plan),
            DESCRIPTOR_COUNT_MAX,
            PROCESS_COUNT_MAX if self.has_process_bound else 0,
            self.file_byte_count_max,
            int(self.listens),
            int(self.guards),
            os.getpid(),
            len(self.covers),
            len(self.shows),
            len(self.command),
        )
        settings = (f"{name}={value}" for name, value in variables.items())
        shows = (part for show in self.shows for part in show)
        fields = (" ".join(map(str, numbers)), self.place, *self.covers, *shows, *self.command, *settings)
        return "\0".join(fields).encode("utf-8", "surrogateescape")


class Starter:
    """Starts cells.

    ``go_private`` is run once on the thread: what is mounted there is seen by cells only, and is gone with the daemon,
    however that ends.
    """

    def __init__(self, go_private: Callable[[], None]) -> None:
        self._thread = ThreadPoolExecutor(1, "sandbox", initializer=go_private)

    async def on_thread(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Do what has to do with mounts on the thread that sees them."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **more))

    def wait_on_thread(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Do the same from another thread, which waits."""
        return self._thread.submit(work, *args, **more).result()

    async def start(
        self,
        plan: Plan,
        order: Order,
        argv: Sequence[str],
        *,
        ports: tuple[int, int],
        unbounded_scratch: Path | None,
        descriptors: Sequence[int] = (),
    ) -> WalledCell:
        """Start ``argv`` with the control socket's number as its last argument. Raises SandboxFailed.

        ``descriptors`` are passed on besides.
        """
        with ExitStack() as undo:
            ours, theirs = _pair(undo)
            output, printed = _pair(undo)
            telemetry, frames = _pair(undo) if _has_frames(plan) else (None, None)
            listeners = [] if order.listens else [_listener(undo) for _ in ports]
            if listeners:
                ports = (listeners[0].getsockname()[1], listeners[1].getsockname()[1])
            variables = {
                **plan.variables,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{ports[0]}",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[1]}",
            }
            passed = [theirs.fileno(), *descriptors]
            if frames is not None:
                passed.append(frames.fileno())
                variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(frames.fileno())
            child = await self._spawn([*argv, str(theirs.fileno())], printed.fileno(), passed, undo)
            theirs.close()
            printed.close()
            if frames is not None:
                frames.close()
            try:
                async with asyncio.timeout(_START_LIMIT_S):
                    await self._receive(ours, undo)
                    root_pid = child.pid if order.guards else family(child.pid)[0]
                    descriptor = os.pidfd_open(root_pid)
                    undo.callback(os.close, descriptor)
                    await asyncio.get_running_loop().sock_sendall(ours, order.text(plan, variables))
                    ours.shutdown(socket.SHUT_WR)
                    listeners += await self._receive(ours, undo)
            except (OSError, IndexError, TimeoutError) as error:
                raise SandboxFailed(f"the launcher did not begin: {_complaint(output) or error}") from error
            if len(listeners) != 2:
                raise SandboxFailed("the launcher gave no listeners")
            pipes = Pipes(listeners[0], listeners[1], output, telemetry)
            cell = WalledCell(child, root_pid, descriptor, pipes, plan, unbounded_scratch=unbounded_scratch)
            undo.pop_all()
            ours.close()
            return cell

    async def _spawn(
        self, argv: Sequence[str], output: int, passed: Sequence[int], undo: ExitStack
    ) -> subprocess.Popen[bytes]:
        def spawn() -> subprocess.Popen[bytes]:
            # No variables: they would act on what still has privileges.
            return subprocess.Popen(  # noqa: S603 - our own command
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={},
                pass_fds=passed,
                cwd="/",
                start_new_session=True,
            )

        spawning = self._thread.submit(spawn)
        try:
            child = await asyncio.shield(asyncio.wrap_future(spawning))
        except OSError as error:
            raise SandboxFailed(f"a process cannot be started: {error}") from error
        except asyncio.CancelledError:
            _abandon(spawning)
            raise
        undo.callback(_end, child)
        return child

    async def _receive(self, control: socket.socket, undo: ExitStack) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(control, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(control)
        size = array.array("i").itemsize
        said, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(2 * size), socket.MSG_CMSG_CLOEXEC)
        listeners: list[socket.socket] = []
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i", data[: len(data) // size * size])
                listeners += [socket.socket(fileno=number) for number in numbers]
        for listener in listeners:
            undo.callback(listener.close)
            listener.setblocking(False)
        if not said:
            raise ConnectionError("it ended")
        return listeners


def placed(part: str, *, task: str, runtime: str) -> str:
    """Put the paths as they are inside into a part of a command."""
    return part.replace("{task}", task).replace("{runtime}", runtime)


def _has_frames(plan: Plan) -> bool:
    return plan.variables.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_python")


def _pair(undo: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    undo.callback(ours.close)
    undo.callback(theirs.close)
    ours.setblocking(False)
    return ours, theirs


def _listener(undo: ExitStack) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    undo.callback(listener.close)
    listener.setblocking(False)
    return listener


def _complaint(output: socket.socket) -> str:
    try:
        return output.recv(_COMPLAINT_BYTE_COUNT_MAX).decode(errors="replace").strip()
    except OSError:
        return ""


def _abandon(spawning: Future[subprocess.Popen[bytes]]) -> None:
    """End what nobody waits for any more; what it is handed may be closed only after that, so it is waited for."""
    if spawning.cancel():
        return
    with suppress(OSError):
        _end(spawning.result())


def _end(child: subprocess.Popen[bytes]) -> None:
    """End what is not a cell yet; a warden that has begun ends what is below it first."""
    if child.poll() is not None:
        return
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_END_PATIENCE_S)
    if child.returncode is None:
        child.kill()
        child.wait()
