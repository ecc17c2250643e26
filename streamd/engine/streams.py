"""Every stream by name.

A stream is one catalog document, changed by compare-and-set. Each worker keeps the streams it has read and asks the
store for the document's version before it trusts its copy, so a change made in one worker holds in all at once.
Deleting marks the document first, then writes a grave for the records, then removes the document: whichever worker
looks next finishes what another one began.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from streamd.core.stream import Stream
from streamd.engine.clock import Clock
from streamd.errors import CatalogConflict, CatalogDamaged, StreamExists, StreamNotFound
from streamd.storage.shard_log import ShardKey
from streamd.storage.store import Store

__all__ = ["GRAVE_PREFIX", "Streams"]

_LOG = logging.getLogger(__name__)
STREAM_PREFIX = "stream/"
GRAVE_PREFIX = "grave/"
_NUMBER_KEY = "last-stream-number"
_CACHE_COUNT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    stream: Stream


class Streams:
    """The streams of a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept_by_name: dict[str, _Kept] = {}

    async def load(self, name: str) -> Stream:
        """Give a stream as it is now. Raises StreamNotFound, also when its deletion has ended."""
        kept = await self._load(name)
        if kept is None or kept.stream.is_gone(self._clock.now_ms()):
            raise StreamNotFound(name)
        return kept.stream

    async def page(self, *, after: str = "", limit: int) -> list[Stream]:
        """List streams in order of name."""
        found: list[Stream] = []
        while len(found) < limit:
            names = await self._store.scan(STREAM_PREFIX, after=after, limit=limit)
            for name in names:
                kept = await self._load_or_leave(name)
                if kept is not None and not kept.stream.is_gone(self._clock.now_ms()):
                    found.append(kept.stream)
            if len(names) < limit:
                break
            after = names[-1]
        return found[:limit]

    async def all(self) -> list[Stream]:
        """Give every stream there is a document of, those whose deletion has ended too; in order of name."""
        versions = await self._store.versions(STREAM_PREFIX)
        for name in self._kept_by_name.keys() - versions.keys():
            del self._kept_by_name[name]
        found = []
        for name, version in versions.items():
            kept = self._kept_by_name.get(name)
            if kept is None or kept.version != version:
                kept = await self._load_or_leave(name)
            if kept is not None:
                found.append(kept.stream)
        return found

    async def create(self, stream: Stream) -> Stream:
        """Make a stream and its shards; its number is given here. Raises StreamExists."""
        stream = replace(stream, number=await self._next_number())
        await self._finish_deletion(stream.name)
        if await self._load(stream.name) is not None:
            raise StreamExists(stream.name)
        # Shards first: a document must never name a shard that the store does not have.
        await self._store.open(ShardKey(stream.number, shard.index) for shard in stream.tree)
        try:
            version = await self._write(stream, expected=None)
        except CatalogConflict:
            await self._bury(stream)
            raise StreamExists(stream.name) from None
        self._keep(stream, version)
        return stream

    async def change(self, name: str, decide: Callable[[Stream], Stream]) -> Stream:
        """Change a stream by a decision on its present value, decided again when another change came first.

        Raises StreamNotFound and whatever the decision raises.
        """
        while True:
            kept = await self._load(name)
            if kept is None or kept.stream.is_gone(self._clock.now_ms()):
                raise StreamNotFound(name)
            wanted = decide(kept.stream)
            if wanted == kept.stream:
                return wanted
            try:
                version = await self._write(wanted, expected=kept.version)
            except CatalogConflict:
                continue
            self._keep(wanted, version)
            if wanted.is_gone(self._clock.now_ms()):
                await self._finish_deletion(name)
            return wanted

    async def finish_deletions(self) -> None:
        """Bury every stream whose deletion has ended."""
        now_ms = self._clock.now_ms()
        for stream in await self.all():
            if stream.is_gone(now_ms):
                await self._finish_deletion(stream.name)

    async def _finish_deletion(self, name: str) -> None:
        kept = await self._load(name)
        if kept is None or not kept.stream.is_gone(self._clock.now_ms()):
            return
        await self._bury(kept.stream)
        try:
            await self._store.compare_and_set(STREAM_PREFIX + name, None, expected=kept.version)
        except CatalogConflict:
            # Another worker was quicker.
            return
        self._kept_by_name.pop(name, None)

    async def _bury(self, stream: Stream) -> None:
        """Leave a note of the shards to remove."""
        indexes = [shard.index for shard in stream.tree]
        if stream.reshard is not None:
            indexes += [shard.index for step in stream.reshard.steps for shard in step.children]
        try:
            await self._store.compare_and_set(f"{GRAVE_PREFIX}{stream.number}", orjson.dumps(indexes), expected=None)
        except CatalogConflict:
            # It lies there already: a deletion that was interrupted is finished again from here.
            return

    async def _next_number(self) -> int:
        while True:
            document = await self._store.get(_NUMBER_KEY)
            number = 1 if document is None else int(document.content) + 1
            expected = None if document is None else document.version
            try:
                await self._store.compare_and_set(_NUMBER_KEY, str(number).encode(), expected=expected)
            except CatalogConflict:
                continue
            return number

    async def _load_or_leave(self, name: str) -> _Kept | None:
        """Load a stream for a listing of many: one that is damaged must not stand in the way of the others."""
        try:
            return await self._load(name)
        except CatalogDamaged as damage:
            _LOG.error("stream %s is left out: %s", name, damage)
            return None

    async def _load(self, name: str) -> _Kept | None:
        kept = self._kept_by_name.get(name)
        version = await self._store.version(STREAM_PREFIX + name)
        if kept is not None and kept.version == version:
            return kept
        document = None if version is None else await self._store.get(STREAM_PREFIX + name)
        if document is None:
            self._kept_by_name.pop(name, None)
            return None
        return self._keep(Stream.from_document(orjson.loads(document.content)), document.version)

    async def _write(self, stream: Stream, *, expected: int | None) -> int:
        content = orjson.dumps(stream.to_document())
        return await self._store.compare_and_set(STREAM_PREFIX + stream.name, content, expected=expected)

    def _keep(self, stream: Stream, version: int) -> _Kept:
        if len(self._kept_by_name) >= _CACHE_COUNT_MAX:
            self._kept_by_name.pop(next(iter(self._kept_by_name)))
        kept = self._kept_by_name[stream.name] = _Kept(version, stream)
        return kept
