"""Every function by name, and every published version.

One process, the host, changes functions, so it keeps all of them in memory and writes each change to the catalog, by
compare-and-set, before anybody sees it. A function is one document; a published version, which never changes, is one
of its own.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson

from streamd.core.function import LATEST, Configuration, Function
from streamd.errors import FunctionMissing
from streamd.storage.store import Store

__all__ = ["Registry"]

_FUNCTION_PREFIX = "function/"
_VERSION_PREFIX = "function-version/"
_PAGE_COUNT = 1000


class Registry:
    """The functions of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._functions: dict[str, Function] = {}
        self._catalog_version: dict[str, int] = {}
        self._versions: dict[str, dict[str, Configuration]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._watchers: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Read everything; once, before anything else."""
        async for name, version, document in self._documents(_FUNCTION_PREFIX):
            self._functions[name] = Function.from_document(document)
            self._catalog_version[name] = version
        async for key, _, document in self._documents(_VERSION_PREFIX):
            name, _, number = key.partition("/")
            if name in self._functions:
                self._versions.setdefault(name, {})[number] = Configuration.from_document(document)
            else:
                # A deletion that was interrupted is finished here.
                await self._remove(_VERSION_PREFIX + key)

    def watch(self, told: Callable[[str], None]) -> None:
        """Have somebody told the name of each function that was changed or deleted."""
        self._watchers.append(told)

    def __iter__(self) -> Iterator[Function]:
        """Give every function, in order of name."""
        for name in sorted(self._functions):
            yield self._functions[name]

    def __len__(self) -> int:
        return len(self._functions)

    def find(self, name: str) -> Function | None:
        """Give a function, None when there is none of that name."""
        return self._functions.get(name)

    def versions(self, name: str) -> list[Configuration]:
        """Give the published versions of a function, oldest first."""
        return sorted(self._versions.get(name, {}).values(), key=lambda version: int(version.version))

    def configuration(self, function: Function, version: str) -> Configuration:
        """Give $LATEST or a published version. Raises FunctionMissing."""
        if version == LATEST:
            return function.latest
        found = self._versions.get(function.name, {}).get(version)
        if found is None:
            raise FunctionMissing(f"{function.arn}:{version}")
        return found

    def packages(self) -> set[str]:
        """Name the packages (by hash) that a version needs."""
        latest = {function.latest.code_sha256 for function in self._functions.values()}
        published = {each.code_sha256 for versions in self._versions.values() for each in versions.values()}
        return latest | published

    async def create(self, function: Function) -> bool:
        """Keep a new function; False when there is one of that name."""
        async with self._changing(function.name):
            if function.name in self._functions:
                return False
            await self._write(function)
        return True

    async def change(self, name: str, decide: Callable[[Function], Function]) -> Function:
        """Change a function by a decision on its present value. Raises FunctionMissing and what the decision raises."""
        async with self._changing(name):
            wanted = decide(self._present(name))
            if wanted != self._functions[name]:
                await self._write(wanted)
            return wanted

    async def publish(self, name: str, decide: Callable[[Function], Configuration | None]) -> Configuration | None:
        """Publish $LATEST as the decision words it, under the next number; None when it decides against it.

        Raises FunctionMissing and what the decision raises.
        """
        async with self._changing(name):
            function = self._present(name)
            decided = decide(function)
            if decided is None:
                return None
            # The number first: one that was taken and not used is a gap, one that is used twice would be a lie.
            function = replace(function, version_count=function.version_count + 1)
            await self._write(function)
            published = replace(decided, version=str(function.version_count))
            key = f"{_VERSION_PREFIX}{name}/{published.version}"
            await self._store.compare_and_set(key, orjson.dumps(published), expected=None)
            self._versions.setdefault(name, {})[published.version] = published
            return published

    async def delete(self, name: str) -> None:
        """Remove a function and all its versions. Raises FunctionMissing."""
        async with self._changing(name):
            self._present(name)
            await self._store.compare_and_set(
                _FUNCTION_PREFIX + name, None, expected=self._catalog_version.pop(name, None)
            )
            del self._functions[name]
            for number in self._versions.pop(name, {}):
                await self._remove(f"{_VERSION_PREFIX}{name}/{number}")
            self._tell(name)

    async def delete_version(self, name: str, version: str) -> None:
        """Remove a published version, if there is one. Raises FunctionMissing without the function."""
        async with self._changing(name):
            self._present(name)
            if self._versions.get(name, {}).pop(version, None) is not None:
                await self._remove(f"{_VERSION_PREFIX}{name}/{version}")
                self._tell(name)

    def _present(self, name: str) -> Function:
        function = self._functions.get(name)
        if function is None:
            raise FunctionMissing(name)
        return function

    @asynccontextmanager
    async def _changing(self, name: str) -> Any:
        """Let one change of a function at a time through."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield
        if name not in self._functions and not lock.locked():
            self._locks.pop(name, None)

    async def _write(self, function: Function) -> None:
        """Keep a function. One that cannot be seen by others yet is seen only once it is on disk."""
        name = function.name
        expected = self._catalog_version.get(name)
        version = await self._store.compare_and_set(_FUNCTION_PREFIX + name, orjson.dumps(function), expected=expected)
        self._catalog_version[name] = version
        self._functions[name] = function
        self._tell(name)

    async def _remove(self, key: str) -> None:
        version = await self._store.version(key)
        if version is not None:
            await self._store.compare_and_set(key, None, expected=version)

    async def _documents(self, prefix: str) -> Any:
        """Read every document under a prefix: key without it, catalog version, content."""
        after = ""
        while keys := await self._store.scan(prefix, after=after, limit=_PAGE_COUNT):
            for key in keys:
                document = await self._store.get(prefix + key)
                if document is not None:
                    yield key, document.version, orjson.loads(document.content)
            after = keys[-1]

    def _tell(self, name: str) -> None:
        for told in self._watchers:
            told(name)
