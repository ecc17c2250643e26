"""The sequential model of a stream that histories are held against: what each operation does when it is alone.

A stream is a set of shards, some of them open, each with a log. All logs are known beforehand as their final records,
in order of the sequence numbers; the state says how many of them are there yet, so a record's place in its log decides
when it can be appended: after those before it, before those behind it, and while its shard is open.

A reshard is two steps within its call: from the first one on the stream is UPDATING and takes no other reshard, by the
second one parents close and children open, all at once. A refused one is a look at the state that refuses it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import NamedTuple

__all__ = ["ShardRange", "Step", "StreamModel", "StreamState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRange:
    """What never changes about a shard: its hash keys, both ends included, and the shards it was made from."""

    start: int
    end: int
    parents: tuple[int, ...] = ()


class StreamState(NamedTuple):
    """A stream at a moment: how long each log is, which shards are open, how many were made, who reshards it."""

    lengths: tuple[int, ...]
    open_shards: frozenset[int]
    made_count: int
    resharding: int | None = None
    retention_hours: int = 24


Step = Callable[[StreamState], Iterator[StreamState]]
_Test = Callable[[StreamState], bool]


class StreamModel:
    """Gives each operation's step, over the shards that there are in the end."""

    def __init__(self, shards: Sequence[ShardRange], arrivals_ms: Sequence[Sequence[int]]) -> None:
        self.shards = shards
        self._arrivals_ms = arrivals_ms

    def initial(self, shard_count: int) -> StreamState:
        """Give the state of a stream that was just made."""
        return StreamState((0,) * len(self.shards), frozenset(range(shard_count)), shard_count)

    def append(self, shard: int, *, first: int, count: int) -> Step:
        """Add records, together, to the end of an open shard: ``first`` of them is at this place of the log."""

        def step(state: StreamState) -> Iterator[StreamState]:
            lengths = state.lengths
            if shard in state.open_shards and lengths[shard] == first:
                yield state._replace(lengths=(*lengths[:shard], first + count, *lengths[shard + 1 :]))

        return step

    def read(self, shard: int, *, place: int, limit: int, count: int, is_end: bool, is_behind: bool) -> Step:
        """Give all that is there from a place on, up to the limit; the end is that of a closed shard's log."""

        def fits(state: StreamState) -> bool:
            rest = state.lengths[shard] - place - count
            is_at_end = rest <= 0 and shard not in state.open_shards
            return shard < state.made_count and (
                count == min(limit, max(0, rest + count)) and is_end == is_at_end and not (is_behind and rest <= 0)
            )

        return _look(fits)

    def tip(self, shard: int, *, place: int) -> Step:
        """Give the place after everything that is there: LATEST."""
        return _look(lambda state: shard < state.made_count and state.lengths[shard] == place)

    def place_of_time(self, shard: int, *, place: int, time_ms: int) -> Step:
        """Give the place of the first record that arrived then or later, or of the tip: AT_TIMESTAMP."""
        # Arrivals never run backwards inside a log.
        older_count = sum(1 for _ in takewhile(lambda arrival_ms: arrival_ms < time_ms, self._arrivals_ms[shard]))
        return _look(lambda state: shard < state.made_count and min(state.lengths[shard], older_count) == place)

    def shard_exists(self, shard: int, *, is_there: bool) -> Step:
        """Tell whether a shard was made yet."""
        return _look(lambda state: (shard < state.made_count) == is_there)

    def described(
        self,
        *,
        open_count: int | None = None,
        made_count: int | None = None,
        open_shards: frozenset[int] | None = None,
        is_updating: bool | None = None,
        retention_hours: int | None = None,
    ) -> Step:
        """Tell what the stream is like; of what is None nothing was told."""

        def fits(state: StreamState) -> bool:
            told = (open_count, made_count, open_shards, is_updating, retention_hours)
            held = (
                len(state.open_shards),
                state.made_count,
                state.open_shards,
                state.resharding is not None,
                state.retention_hours,
            )
            return all(one is None or one == other for one, other in zip(told, held, strict=True))

        return _look(fits)

    def retain(self, hours: int, *, is_longer: bool) -> Step:
        """Change how long records are kept, in one direction, while there is no reshard."""

        def step(state: StreamState) -> Iterator[StreamState]:
            if state.resharding is None and _is_way(state, hours, is_longer=is_longer):
                yield state._replace(retention_hours=hours)

        return step

    def not_retained(self, hours: int, *, is_longer: bool) -> Step:
        """Refuse a change of retention in the other direction."""
        return _look(lambda state: not _is_way(state, hours, is_longer=is_longer))

    def in_use(self) -> Step:
        """Refuse a change during a reshard."""
        return _look(lambda state: state.resharding is not None)

    def refused(self, allows: _Test) -> Step:
        """Refuse a reshard that the shards do not allow, of a stream that has no other."""
        return _look(lambda state: state.resharding is None and not allows(state))

    def begin(self, reshard: int, allows: _Test) -> Step:
        """Take a reshard, by its number, that the shards allow."""

        def step(state: StreamState) -> Iterator[StreamState]:
            if state.resharding is None and allows(state):
                yield state._replace(resharding=reshard)

        return step

    def finish(self, reshard: int, parents: Sequence[int], ranges: Sequence[tuple[int, int]]) -> Step:
        """Close parents and open their children, whose hash keys are these, numbered on from what was made."""

        def step(state: StreamState) -> Iterator[StreamState]:
            children = range(state.made_count, state.made_count + len(ranges))
            if state.resharding == reshard and self._are_children(children, parents, ranges):
                yield self._after(state, parents, len(ranges))._replace(resharding=None)

        return step

    def finish_scaling(self, reshard: int, target: int) -> Step:
        """Split and merge, in whatever way the shards made next say it was done, until so many are open."""

        def step(state: StreamState) -> Iterator[StreamState]:
            if state.resharding != reshard:
                return
            following = self._next_split_or_merge(state)
            while following is not None:
                # It may go on from here to more and back; the model allows each way, and what is seen later decides.
                if len(following.open_shards) == target:
                    yield following._replace(resharding=None)
                following = self._next_split_or_merge(following)

        return step

    def may_split(self, shard: int, at: int) -> _Test:
        """Allow a split of an open shard that leaves two hash keys at least on either side."""
        return lambda state: shard in state.open_shards and self.shards[shard].start + 1 < at < self.shards[shard].end

    def may_merge(self, low: int, high: int) -> _Test:
        """Allow a merge of two open shards that touch, the lower one named first."""
        return lambda state: {low, high} <= state.open_shards and self.shards[low].end + 1 == self.shards[high].start

    @staticmethod
    def may_scale(target: int, current: int | None = None) -> _Test:
        """Allow half to double the number of open shards (which is as was told, if it was)."""

        def allows(state: StreamState) -> bool:
            count = len(state.open_shards)
            return count <= 2 * target and target <= 2 * count and current in {None, count}

        return allows

    def _next_split_or_merge(self, state: StreamState) -> StreamState | None:
        made = state.made_count
        if made >= len(self.shards):
            return None
        parents = self.shards[made].parents
        count = 2 if len(parents) == 1 else 1
        children = range(made, made + count)
        if not state.open_shards.issuperset(parents) or children[-1] >= len(self.shards):
            return None
        ranges = [(self.shards[child].start, self.shards[child].end) for child in children]
        if not self._are_children(children, parents, ranges):
            return None
        return self._after(state, parents, count)

    def _are_children(self, children: Sequence[int], parents: Sequence[int], ranges: Sequence[tuple[int, int]]) -> bool:
        if children[-1] >= len(self.shards):
            return False
        found = [self.shards[child] for child in children]
        return (
            all(set(shard.parents) == set(parents) for shard in found)
            and [(shard.start, shard.end) for shard in found] == list(ranges)
            and found[0].start == min(self.shards[parent].start for parent in parents)
            and found[-1].end == max(self.shards[parent].end for parent in parents)
            and all(low.end + 1 == high.start for low, high in pairwise(found))
        )

    @staticmethod
    def _after(state: StreamState, parents: Sequence[int], child_count: int) -> StreamState:
        made = state.made_count
        return state._replace(
            open_shards=state.open_shards - set(parents) | set(range(made, made + child_count)),
            made_count=made + child_count,
        )


def _is_way(state: StreamState, hours: int, *, is_longer: bool) -> bool:
    return hours >= state.retention_hours if is_longer else hours <= state.retention_hours


def _look(fits: _Test) -> Step:
    def step(state: StreamState) -> Iterator[StreamState]:
        if fits(state):
            yield state

    return step
