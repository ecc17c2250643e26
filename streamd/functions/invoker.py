"""Finds what an ARN names and runs it: the one way in for the API, the queue and the mappings."""

import random
from collections.abc import Callable

from streamd.core.function import Configuration, Function
from streamd.errors import FunctionMissing
from streamd.functions.faults import Fault
from streamd.functions.layers import Layers
from streamd.functions.naming import Account, parse_name
from streamd.functions.registry import Registry
from streamd.functions.running import Finished, Invocation, Runnable, Runs, Throttled
from streamd.storage.packages import Packages

__all__ = ["Counts", "Invoker"]

Counts = Callable[[Runnable, Invocation, Finished | None], None]
"""Takes note of an invocation that ended, or (None) that was throttled."""


class Invoker:
    """Runs functions by ARN."""

    def __init__(
        self,
        account: Account,
        registry: Registry,
        packages: Packages,
        layers: Layers,
        environments: Runs,
        *,
        count: Counts,
    ) -> None:
        self._account = account
        self._registry = registry
        self._packages = packages
        self._layers = layers
        self._environments = environments
        self._count = count
        self._known: dict[tuple[str, str], tuple[Configuration, int | None, Runnable]] = {}
        registry.watch(self._forget)

    async def invoke(self, invocation: Invocation, *, may_wait: bool) -> Finished:
        """Run what ``invocation.arn`` names, once, and count it.

        Raises Throttled, FunctionMissing, and SandboxFailed and PackageInvalid, which are not the function's fault.
        """
        runnable = await self.runnable(invocation.arn)
        try:
            finished = await self._environments.run(runnable, invocation, may_wait=may_wait)
        except Throttled:
            self._count(runnable, invocation, None)
            raise
        self._count(runnable, invocation, finished)
        return finished

    async def runnable(self, arn: str) -> Runnable:
        """Resolve a function's, version's or alias's ARN; an alias chooses anew each time. Raises FunctionMissing."""
        function, version = self._resolve(arn)
        configuration = self._registry.configuration(function, version)
        known = self._known.get((function.name, version))
        if known is not None and known[0] is configuration and known[1] == function.reserved:
            return known[2]
        runnable = await self._made(function, configuration)
        self._known[function.name, version] = configuration, function.reserved, runnable
        return runnable

    def _resolve(self, arn: str) -> tuple[Function, str]:
        try:
            name = parse_name(self._account, arn)
        except Fault:
            raise FunctionMissing(arn) from None
        function = self._registry.find(name.name)
        if function is None:
            raise FunctionMissing(arn)
        if name.is_version:
            return function, name.version
        alias = function.aliases.get(name.version)
        if alias is None:
            raise FunctionMissing(arn)
        # Which of two versions takes an invocation is no secret.
        return function, alias.choose(random.random())  # noqa: S311

    async def _made(self, function: Function, configuration: Configuration) -> Runnable:
        layers = [self._layers.find(arn) for arn in configuration.layers]
        return Runnable(
            name=function.name,
            version=configuration.version,
            arn=function.arn,
            revision=configuration.revision,
            runtime=configuration.runtime,
            handler=configuration.handler,
            code=await self._packages.unpack(configuration.code_sha256),
            layers=tuple([await self._packages.unpack(layer.code_sha256) for layer in layers if layer is not None]),
            memory_mb=configuration.memory_mb,
            timeout_s=configuration.timeout_s,
            scratch_mb=configuration.scratch_mb,
            variables=tuple((configuration.variables or {}).items()),
            role=configuration.role,
            log_format=configuration.logging.get("LogFormat", "Text"),
            log_level=configuration.logging.get("ApplicationLogLevel", ""),
            reserved=function.reserved,
            architecture=configuration.architecture,
        )

    def _forget(self, name: str) -> None:
        if self._registry.find(name) is None:
            for key in [key for key in self._known if key[0] == name]:
                del self._known[key]
