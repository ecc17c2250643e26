"""Layers: packages that functions share, each version of one immutable, unpacked to /opt in the order given.

A layer's versions are catalog documents of their own, kept in memory by the host, the one process that changes them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from streamd.storage.store import Store

__all__ = ["LayerVersion", "Layers"]

_PREFIX = "layer/"
_PAGE_COUNT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One version of a layer. ``arn`` has the version's number behind it."""

    name: str
    number: int
    arn: str
    code_sha256: str
    code_size: int
    unzipped_byte_count: int
    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    created_ms: int = 0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "LayerVersion":
        """Read what was kept."""
        lists = {name: tuple(document[name]) for name in ("runtimes", "architectures")}
        return cls(**{**document, **lists})


class Layers:
    """The layers of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[str, dict[int, LayerVersion]] = {}
        self._last_number: dict[str, int] = {}
        self._by_arn: dict[str, LayerVersion] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read everything; once, before anything else."""
        after = ""
        while keys := await self._store.scan(_PREFIX, after=after, limit=_PAGE_COUNT):
            for key in keys:
                document = await self._store.get(_PREFIX + key)
                if document is not None:
                    self._read(key, orjson.loads(document.content))
            after = keys[-1]

    def names(self) -> list[str]:
        """List the layers that have a version, in order."""
        return sorted(name for name, versions in self._versions.items() if versions)

    def versions(self, name: str) -> list[LayerVersion]:
        """List a layer's versions, newest first."""
        return sorted(self._versions.get(name, {}).values(), key=lambda version: -version.number)

    def find(self, arn: str) -> LayerVersion | None:
        """Give a version by its ARN."""
        return self._by_arn.get(arn)

    def size_of(self, arn: str) -> int:
        """Give the bytes of a version's zip, 0 when it is gone."""
        version = self._by_arn.get(arn)
        return 0 if version is None else version.code_size

    def packages(self) -> set[str]:
        """Name the packages (by hash) that a version needs. A deleted version's stays while a function has it."""
        return {version.code_sha256 for version in self._by_arn.values()}

    async def publish(self, version: LayerVersion) -> LayerVersion:
        """Keep a new version under the next number, which is written behind its ARN."""
        async with self._lock:
            number = self._last_number.get(version.name, 0) + 1
            await self._set_last_number(version.name, number)
            content = {**orjson.loads(orjson.dumps(version)), "number": number, "arn": f"{version.arn}:{number}"}
            made = LayerVersion.from_document(content)
            await self._store.compare_and_set(f"{_PREFIX}{version.name}/{number}", orjson.dumps(made), expected=None)
            self._add(made)
            return made

    async def delete(self, name: str, number: int) -> None:
        """Remove a version, if there is one."""
        async with self._lock:
            version = self._versions.get(name, {}).get(number)
            if version is None:
                return
            key = f"{_PREFIX}{name}/{number}"
            await self._store.compare_and_set(key, None, expected=await self._store.version(key))
            del self._versions[name][number]
            self._by_arn.pop(version.arn, None)

    def _read(self, key: str, document: Any) -> None:
        name, _, number = key.partition("/")
        if number == "last":
            self._last_number[name] = document
        else:
            self._add(LayerVersion.from_document(document))

    def _add(self, version: LayerVersion) -> None:
        self._versions.setdefault(version.name, {})[version.number] = version
        self._by_arn[version.arn] = version

    async def _set_last_number(self, name: str, number: int) -> None:
        """Take a number for good: one of a deleted version is never given again."""
        key = f"{_PREFIX}{name}/last"
        expected = await self._store.version(key)
        await self._store.compare_and_set(key, orjson.dumps(number), expected=expected)
        self._last_number[name] = number
