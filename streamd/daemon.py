"""One worker: the rooms built in order, taken down in reverse. Constructors only."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from streamd.config import Config
from streamd.core.session_keys import SessionKeys
from streamd.engine.clock import SystemClock
from streamd.engine.engine import Engine
from streamd.engine.on_demand import OnDemandScaler
from streamd.engine.retention import Janitor
from streamd.errors import StoreFailed
from streamd.functions_door import FunctionsDoor
from streamd.kinesis.operation import KinesisDialect
from streamd.metrics import Metrics
from streamd.server.auth import AccessKeys, Authenticator
from streamd.server.dialects import Dialects
from streamd.server.host_link import HostLink, serve_link
from streamd.server.http import HttpDoor
from streamd.server.pages import pages
from streamd.server.tls import tls_context
from streamd.storage.counters import Counters
from streamd.storage.directory import DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.signals import Bells
from streamd.storage.store import Store

__all__ = ["STORE_FAILED_STATUS", "Worker", "WorkerSeat"]

_LOG = logging.getLogger(__name__)

STORE_FAILED_STATUS = 74
"""Exit status after the store failed to write or sync (EX_IOERR): the daemon is not started again by itself."""

_FIGURES_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeat:
    """What a worker is handed by whoever started it; ``parent`` hears of the supervisor's end, -1 without one.

    ``link_listener`` is where the first worker, which has the functions, is reached by the others, under ``link_name``.
    """

    index: int
    listener: socket.socket
    tls_listener: socket.socket | None = None
    bells: Bells
    metrics_folder: str
    ready: socket.socket | None = None
    parent_pipe: int = -1
    link_listener: socket.socket | None = None
    link_name: str = ""


class Worker:
    """One process's part of the daemon."""

    def __init__(self, config: Config, directory: DataDirectory, seat: WorkerSeat) -> None:
        self._config = config
        self._directory = directory
        self._seat = seat
        self._stopping = asyncio.Event()
        self._failure: StoreFailed | None = None

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        if self._seat.parent_pipe >= 0:
            loop.add_reader(self._seat.parent_pipe, self._stopping.set)
        metrics = Metrics()
        clock = SystemClock()
        store = Store(
            Environment(self._directory.log_path, size_max=self._config.store.size_max),
            now_ms=clock.now_ms,
            metrics=metrics,
            on_failure=self._failed,
            bells=self._seat.bells,
            worker=self._seat.index,
        )
        counters = Counters(self._directory.counters_path)
        try:
            await self._serve(self._engine(store, counters, clock, metrics))
        finally:
            await store.close()
            counters.close()
        return STORE_FAILED_STATUS if self._failure else 0

    def _engine(self, store: Store, counters: Counters, clock: SystemClock, metrics: Metrics) -> Engine:
        return Engine.on(
            store,
            counters=counters,
            clock=clock,
            metrics=metrics,
            account=self._config.account,
            master_key=lambda: self._directory.master_key(self._config.store.master_key),
            token_secret=self._directory.token_secret(),
        )

    async def _serve(self, engine: Engine) -> None:
        keys = self._config.door.access_keys
        authenticator = Authenticator(
            None if keys is None else AccessKeys.parse(keys),
            engine.clock.now_ms,
            region=self._config.account.region,
            sessions=SessionKeys(self._directory.token_secret()),
        )
        # The door is made after what it leads to.
        functions = self._functions(engine, authenticator, gateway=lambda: door.connect())  # noqa: PLW0108
        if functions is not None:
            await functions.look()
        door = HttpDoor(
            Dialects(KinesisDialect(engine, authenticator), functions or HostLink(self._seat.link_name)),
            pages(
                engine,
                metrics_folder=self._seat.metrics_folder,
                about=dict if functions is None else functions.about,
            ),
            engine.answers,
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_note_worker(engine, door))]
            if self._seat.index == 0:
                tasks += self._start_services(group, engine)
            if functions is not None:
                tasks.append(group.create_task(functions.run()))
            if functions is not None and self._seat.link_listener is not None:
                tasks.append(group.create_task(serve_link(self._seat.link_listener, functions)))
            tasks.append(await door.open(self._seat.listener, group))
            await self._open_tls(door)
            if self._seat.ready is not None:
                self._seat.ready.send(b"\0")
            await self._stopping.wait()
            if functions is not None:
                await functions.drain()
            engine.store.end_waits()
            await door.close()
            for task in tasks:
                task.cancel()

    def _functions(
        self, engine: Engine, authenticator: Authenticator, *, gateway: Callable[[], asyncio.Protocol]
    ) -> FunctionsDoor | None:
        """Make the way to the functions, in the one worker that has them."""
        if self._seat.index != 0:
            return None
        tls = self._seat.tls_listener
        return FunctionsDoor(
            self._config,
            self._directory,
            engine,
            authenticator,
            gateway=gateway,
            tls_port=None if tls is None else tls.getsockname()[1],
        )

    async def _open_tls(self, door: HttpDoor) -> None:
        tls, listener = self._config.door.tls, self._seat.tls_listener
        if tls is not None and listener is not None:
            await door.open_tls(listener, tls_context(tls))

    def _start_services(self, group: asyncio.TaskGroup, engine: Engine) -> list[asyncio.Task[NoReturn]]:
        """Start what one worker does for all."""
        janitor = Janitor(engine.store, engine.streams, engine.resharder, engine.clock, engine.metrics)
        scaler = OnDemandScaler(
            engine.store, engine.streams, engine.resharder, engine.clock, shard_quota=engine.shard_quota
        )
        return [
            group.create_task(janitor.run(transition_ms=engine.transition_ms)),
            group.create_task(scaler.run()),
        ]

    def _failed(self, failure: StoreFailed) -> None:
        _LOG.critical("%s; the daemon ends, so that nothing more is acknowledged", failure)
        self._failure = failure
        self._stopping.set()


async def _note_worker(engine: Engine, door: HttpDoor) -> NoReturn:
    while True:
        engine.metrics.note_worker(body_byte_count=door.body_byte_count, answer_byte_count=engine.answers.byte_count)
        await asyncio.sleep(_FIGURES_PAUSE_S)
