"""A stream's topology beside a plain model: the ring of hash keys as an interval cut in pieces.

The model knows only where the cuts are. Whatever splits, merges and scalings happen, in whatever order and with
whatever clock, each hash key lies in exactly one open shard, children cover what their parents covered, and numbers
only grow from parent to child.
"""

from bisect import bisect_right
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamd.core.hash_keys import HASH_KEY_MAX, HashKeyRange, digest_of_hash_key
from streamd.core.scaling import plan, split_all
from streamd.core.shard_tree import Closing, ReshardStep, Shard, ShardTree, first_shards, shard_id, shard_index

HASH_KEYS = st.integers(0, HASH_KEY_MAX) | st.sampled_from([0, 1, HASH_KEY_MAX - 1, HASH_KEY_MAX])
CLOCK_STEPS_MS = st.integers(-10_000, 10_000)
SHARD_COUNT_MAX = 40


def union_of(shards: list[Shard]) -> tuple[int, int]:
    """Give the range that shards cover together, which must have no gap."""
    ranges = sorted((shard.hash_range for shard in shards), key=lambda hash_range: hash_range.start)
    for low, high in pairwise(ranges):
        assert low.end + 1 == high.start
    return ranges[0].start, ranges[-1].end


class ShardTreeMachine(RuleBasedStateMachine):
    """Reshards a tree and a set of cuts alike."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = first_shards(1, now_ms=0)
        self.starts = [0]
        self.now_ms = 1_000_000_000_000
        self.indexes_ever: set[int] = set()

    @initialize(count=st.integers(1, 8))
    def begin(self, count: int) -> None:
        self.tree = first_shards(count, now_ms=self.now_ms)
        width = (HASH_KEY_MAX + 1) // count
        self.starts = [index * width for index in range(count)]
        self.indexes_ever = set(range(count))

    @rule(hash_key=HASH_KEYS)
    @precondition(lambda self: len(self.starts) < SHARD_COUNT_MAX)
    def split(self, hash_key: int) -> None:
        shard = self.owner_of(hash_key)
        if hash_key in self.starts:
            return
        self.apply((self.tree.split(shard.index, at=hash_key, now_ms=self.now_ms),))
        self.starts = sorted([*self.starts, hash_key])

    @rule(data=st.data())
    @precondition(lambda self: len(self.starts) > 1)
    def merge(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(1, len(self.starts) - 1), label="place")
        low, high = self.tree.open_shards[place - 1 : place + 1]
        self.apply((self.tree.merge(low.index, adjacent_index=high.index, now_ms=self.now_ms),))
        del self.starts[place]

    @rule(count=st.integers(1, SHARD_COUNT_MAX))
    def scale(self, count: int) -> None:
        steps = plan(self.tree, target=count, now_ms=self.now_ms)
        self.apply(steps)
        assert len(self.tree.open_shards) == count
        self.starts = [shard.hash_range.start for shard in self.tree.open_shards]

    @rule(data=st.data())
    @precondition(lambda self: len(self.starts) < SHARD_COUNT_MAX // 2)
    def split_some_in_half(self, data: st.DataObject) -> None:
        wide = [shard for shard in self.tree.open_shards if shard.hash_range.end - shard.hash_range.start > 1]
        chosen = data.draw(st.sets(st.sampled_from(wide)) if wide else st.just(set()), label="chosen")
        middles = [(shard.hash_range.start + shard.hash_range.end + 1) // 2 for shard in chosen]
        self.apply(split_all(self.tree, sorted(shard.index for shard in chosen), now_ms=self.now_ms))
        self.starts = sorted([*self.starts, *middles])

    @rule()
    def forget_the_closed(self) -> None:
        self.tree = self.tree.without([shard.index for shard in self.tree if not shard.is_open])

    @rule(step_ms=CLOCK_STEPS_MS)
    def move_the_clock(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(hash_keys=st.lists(HASH_KEYS, max_size=20))
    def route(self, hash_keys: list[int]) -> None:
        routed = self.tree.route(digest_of_hash_key(hash_key) for hash_key in hash_keys)

        for hash_key, shard in zip(hash_keys, routed, strict=True):
            owners = [candidate for candidate in self.tree if candidate.is_open and hash_key in candidate.hash_range]
            assert owners == [shard]
            assert shard.hash_range == self.piece_of(hash_key)

    @invariant()
    def open_shards_are_the_pieces(self) -> None:
        found = [shard.hash_range for shard in self.tree.open_shards]

        assert found == [self.piece_of(start) for start in self.starts]
        assert found[0].start == 0
        assert found[-1].end == HASH_KEY_MAX

    @invariant()
    def ids_are_read_back(self) -> None:
        for shard in self.tree:
            assert shard_index(shard.id) == shard.index
            assert shard_id(shard.index) == shard.id

    @invariant()
    def a_tree_is_read_back_as_it_was_written(self) -> None:
        read = ShardTree.from_document(self.tree.to_document())

        assert read == self.tree
        assert hash(read) == hash(self.tree)
        assert read.open_shards == self.tree.open_shards

    def owner_of(self, hash_key: int) -> Shard:
        (owner,) = [shard for shard in self.tree.open_shards if hash_key in shard.hash_range]
        return owner

    def piece_of(self, hash_key: int) -> HashKeyRange:
        place = bisect_right(self.starts, hash_key)
        end = self.starts[place] - 1 if place < len(self.starts) else HASH_KEY_MAX
        return HashKeyRange(self.starts[place - 1], end)

    def apply(self, steps: tuple[ReshardStep, ...]) -> None:
        """Carry out steps as a resharder does, and check what must hold of each."""
        parents = [index for step in steps for index in step.parent_indexes]
        assert len(parents) == len(set(parents))
        closings = {index: Closing(position=7, closed_ms=self.now_ms) for index in parents}
        self.tree = self.tree.after(steps, closings=closings)
        for step in steps:
            self.check(step)

    def check(self, step: ReshardStep) -> None:
        parents = [self.tree.shard_by_index[index] for index in step.parent_indexes]
        children = [self.tree.shard_by_index[child.index] for child in step.children]
        assert union_of(parents) == union_of(children)
        for child in children:
            assert child.index not in self.indexes_ever
            self.indexes_ever.add(child.index)
            assert child.parent_indexes == step.parent_indexes
        for parent in parents:
            assert not parent.is_open
            assert self.tree.children_of(parent.index) == children
            ending = parent.ending_sequence_number
            assert ending is not None
            assert int(parent.starting_sequence_number) < int(ending)
            assert all(int(ending) < int(child.starting_sequence_number) for child in children)


ShardTreeMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestShardTree = ShardTreeMachine.TestCase
