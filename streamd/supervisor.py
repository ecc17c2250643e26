"""The daemon's processes: one, or several that share a port and a data directory.

Every worker has a listening socket of its own on the one port; the supervisor holds them all open, so the port never
closes and connections that come while a worker is replaced wait for its successor. A worker that dies is replaced; one
that says that the store failed ends the daemon. The supervisor itself does no work and opens no store: it forks before
there is anything that could not be forked.
"""

import asyncio
import errno
import gc
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from streamd.config import Config
from streamd.daemon import STORE_FAILED_STATUS, Worker, WorkerSeat
from streamd.errors import ConfigInvalid, StreamdError
from streamd.metrics import forget_worker
from streamd.storage.directory import DataDirectory
from streamd.storage.signals import Bells

__all__ = ["Announce", "serve"]

_LOG = logging.getLogger(__name__)

Announce = Callable[[str, str | None], None]
"""Called once with the server's URL, and its URL under TLS if it has one, when it accepts requests."""

_Listeners = tuple[socket.socket, socket.socket | None]

_STOP_PATIENCE_S = 20.0
_BIND_PATIENCE_S = 2.0
# What the doors of a worker let in, and room for the store's own.
_FILE_COUNT = 65_536
_BIND_PAUSE_S = 0.05
_BACKLOG = 1024
_PAUSE_S_MAX = 5.0
_SHORT_LIFE_S = 2.0
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_DAMAGE_STATUSES = frozenset((-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV))
_SIGNALS = (*_ENDING_SIGNALS, signal.SIGCHLD)


def serve(config: Config, *, metrics_folder: str, announce: Announce) -> int:
    """Run the daemon until it is told to stop; the exit status.

    Raises ConfigInvalid, DirectoryInUse and FormatUnknown before anything is served.
    """
    directory = DataDirectory(config.store.directory).open()
    try:
        if config.store.master_key is not None:
            # A wrong path is told now, not when the first stream is encrypted.
            directory.master_key(config.store.master_key)
        directory.token_secret()
        _allow_connections()
        door, tls = config.door, config.door.tls
        pairs = list(
            zip(
                _listeners(door.host, door.port, config.worker_count),
                [None] * config.worker_count if tls is None else _listeners(door.host, tls.port, config.worker_count),
                strict=True,
            )
        )
        url = f"http://{_place(door.host, pairs[0][0])}"
        tls_url = None if pairs[0][1] is None else f"https://{_place(door.host, pairs[0][1])}"
        # What the imports made stays for good: the collector need not walk it again, nor a fork copy its pages.
        gc.collect()
        gc.freeze()
        if config.worker_count == 1:
            return _serve_alone(config, directory, pairs[0], metrics_folder, lambda: announce(url, tls_url))
        return _Supervisor(config, directory, pairs, metrics_folder).run(lambda: announce(url, tls_url))
    finally:
        directory.close()


class _Supervisor:
    """Starts the workers and replaces them."""

    def __init__(
        self, config: Config, directory: DataDirectory, listeners: list[_Listeners], metrics_folder: str
    ) -> None:
        self._config = config
        self._directory = directory
        self._listeners = listeners
        self._metrics_folder = metrics_folder
        self._bells = Bells(len(listeners))
        # Linux's abstract namespace: no path, nothing left behind, and the name is the socket's while it lives.
        self._link_name = f"\0streamd-{secrets.token_hex(16)}"
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link.bind(self._link_name)
        self._link.listen(_BACKLOG)
        self._link.setblocking(False)
        self._ready = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Workers hold the reading end: it ends when the supervisor does, however it ends.
        self._life = os.pipe()
        self._index_by_pid: dict[int, int] = {}
        self._started_by_pid: dict[int, float] = {}
        self._due_by_index: dict[int, float] = {}
        self._pause_s_by_index: dict[int, float] = {}

    def run(self, announce: Callable[[], None]) -> int:
        """Run until told to stop; the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for index in range(len(self._listeners)):
            self._start(index)
        self._ready[0].setblocking(False)
        awaited = len(self._listeners)
        while True:
            awaited -= self._heard_ready()
            if awaited == 0:
                announce()
                awaited = -1
            heard = signal.sigtimedwait(_SIGNALS, self._wait_s(is_starting=awaited > 0))
            # By name: a wait whose time ran out while we were stopped (SIGSTOP) gives a signal that nobody sent.
            if heard is not None and heard.si_signo in _ENDING_SIGNALS:
                return self._stop(0)
            status = self._bury()
            if status == STORE_FAILED_STATUS:
                _LOG.critical("a worker could not write to the store: the daemon ends")
                return self._stop(STORE_FAILED_STATUS)
            if awaited > 0 and status is not None:
                return self._stop(1)
            self._restart_due()

    def _wait_s(self, *, is_starting: bool) -> float:
        if is_starting:
            return 0.02
        now = time.monotonic()
        return max(0.0, min((due - now for due in self._due_by_index.values()), default=3600.0))

    def _heard_ready(self) -> int:
        count = 0
        try:
            while self._ready[0].recv(16):
                count += 1
        except BlockingIOError:
            return count
        return count

    def _start(self, index: int) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(self._be_worker(index))
        self._index_by_pid[pid] = index
        self._started_by_pid[pid] = time.monotonic()

    def _be_worker(self, index: int) -> int:
        """Live the worker's whole life, in the child; its exit status."""
        try:
            os.close(self._life[1])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            seat = WorkerSeat(
                index=index,
                listener=self._listeners[index][0],
                tls_listener=self._listeners[index][1],
                bells=self._bells,
                metrics_folder=self._metrics_folder,
                ready=self._ready[1],
                parent_pipe=self._life[0],
                link_listener=self._link if index == 0 else None,
                link_name=self._link_name,
            )
            status = _run(lambda: Worker(self._config, self._directory, seat).run())
        except StreamdError as error:
            # Such as a log that cannot be opened: a sentence for people, and no bug of ours.
            _LOG.critical("%s", error)
            status = 1
        except BaseException:  # the last frame of a process: nobody else can tell what went wrong
            _LOG.exception("worker %d ended", index)
            status = 1
        logging.shutdown()
        sys.stdout.flush()
        return status

    def _bury(self) -> int | None:
        """Collect workers that ended and plan their successors; the gravest status, None when none ended."""
        gravest: int | None = None
        while self._index_by_pid:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            status = os.waitstatus_to_exitcode(code)
            index = self._index_by_pid.pop(pid)
            forget_worker(pid, self._metrics_folder)
            self._plan(index, lived_s=time.monotonic() - self._started_by_pid.pop(pid))
            fate = "" if status == STORE_FAILED_STATUS else " and is replaced"
            if status in _DAMAGE_STATUSES:
                # LMDB trusts its own pages, and ends whoever meets a damaged one.
                fate += "; pages of the log may be damaged: `streamd data check` tells"
            _LOG.error("worker %d (process %d) ended with status %d%s", index, pid, status, fate)
            gravest = status if gravest != STORE_FAILED_STATUS else gravest
        return gravest

    def _plan(self, index: int, *, lived_s: float) -> None:
        """Replace at once a worker that lived a while; one that dies young, after a growing pause."""
        pause_s = 0.0
        if lived_s < _SHORT_LIFE_S:
            pause_s = min(_PAUSE_S_MAX, max(0.05, 2 * self._pause_s_by_index.get(index, 0.0)))
        self._pause_s_by_index[index] = pause_s
        self._due_by_index[index] = time.monotonic() + pause_s

    def _restart_due(self) -> None:
        now = time.monotonic()
        for index in [index for index, due in self._due_by_index.items() if due <= now]:
            del self._due_by_index[index]
            self._start(index)

    def _stop(self, status: int) -> int:
        """Ask the workers to end, and end those that do not; give the status back."""
        for pid in self._index_by_pid:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while self._index_by_pid:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                for pid in self._index_by_pid:
                    os.kill(pid, signal.SIGKILL)
            pid, code = os.waitpid(-1, os.WNOHANG if left_s > 0 else 0)
            if pid == 0:
                signal.sigtimedwait((signal.SIGCHLD,), min(left_s, 0.2))
                continue
            self._index_by_pid.pop(pid, None)
            if os.waitstatus_to_exitcode(code) == STORE_FAILED_STATUS:
                status = STORE_FAILED_STATUS
        return status


def _serve_alone(
    config: Config,
    directory: DataDirectory,
    listeners: _Listeners,
    metrics_folder: str,
    announce: Callable[[], None],
) -> int:
    ready = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    seat = WorkerSeat(
        index=0,
        listener=listeners[0],
        tls_listener=listeners[1],
        bells=Bells(1),
        metrics_folder=metrics_folder,
        ready=ready[1],
    )

    async def live() -> int:
        loop = asyncio.get_running_loop()
        loop.add_reader(ready[0], announce_once)
        return await Worker(config, directory, seat).run()

    def announce_once() -> None:
        asyncio.get_running_loop().remove_reader(ready[0])
        announce()

    return _run(live)


def _run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _allow_connections() -> None:
    """Let every worker open as many files as the system allows: each connection is one, and 1,024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILE_COUNT if hard == resource.RLIM_INFINITY else min(_FILE_COUNT, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Open one listening socket for each worker, all on one port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    _await_free_port(family, host, port)
    listeners: list[socket.socket] = []
    for _ in range(count):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if count > 1:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _await_free_port(family: socket.AddressFamily, host: str, port: int) -> None:
    """Find out that nobody else listens: a shared port would else be shared with another daemon, silently.

    Raises ConfigInvalid.
    """
    deadline = time.monotonic() + _BIND_PATIENCE_S
    while (error := _why_not_free(family, host, port)) is not None:
        # Workers of a daemon that was just killed hold its port for a moment longer.
        if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            raise ConfigInvalid(f"cannot listen on {host}:{port}: {error.strerror}")
        time.sleep(_BIND_PAUSE_S)


def _why_not_free(family: socket.AddressFamily, host: str, port: int) -> OSError | None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _place(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
