"""Uniform scaling: how many shards it leaves, and how even they are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.hash_keys import HASH_KEY_MAX
from streamd.core.scaling import half_of, plan, split_all
from streamd.core.shard_tree import Closing, ReshardStep, ShardTree, first_shards


def carried_out(tree: ShardTree, steps: tuple[ReshardStep, ...]) -> ShardTree:
    closed = [index for step in steps for index in step.parent_indexes]
    return tree.after(steps, closings={index: Closing(position=0, closed_ms=0) for index in closed})


def starts_of(tree: ShardTree) -> list[int]:
    return [shard.hash_range.start for shard in tree.open_shards]


def covers_the_ring_once(tree: ShardTree) -> bool:
    ranges = [shard.hash_range for shard in tree.open_shards]
    edges_touch = all(low.end + 1 == high.start for low, high in pairwise(ranges))
    return edges_touch and ranges[0].start == 0 and ranges[-1].end == HASH_KEY_MAX


@pytest.mark.parametrize(
    ("start", "target", "total"), [(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7), (10, 3, 17)]
)
def test_the_totals_known_from_aws_are_left(start: int, target: int, total: int) -> None:
    tree = first_shards(start, now_ms=0)

    scaled = carried_out(tree, plan(tree, target=target, now_ms=0))

    assert len(scaled.shards) == total
    assert len(scaled.open_shards) == target


@given(st.integers(1, 60), st.integers(1, 120))
def test_an_even_stream_is_scaled_to_its_target_and_stays_nearly_even(start: int, target: int) -> None:
    tree = first_shards(start, now_ms=0)

    scaled = carried_out(tree, plan(tree, target=target, now_ms=0))

    assert len(scaled.open_shards) == target
    assert covers_the_ring_once(scaled)
    if target > start:
        fair = (HASH_KEY_MAX + 1) // target
        widths = [shard.hash_range.end - shard.hash_range.start + 1 for shard in scaled.open_shards]
        # Each of a shard's two edges lies within 15 % of a shard's width of where it would be at best.
        assert all(fair * 69 // 100 <= width <= fair * 131 // 100 for width in widths)


@given(st.lists(st.integers(2, HASH_KEY_MAX - 2), unique=True, max_size=40), st.integers(1, 80))
def test_an_uneven_stream_is_scaled_to_its_target(edges: list[int], target: int) -> None:
    tree = first_shards(1, now_ms=0)
    for edge in edges:
        owner = tree.route([edge.to_bytes(16, "big")])[0]
        tree = carried_out(tree, (tree.split(owner.index, at=edge, now_ms=0),))

    scaled = carried_out(tree, plan(tree, target=target, now_ms=0))

    assert len(scaled.open_shards) == target
    assert covers_the_ring_once(scaled)


@given(st.integers(1, 100))
def test_scaling_to_the_present_count_does_nothing(count: int) -> None:
    assert plan(first_shards(count, now_ms=0), target=count, now_ms=0) == ()


@given(st.integers(1, 50))
def test_doubling_cuts_every_shard_in_half(count: int) -> None:
    tree = first_shards(count, now_ms=0)

    steps = plan(tree, target=2 * count, now_ms=0)

    assert len(steps) == count
    assert sorted(index for step in steps for index in step.parent_indexes) == list(range(count))


@given(st.integers(1, 50))
def test_halving_joins_neighbours_and_splits_nothing(count: int) -> None:
    tree = first_shards(2 * count, now_ms=0)

    scaled = carried_out(tree, plan(tree, target=count, now_ms=0))

    assert len(scaled.shards) == 3 * count
    assert set(starts_of(scaled)) <= set(starts_of(tree))


def test_every_shard_of_a_list_is_cut_at_its_middle() -> None:
    tree = first_shards(3, now_ms=0)

    cut = carried_out(tree, split_all(tree, [0, 2], now_ms=0))

    assert len(cut.open_shards) == 5
    assert set(starts_of(cut)) == {*starts_of(tree), half_of(tree.shards[0]), half_of(tree.shards[2])}
    assert cut.shards[1].is_open


def test_children_of_a_plan_are_numbered_on_from_the_last_shard() -> None:
    tree = first_shards(4, now_ms=0)

    steps = plan(tree, target=5, now_ms=0)

    assert [child.index for step in steps for child in step.children] == list(range(4, 15))
