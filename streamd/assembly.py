"""What runs functions, built in order and taken down in reverse: constructors only. One worker does this."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from streamd.config import Config
from streamd.core.mapping import EventSourceMapping
from streamd.core.mapping_steps import MappingCounters
from streamd.core.replies import Reply
from streamd.core.session_keys import SessionKeys
from streamd.core.sigv4 import SignedRequest
from streamd.engine.engine import Engine
from streamd.errors import StreamNotFound
from streamd.functions.calls import Route
from streamd.functions.dialect import Authenticates, LambdaDialect
from streamd.functions.environments.environments import Environments
from streamd.functions.environments.launch import Launches
from streamd.functions.environments.runtimes import Runtimes, configured_commands, find_runtimes
from streamd.functions.event_targets import RegistrySettings
from streamd.functions.host import Host
from streamd.functions.invoker import Invoker
from streamd.functions.journal.counting import Counting, MappingCounting
from streamd.functions.journal.logs import Journal, LogRoutes
from streamd.functions.journal.logs_dialect import LogsDialect
from streamd.functions.journal.printed_metrics import PrintedMetrics
from streamd.functions.journal.usage import Usage
from streamd.functions.journal.usage_report import UsageReports
from streamd.functions.layer_calls import get_layer_code
from streamd.functions.layers import Layers
from streamd.functions.mappings.api import MappingCalls
from streamd.functions.mappings.failures import FailureDelivery
from streamd.functions.mappings.mapping_runner import MappingTools
from streamd.functions.mappings.mappings import Mappings
from streamd.functions.mappings.registry import MappingRegistry
from streamd.functions.mappings.source_table import SourceTable
from streamd.functions.naming import Account
from streamd.functions.operations import OPERATION_BY_NAME
from streamd.functions.provisioning import Provisioner
from streamd.functions.push.door import PushDoor
from streamd.functions.push.policies import RegistryPolicies
from streamd.functions.push.routes import PushRoutes
from streamd.functions.push.sns_desk import SnsDesk
from streamd.functions.queue.dispatcher import Dispatcher
from streamd.functions.queue.event_clock import EventClock
from streamd.functions.queue.event_queue import EventQueue
from streamd.functions.reading import get_code
from streamd.functions.registry import Registry
from streamd.functions.sandbox.cells import Sandbox
from streamd.functions.sandbox.probe import choose
from streamd.functions.settings_text import FunctionSettings
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.destinations import Destinations
from streamd.functions.targets.endpoints import EndpointTable
from streamd.functions.targets.services import Services
from streamd.server.outbound import Outbound
from streamd.storage.boot import boot_id
from streamd.storage.directory import DataDirectory
from streamd.storage.function_logs import FunctionLogs
from streamd.storage.outcome_folder import OutcomeFolders
from streamd.storage.packages import Packages
from streamd.storage.runtime_folder import ScratchFolders

__all__ = ["FunctionsRoom"]

_LOG = logging.getLogger(__name__)
_ENVIRONMENTS_PER_CORE = 4
_CLOSE_PATIENCE_S = 2.0
_DRAIN_PATIENCE_S = 8.0
_HOUR_MS = 3_600_000
_FIGURES_PAUSE_S = 5.0


class FunctionsRoom:
    """The functions of a daemon. ``run`` is the parent of everything; ``answer`` is the way in."""

    def __init__(
        self,
        config: Config,
        directory: DataDirectory,
        engine: Engine,
        authenticator: Authenticates,
        *,
        gateway: Callable[[], asyncio.Protocol],
        tls_port: int | None,
    ) -> None:
        self._config = config
        self._directory = directory
        self._engine = engine
        self._authenticator = authenticator
        self._tls_port = tls_port
        self._settings = FunctionSettings.parse(config.functions.settings)
        self._account = Account(config.account.account_id, config.account.region)
        self._registry = Registry(engine.store)
        self._layers = Layers(engine.store)
        self._packages = Packages(directory.packages_path)
        self._mapping_registry = MappingRegistry(engine.store)
        self._usage = Usage(engine.store, engine.clock)
        self._counting = Counting(self._usage, engine.metrics)
        self._logs = FunctionLogs(
            directory.function_logs_path,
            byte_count_max=config.functions.log_byte_count_max,
            on_drop=self._counting.lines_dropped,
        )
        self._endpoints = EndpointTable.parse(self._settings.endpoints, default_region=config.account.region)
        self._push_routes = PushRoutes.parse(self._settings.push_routes, account=self._account)
        self._begun = asyncio.Event()
        self._dialect: LambdaDialect | None = None
        self._sandbox: Sandbox | None = None
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._gateway = gateway

    async def load(self) -> None:
        """Read what there is; once, before anything else."""
        await self._registry.load()
        await self._layers.load()
        await self._mapping_registry.load()

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request; the first waits until everything runs."""
        await self._begun.wait()
        assert self._dialect is not None
        return await self._dialect.answer(request)

    def about(self) -> dict[str, Any]:
        """Tell of the sandbox, for whoever asks whether the server is ready."""
        if self._sandbox is None:
            return {"functions": {"sandbox": None, "reason": "functions are being started"}}
        return {"functions": {"sandbox": self._sandbox.tier, "lacks": self._sandbox.lacks}}

    async def drain(self) -> None:
        """Begin nothing more by itself, and wait a while until what is in hand is over; requests are still answered."""
        self._logs.end_waits()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_PATIENCE_S):
                await asyncio.gather(*[drain() for drain in self._drains])

    async def run(self) -> NoReturn:
        """Build everything, and run it until cancelled. Raises ConfigInvalid."""
        runtimes = await asyncio.to_thread(
            find_runtimes,
            self._directory.functions_path / "runtime",
            own_python=sys.executable,
            commands=configured_commands(self._config.functions.settings),
        )
        await self._packages.keep_only(self._registry.packages() | self._layers.packages())
        await self._logs.open()
        await self._logs.keep_only(frozenset(function.name for function in self._registry))
        async with Outbound() as outbound:
            try:
                await self._run(runtimes, outbound)
            finally:
                await self._usage.close()
                await self._logs.close()
        raise AssertionError("it runs until it is cancelled")

    async def _run(self, runtimes: Runtimes, outbound: Outbound) -> None:
        engine = self._engine
        environments = await self._environments(runtimes)
        invoker = Invoker(
            self._account, self._registry, self._packages, self._layers, environments, count=self._counting.count
        )
        event_clock = EventClock(engine.store, engine.clock, boot_id=boot_id())
        await event_clock.open()
        queue = EventQueue(engine.store, event_clock)
        service_calls = ServiceCalls(outbound, engine.clock)
        destinations = self._destinations(queue, outbound, service_calls)
        dispatcher = self._dispatcher(event_clock, invoker, destinations, environments)
        sources = SourceTable(account=self._account, engine=engine, endpoints=self._endpoints, calls=service_calls)
        mappings = Mappings(sources)
        host = self._host(runtimes, invoker, queue, environments, destinations)
        calls = MappingCalls(
            host=host,
            mappings=self._mapping_registry,
            sources=sources,
            last_result=mappings.last_result,
            status=mappings.status,
        )
        door = PushDoor(
            self._push_routes,
            queue=queue,
            policies=RegistryPolicies(self._account, self._registry),
            sns=SnsDesk(outbound, engine.clock),
            clock=engine.clock,
            region=self._account.region,
        )
        self._dialect = self._speaks(host, calls, door)
        self._drains = [dispatcher.drain, mappings.drain]
        self._begun.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(environments.serve())
                group.create_task(Provisioner(self._registry, invoker, environments).run())
                group.create_task(event_clock.run())
                group.create_task(dispatcher.run())
                group.create_task(mappings.run(self._mapping_tools(mappings, invoker, destinations)))
                group.create_task(self._logs.run())
                group.create_task(self._usage.run())
                group.create_task(self._show_figures(environments, mappings))
        finally:
            await environments.close(patience_s=_CLOSE_PATIENCE_S)

    async def _show_figures(self, environments: Environments, mappings: Mappings) -> NoReturn:
        """Show now and then what no event counts."""
        counting = MappingCounting(self._engine.metrics)
        while True:
            self._counting.note_concurrency({name: told.busy for name, told in environments.counts().items()})
            for mapping, waiting_count, lag_count in await mappings.depths():
                counting.note_depth(mapping, waiting_count=waiting_count, lag_count=lag_count)
            await asyncio.sleep(_FIGURES_PAUSE_S)

    async def _environments(self, runtimes: Runtimes) -> Environments:
        config = self._config.functions
        folder = self._directory.functions_path
        sandbox = await asyncio.to_thread(choose, config.sandbox, folder=folder / "cells")
        self._sandbox = sandbox
        _LOG.info("functions run in the sandbox %s", sandbox.tier)
        for sentence in sandbox.lacks:
            _LOG.info("the sandbox %s on this machine: %s", sandbox.tier, sentence)
        self._counting.note_sandbox(sandbox.tier.value)
        scratches = ScratchFolders(folder / "scratch")
        await asyncio.to_thread(scratches.sweep)
        environments = Environments(
            sandbox=sandbox,
            launches=Launches(
                runtimes,
                _Mint(SessionKeys(self._directory.token_secret())),
                tier=sandbox.tier,
                region=self._account.region,
                has_network=config.network == "host",
            ),
            scratches=scratches,
            logs=Journal(self._logs, PrintedMetrics(self._engine.metrics)),
            clock=self._engine.clock,
            region=self._account.region,
            account_limit=config.concurrency or _ENVIRONMENTS_PER_CORE * (os.cpu_count() or 1),
            idle_s=config.idle_s,
            gateway=self._gateway,
            release=lambda scratch: asyncio.to_thread(sandbox.discard, scratch),
        )
        self._registry.watch(partial(_follow, self._registry, environments, self._logs))
        for function in self._registry:
            environments.reserve(function.name, function.reserved)
        return environments

    def _dispatcher(
        self, event_clock: EventClock, invoker: Invoker, destinations: Destinations, environments: Environments
    ) -> Dispatcher:
        return Dispatcher(
            self._engine.store,
            self._engine.clock,
            event_clock=event_clock,
            invoker=invoker,
            settings=RegistrySettings(self._account, self._registry),
            delivers=destinations,
            counts=self._counting,
            delays_ms=tuple(round(1000 * delay_s) for delay_s in self._config.functions.retry_delays_s),
            lane_width=lambda: environments.account_limit,
        )

    def _destinations(self, queue: EventQueue, outbound: Outbound, service_calls: ServiceCalls) -> Destinations:
        return Destinations(
            account=self._account,
            engine=self._engine,
            queue=queue,
            endpoints=self._endpoints,
            services=Services(service_calls),
            calls=outbound,
            folders=OutcomeFolders.parse(self._settings.folders),
        )

    def _host(
        self,
        runtimes: Runtimes,
        invoker: Invoker,
        queue: EventQueue,
        environments: Environments,
        destinations: Destinations,
    ) -> Host:
        return Host(
            account=self._account,
            registry=self._registry,
            packages=self._packages,
            layers=self._layers,
            clock=self._engine.clock,
            invoker=invoker,
            queue=queue,
            concurrency=environments,
            mapping_tags=self._mapping_registry,
            check_target=destinations.check,
            runtimes=runtimes.names,
            secret=self._directory.token_secret(),
            transition_ms=self._config.account.transition_ms,
            timeout_s_max=self._config.functions.timeout_s_max,
        )

    def _speaks(self, host: Host, calls: MappingCalls, door: PushDoor) -> LambdaDialect:
        return LambdaDialect(
            self._authenticator,
            self._engine.metrics,
            operations={
                **{name: partial(operation, host) for name, operation in OPERATION_BY_NAME.items()},
                **calls.operations(),
            },
            routes=[
                Route("GetCode", "GET", "/_streamd/code/{name}/{version}", partial(get_code, host), is_open=True),
                Route(
                    "GetLayerCode",
                    "GET",
                    "/_streamd/layers/{name}/{version}",
                    partial(get_layer_code, host),
                    is_open=True,
                ),
                Route("GetMappingStatus", "GET", "/_streamd/mappings/{uuid}", calls.tell_status),
                *LogRoutes(self._logs, lambda name: self._registry.find(name) is not None).routes(),
                *UsageReports(self._usage, self._engine.clock).routes(),
                *door.routes(),
            ],
            logs=LogsDialect(self._logs, self._account, names=lambda: [function.name for function in self._registry]),
            tls_port=self._tls_port,
        )

    def _mapping_tools(self, mappings: Mappings, invoker: Invoker, destinations: Destinations) -> MappingTools:
        counting = MappingCounting(self._engine.metrics)

        def count(mapping: EventSourceMapping, counters: MappingCounters) -> None:
            mappings.count(mapping, counters)
            counting.count(mapping, counters)

        return MappingTools(
            registry=self._mapping_registry,
            invoker=invoker,
            clock=self._engine.clock,
            role_of=self._role_of,
            stops_loops_of=self._stops_loops_of,
            retention_ms_of=self._retention_ms_of,
            failures=FailureDelivery(
                destinations,
                self._engine.clock,
                count_lost=lambda mapping: self._counting.delivery_failed(mapping.function_arn),
            ),
            note=mappings.note,
            count=count,
            note_age=counting.note_age,
        )

    def _role_of(self, arn: str) -> str:
        function = self._registry.find(arn.split(":")[6])
        return "" if function is None else function.latest.role

    def _stops_loops_of(self, arn: str) -> bool:
        function = self._registry.find(arn.split(":")[6])
        return function is not None and function.recursion != "Allow"

    async def _retention_ms_of(self, arn: str) -> int:
        """Tell how long a stream of this server keeps records; 0 for one elsewhere."""
        if ":kinesis:" not in arn:
            return 0
        try:
            stream = await self._engine.streams.load(arn.partition("/")[2].partition("/")[0])
        except StreamNotFound:
            return 0
        return stream.retention_hours * _HOUR_MS


@dataclass(frozen=True, slots=True)
class _Mint:
    """Makes keys for functions, in the form that environments take them."""

    keys: SessionKeys

    def mint(self, role: str, function: str) -> tuple[str, str, str]:
        """Give a key's id, its secret and its session token."""
        key = self.keys.mint(role, function)
        return key.access_key_id, key.secret, key.session_token or ""


def _follow(registry: Registry, environments: Environments, logs: FunctionLogs, name: str) -> None:
    """Have environments follow a function that was changed or deleted."""
    function = registry.find(name)
    if function is None:
        environments.retire(name, frozenset())
        environments.reserve(name, None)
        logs.discard(name)
        return
    versions = registry.versions(name)
    environments.retire(name, frozenset({each.revision for each in (function.latest, *versions)}))
    environments.reserve(name, function.reserved)
