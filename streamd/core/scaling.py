"""Uniform scaling: the splits and merges by which UpdateShardCount reaches its target.

Kinesis does not say how it plans, but the numbers of shards it leaves are known (4 to 5: 15 shards ever made, 10 to
13: 37, 5 to 3: 7), and this plan leaves the same. Wanted are ``target`` ranges of equal width. Growing, a range's edge
that lies close to a wanted one stands in for it, every other wanted edge is made by a split, and then the edges nobody
wants are merged away. Shrinking, the nearest old edge stands in for each wanted one, and the rest are merged away.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from streamd.core.hash_keys import HASH_KEY_MAX, even_ranges
from streamd.core.shard_tree import ReshardStep, Shard, ShardTree, merge_step, split_step

__all__ = ["half_of", "plan", "split_all"]

# An old edge within this share of a new range's width is near enough to keep: what the known totals imply.
_NEAR_PERCENT = 15


def half_of(shard: Shard) -> int:
    """Give the hash key at which a shard is cut into equal halves."""
    return (shard.hash_range.start + shard.hash_range.end + 1) // 2


def plan(tree: ShardTree, *, target: int, now_ms: int) -> tuple[ReshardStep, ...]:
    """List the steps from the tree's open shards to ``target`` open shards of nearly equal width."""
    old_edges = [shard.hash_range.start for shard in tree.open_shards][1:]
    wanted = [hash_range.start for hash_range in even_ranges(target)][1:]
    if target > len(tree.open_shards):
        edges = _edges_growing(old_edges, wanted, width=(HASH_KEY_MAX + 1) // target)
    else:
        edges = _edges_shrinking(old_edges, wanted)
    ring = _Ring(tree, now_ms=now_ms)
    for edge in sorted(set(edges) - set(old_edges)):
        ring.cut(edge)
    for edge in sorted(set(old_edges) - set(edges)):
        ring.join(edge)
    return tuple(ring.steps)


def split_all(tree: ShardTree, indexes: Iterable[int], *, now_ms: int) -> tuple[ReshardStep, ...]:
    """List the steps that cut each of these open shards in half."""
    ring = _Ring(tree, now_ms=now_ms)
    for index in indexes:
        ring.cut(half_of(tree.shard_by_index[index]))
    return tuple(ring.steps)


class _Ring:
    """The open shards in the making, by hash key, and the steps taken so far."""

    def __init__(self, tree: ShardTree, *, now_ms: int) -> None:
        self.steps: list[ReshardStep] = []
        self._now_ms = now_ms
        self._next_index = tree.next_index
        self._shards = list(tree.open_shards)
        self._starts = [shard.hash_range.start for shard in self._shards]

    def cut(self, edge: int) -> None:
        """Split the shard that holds this hash key, so that one starts there."""
        place = bisect_right(self._starts, edge) - 1
        self._take(
            place,
            1,
            split_step(self._shards[place], at=edge, first_index=self._next_index, now_ms=self._now_ms),
        )

    def join(self, edge: int) -> None:
        """Merge the shard that starts at this hash key with the one below it."""
        place = bisect_right(self._starts, edge) - 2
        low, high = self._shards[place : place + 2]
        self._take(place, 2, merge_step(low, high, first_index=self._next_index, now_ms=self._now_ms))

    def _take(self, place: int, count: int, step: ReshardStep) -> None:
        self.steps.append(step)
        self._next_index += len(step.children)
        self._shards[place : place + count] = step.children
        self._starts[place : place + count] = [child.hash_range.start for child in step.children]


def _edges_growing(old: Sequence[int], wanted: Sequence[int], *, width: int) -> list[int]:
    near = width * _NEAR_PERCENT // 100
    edges = []
    place = 0
    for edge in wanted:
        while place < len(old) and old[place] < edge - near:
            place += 1
        if place < len(old) and old[place] <= edge + near:
            edges.append(old[place])
            place += 1
        else:
            edges.append(edge)
    return edges


def _edges_shrinking(old: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Choose an old edge for each wanted one: the nearest that leaves enough old edges for those still to come."""
    edges: list[int] = []
    place = 0
    for rank, edge in enumerate(wanted):
        last = len(old) - (len(wanted) - rank)
        while place < last and abs(old[place + 1] - edge) <= abs(old[place] - edge):
            place += 1
        edges.append(old[place])
        place += 1
    return edges
