"""Every event source mapping by UUID, and how far each is in each shard.

The host, the one process that has them, keeps the mappings in memory and writes each change to the catalog before
anybody sees it. Progress is one small document for each mapping and shard; many are written in one commit.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import orjson

from streamd.core.mapping import EventSourceMapping
from streamd.core.shard_progress import ShardProgress
from streamd.errors import CatalogConflict
from streamd.functions.faults import Fault, not_found
from streamd.storage.store import Store

__all__ = ["MappingRegistry", "mapping_missing"]

_MAPPING_PREFIX = "mapping/"
_PROGRESS_PREFIX = "mapping-progress/"
_PAGE_COUNT = 1000


def mapping_missing() -> Fault:
    """Make AWS's word for a mapping that is not there."""
    return not_found("The resource you requested does not exist.")


class MappingRegistry:
    """The mappings of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mappings: dict[str, EventSourceMapping] = {}
        self._version_by_uuid: dict[str, int] = {}
        self._progress_version: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._watchers: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Read everything; once, before anything else."""
        after = ""
        while keys := await self._store.scan(_MAPPING_PREFIX, after=after, limit=_PAGE_COUNT):
            for key in keys:
                document = await self._store.get(_MAPPING_PREFIX + key)
                if document is not None:
                    self._mappings[key] = EventSourceMapping.from_document(orjson.loads(document.content))
                    self._version_by_uuid[key] = document.version
            after = keys[-1]

    def watch(self, told: Callable[[str], None]) -> None:
        """Have somebody told the UUID of each mapping that was made, changed or removed."""
        self._watchers.append(told)

    def __iter__(self) -> Iterator[EventSourceMapping]:
        """Give every mapping, in order of UUID."""
        for uuid in sorted(self._mappings):
            yield self._mappings[uuid]

    def find(self, uuid: str) -> EventSourceMapping | None:
        """Give a mapping, None when there is none."""
        return self._mappings.get(uuid)

    async def create(self, mapping: EventSourceMapping, refuse: Callable[[], None]) -> None:
        """Keep a new mapping, unless something stands against it now. Raises what ``refuse`` raises."""
        async with self._lock:
            refuse()
            await self._write(mapping)

    async def change(self, uuid: str, decide: Callable[[EventSourceMapping], EventSourceMapping]) -> EventSourceMapping:
        """Change a mapping by a decision on its present value. Raises Fault when it is gone, and the decision's own."""
        async with self._lock:
            present = self._mappings.get(uuid)
            if present is None:
                raise mapping_missing()
            wanted = decide(present)
            if wanted != present:
                await self._write(wanted)
            return wanted

    async def remove(self, uuid: str) -> None:
        """Remove a mapping and its progress."""
        async with self._lock:
            if uuid not in self._mappings:
                return
            # Progress first: left behind it would only lie there, but no UUID comes twice.
            for shard_id in await self._store.scan(f"{_PROGRESS_PREFIX}{uuid}/", limit=1_000_000):
                await self._forget(uuid, shard_id)
            version = self._version_by_uuid.pop(uuid)
            await self._store.compare_and_set(_MAPPING_PREFIX + uuid, None, expected=version)
            del self._mappings[uuid]
        self._tell(uuid)

    def tags_of(self, uuid: str) -> dict[str, str]:
        """Give a mapping's tags. Raises Fault."""
        mapping = self._mappings.get(uuid)
        if mapping is None:
            raise mapping_missing()
        return dict(mapping.tags)

    async def set_tags(self, uuid: str, tags: Mapping[str, str]) -> None:
        """Keep these tags in their place. Raises Fault."""
        await self.change(uuid, lambda present: replace(present, tags=dict(tags)))

    async def progress(self, uuid: str) -> dict[str, ShardProgress]:
        """Read how far a mapping is, by shard."""
        prefix = f"{_PROGRESS_PREFIX}{uuid}/"
        found: dict[str, ShardProgress] = {}
        after = ""
        while keys := await self._store.scan(prefix, after=after, limit=_PAGE_COUNT):
            for shard_id in keys:
                document = await self._store.get(prefix + shard_id)
                if document is not None:
                    found[shard_id] = ShardProgress.decode(document.content)
                    self._progress_version[prefix + shard_id] = document.version
            after = keys[-1]
        return found

    async def save(self, uuid: str, shard_id: str, progress: ShardProgress) -> None:
        """Make progress durable. Raises StoreFull and StoreFailed: then it is as it was."""
        key = f"{_PROGRESS_PREFIX}{uuid}/{shard_id}"
        content = progress.encode()
        try:
            version = await self._store.compare_and_set(key, content, expected=self._progress_version.get(key))
        except CatalogConflict:
            # A write whose caller went away took place all the same; the host alone writes here, so this one is newer.
            version = await self._store.compare_and_set(key, content, expected=await self._store.version(key))
        self._progress_version[key] = version

    async def forget(self, uuid: str, shard_id: str) -> None:
        """Remove the progress in a shard that the stream no longer has."""
        await self._forget(uuid, shard_id)

    async def _forget(self, uuid: str, shard_id: str) -> None:
        key = f"{_PROGRESS_PREFIX}{uuid}/{shard_id}"
        version = await self._store.version(key)
        if version is not None:
            await self._store.compare_and_set(key, None, expected=version)
        self._progress_version.pop(key, None)

    async def _write(self, mapping: EventSourceMapping) -> None:
        key, expected = _MAPPING_PREFIX + mapping.uuid, self._version_by_uuid.get(mapping.uuid)
        self._version_by_uuid[mapping.uuid] = await self._store.compare_and_set(
            key, orjson.dumps(mapping), expected=expected
        )
        self._mappings[mapping.uuid] = mapping
        self._tell(mapping.uuid)

    def _tell(self, uuid: str) -> None:
        for told in self._watchers:
            told(uuid)
