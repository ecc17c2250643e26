"""Which shards a mapping may read: parents first."""

from streamd.core.shard_succession import Lineage, Succession, succession

OLD, LEFT, RIGHT, JOINED = "shard-0", "shard-1", "shard-2", "shard-3"
SHARDS = [Lineage(OLD), Lineage(LEFT, (OLD,)), Lineage(RIGHT, (OLD,)), Lineage(JOINED, (LEFT, RIGHT))]


def test_children_wait_until_their_parent_is_done() -> None:
    before = succession(SHARDS, done=())
    after = succession(SHARDS, done={OLD})

    assert before == Succession(ready=(OLD,), waiting=(LEFT, RIGHT, JOINED), forgotten=())
    assert after == Succession(ready=(LEFT, RIGHT), waiting=(JOINED,), forgotten=())


def test_the_child_of_a_merge_waits_for_both_parents() -> None:
    assert succession(SHARDS, done={OLD, LEFT}).waiting == (JOINED,)
    assert succession(SHARDS, done={OLD, LEFT, RIGHT}).ready == (JOINED,)


def test_a_parent_that_the_stream_no_longer_has_holds_nobody_up_and_its_progress_may_go() -> None:
    found = succession(SHARDS[1:], done=(), known=(OLD, LEFT))

    assert found == Succession(ready=(LEFT, RIGHT), waiting=(JOINED,), forgotten=(OLD,))
