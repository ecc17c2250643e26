"""Splits and merges, from intent to done.

A reshard is written into the stream's document as an intent first. To carry it out, the children are made in the
store, the parents are sealed at an exact last position, and the document changes: parents closed, children open. Each
step may be repeated, so whoever finds an unfinished reshard finishes it: the caller, a put that ran into a sealed
shard, or the janitor after a crash.
"""

from dataclasses import replace

from streamd.core.shard_tree import Closing, ReshardStep
from streamd.core.stream import Reshard, Stream
from streamd.core.wall_clock import is_during
from streamd.engine.clock import Clock
from streamd.engine.streams import Streams
from streamd.errors import ShardMissing, StreamNotFound
from streamd.storage.shard_log import ShardKey
from streamd.storage.store import Store

__all__ = ["Resharder"]


class Resharder:
    """Carries out reshards."""

    def __init__(self, store: Store, streams: Streams, clock: Clock, *, transition_ms: int) -> None:
        self._store = store
        self._streams = streams
        self._clock = clock
        self._transition_ms = transition_ms

    def intend(self, stream: Stream, steps: tuple[ReshardStep, ...]) -> Stream:
        """Give the stream with these steps to be done, now or when the transition time is over."""
        if not steps:
            return stream
        return replace(stream, reshard=Reshard(steps=steps, due_ms=self._clock.now_ms() + self._transition_ms))

    async def finish(self, name: str, *, is_forced: bool = False) -> None:
        """Carry out a stream's reshard if there is one and it is due (``is_forced``: even if it is not)."""
        try:
            stream = await self._streams.load(name)
            reshard = stream.reshard
            if reshard is None or not (is_forced or self._is_due(reshard)):
                return
            closings = await self._seal(stream, reshard)
            await self._streams.change(name, lambda current: _after(current, reshard, closings))
            # Who waited at a sealed parent sees its children now.
            self._store.nudge(ShardKey(stream.number, index) for index in closings)
        except (StreamNotFound, ShardMissing):
            # The stream was deleted meanwhile: nothing is left to do.
            return

    async def finish_due(self) -> None:
        """Carry out every reshard that is due."""
        for stream in await self._streams.all():
            if stream.reshard is not None and self._is_due(stream.reshard):
                await self.finish(stream.name)

    def _is_due(self, reshard: Reshard) -> bool:
        """Tell whether the transition is over."""
        since_ms = reshard.due_ms - self._transition_ms
        return not is_during(self._clock.now_ms(), since_ms=since_ms, until_ms=reshard.due_ms)

    async def _seal(self, stream: Stream, reshard: Reshard) -> dict[int, Closing]:
        children = [child for step in reshard.steps for child in step.children]
        await self._store.open(ShardKey(stream.number, child.index) for child in children)
        parents = [index for step in reshard.steps for index in step.parent_indexes]
        sealed = await self._store.seal(ShardKey(stream.number, index) for index in parents)
        # Whatever the clock says, a parent is not closed before its last record came: it is kept as long as that one.
        last_ms = [(await self._store.state(shard)).last_arrival_ms for shard in sealed]
        closed_ms = max(self._clock.now_ms(), *last_ms)
        return {
            shard.shard_index: Closing(position=position, closed_ms=closed_ms) for shard, position in sealed.items()
        }


def _after(stream: Stream, reshard: Reshard, closings: dict[int, Closing]) -> Stream:
    if stream.reshard != reshard:
        # Somebody else finished it.
        return stream
    opened = [
        replace(step, children=tuple(replace(c, created_ms=_end_of(step, closings)) for c in step.children))
        for step in reshard.steps
    ]
    return replace(stream, tree=stream.tree.after(opened, closings=closings), reshard=None)


def _end_of(step: ReshardStep, closings: dict[int, Closing]) -> int:
    return closings[step.parent_indexes[0]].closed_ms
