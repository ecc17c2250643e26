"""Provisioned concurrency: sees to it that versions have as many environments ready as they are set to have."""

import asyncio
import logging
from typing import NoReturn, Protocol

from streamd.core.function import Function
from streamd.errors import StreamdError
from streamd.functions.registry import Registry
from streamd.functions.running import Runnable

__all__ = ["KeepsWarm", "Provisioner", "Resolves"]

_LOG = logging.getLogger(__name__)


class KeepsWarm(Protocol):
    """Keeps environments ready."""

    def keep_warm(self, runnable: Runnable, count: int) -> None:
        """Keep this many of a version ready; 0 ends that."""
        ...


class Resolves(Protocol):
    """Finds what an ARN names."""

    async def runnable(self, arn: str) -> Runnable:
        """Resolve the ARN of a version. Raises FunctionMissing and PackageInvalid."""
        ...


class Provisioner:
    """Follows the registry."""

    def __init__(self, registry: Registry, resolver: Resolves, environments: KeepsWarm) -> None:
        self._registry = registry
        self._resolver = resolver
        self._environments = environments
        self._changed: set[str] = {function.name for function in registry}
        self._news = asyncio.Event()
        self._warm: dict[tuple[str, str], Runnable] = {}
        registry.watch(self._note)
        self._news.set()

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = self._changed, set()
            for name in changed:
                await self._follow(name)

    def _note(self, name: str) -> None:
        self._changed.add(name)
        self._news.set()

    async def _follow(self, name: str) -> None:
        function = self._registry.find(name)
        wanted = {} if function is None else _counts(function)
        for key in [key for key in self._warm if key[0] == name and key[1] not in wanted]:
            self._environments.keep_warm(self._warm.pop(key), 0)
        for version, count in wanted.items():
            assert function is not None
            try:
                runnable = await self._resolver.runnable(f"{function.arn}:{version}")
            except StreamdError as error:
                _LOG.warning("%s:%s is not kept warm: %s", function.arn, version, error)
                continue
            self._warm[name, version] = runnable
            self._environments.keep_warm(runnable, count)


def _counts(function: Function) -> dict[str, int]:
    """Add up what is wanted of each version, by itself and by aliases."""
    counts: dict[str, int] = {}
    for qualifier, count in function.provisioned.items():
        alias = function.aliases.get(qualifier)
        version = qualifier if alias is None else alias.version
        counts[version] = counts.get(version, 0) + count
    return counts
