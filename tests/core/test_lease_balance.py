"""The sharing of leases: even, steady, parents first; and whole groups of members in virtual time."""

import os
from collections.abc import Callable

import pytest

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Member, Place, Snapshot, Start, place_at_time, time_of_place
from streamd.core.lease_balance import (
    LeasePlan,
    Pulses,
    expired_leases,
    missing_leases,
    plan_leases,
    ready_leases,
)
from streamd.core.shard_succession import Lineage
from tests.core.lease_simulation import BEAT_TICKS, TIMEOUT_BEATS, Simulation

_SEED_COUNT = int(os.environ.get("STREAMD_SIMULATION_SEEDS", "60"))
# Each generation of shards is read out, and its children are shared out, in a few beats more.
_READ_OUT_ROUNDS_MAX = 200
# A dead member is silent for its timeout. Then its leases are taken, and what its own death left too many somewhere is
# given up and taken; every step of a member takes a tick, and nobody has more steps than there are leases.
_SETTLING_ROUNDS_MAX = TIMEOUT_BEATS + 3


def lease(shard_id: str, owner: str | None = None, *parents: str, place: Place = TRIM_HORIZON, epoch: int = 1) -> Lease:
    return Lease(shard_id=shard_id, parent_ids=parents, owner=owner, epoch=epoch, place=place)


def group(members: str, *leases: Lease, start: Place = TRIM_HORIZON) -> Snapshot:
    found = tuple(Member(member_id=name, beat=1, about="") for name in members)
    return Snapshot(start=Start(place=start), members=found, leases=leases)


def plan(snapshot: Snapshot, member_id: str, silent: str = "", giving_up: tuple[str, ...] = ()) -> LeasePlan:
    return plan_leases(snapshot, member_id=member_id, silent=silent, giving_up=giving_up)


def taken(snapshot: Snapshot, member_id: str, silent: str = "") -> list[str]:
    return [lease.shard_id for lease in plan(snapshot, member_id, silent).acquire]


def test_free_leases_are_shared_out_and_nobody_wants_the_same() -> None:
    snapshot = group("abc", *(lease(f"s{number}") for number in range(8)))

    shares = [taken(snapshot, member) for member in "abc"]

    assert shares == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6", "s7"]]


def test_a_balanced_group_moves_nothing() -> None:
    snapshot = group("abc", lease("s0", "b"), lease("s1", "b"), lease("s2", "c"), lease("s3", "a"))

    assert [plan(snapshot, member) for member in "abc"] == [LeasePlan()] * 3


def test_who_has_too_many_gives_up_the_excess_and_no_more() -> None:
    snapshot = group("ab", *(lease(f"s{number}", "a") for number in range(5)))

    assert plan(snapshot, "a").give_up == ("s4", "s3")
    assert plan(snapshot, "b") == LeasePlan()


def test_what_is_being_given_up_already_counts_before_anything_else() -> None:
    snapshot = group("ab", *(lease(f"s{number}", "a") for number in range(5)))

    assert plan(snapshot, "a", giving_up=("s1",)).give_up == ("s1", "s4")


def test_leases_of_the_dead_are_taken_under_their_epoch() -> None:
    snapshot = group("ab", lease("s0", "b", epoch=7), lease("s1", "a"), lease("s2", "gone", epoch=3))

    assert plan(snapshot, "a", silent="b").acquire == (snapshot.leases[0], snapshot.leases[2])


def test_a_member_that_the_group_does_not_know_does_nothing() -> None:
    assert plan(group("a", lease("s0")), "b") == LeasePlan()


def test_a_child_waits_for_all_of_its_parents_that_have_leases() -> None:
    child = lease("s2", None, "s0", "s1")
    one_done = group("a", lease("s0", place=AT_END), lease("s1", place="42"), child)
    both_done = group("a", lease("s0", place=AT_END), lease("s1", place=AT_END), child)
    expired = group("a", child)

    assert [ready.shard_id for ready in ready_leases(one_done)] == ["s1"]
    assert [ready.shard_id for ready in ready_leases(both_done)] == ["s2"]
    assert [ready.shard_id for ready in ready_leases(expired)] == ["s2"]


def test_a_shard_begins_with_the_group_and_the_children_of_known_ones_at_their_first_record() -> None:
    start = place_at_time(1_700_000_000_000)
    snapshot = group("a", lease("s0"), start=start)
    shards = [Lineage("s0"), Lineage("s1"), Lineage("s2", ("s0",)), Lineage("s3", ("s2", "s1")), Lineage("s4", ("s1",))]

    places = {missing.shard_id: missing.place for missing in missing_leases(snapshot, shards)}

    assert places == {"s1": start, "s2": TRIM_HORIZON, "s3": TRIM_HORIZON, "s4": start}
    assert time_of_place(start) == 1_700_000_000_000
    assert time_of_place(TRIM_HORIZON) is None


def test_leases_of_shards_that_are_gone_are_found() -> None:
    assert expired_leases(group("a", lease("s0"), lease("s1")), [Lineage("s1")]) == ["s0"]


def test_silence_is_counted_from_when_a_beat_was_first_seen() -> None:
    pulses = Pulses(timeout_ms=100)

    found = []
    for now_ms in (0, 40, 80, 99, 100):
        pulses.note(group("ab"), now_ms=now_ms)
        found.append(pulses.silent())

    assert found == [frozenset()] * 4 + [{"a", "b"}]
    assert pulses.silent(timeout_count=2) == frozenset()


def test_of_the_time_in_which_an_observer_was_away_little_counts() -> None:
    pulses = Pulses(timeout_ms=100)

    pulses.note(group("ab"), now_ms=0)
    pulses.note(group("ab"), now_ms=5000)
    at_waking = pulses.silent()
    pulses.note(group("ab"), now_ms=5050)
    later = pulses.silent()
    pulses.note(group("ab"), now_ms=9000)

    assert at_waking == frozenset()
    assert later == {"a", "b"}
    assert pulses.silent() == {"a", "b"}, "the dead do not rise because nobody looked"


def test_the_eldest_member_forgets_those_that_died_long_ago_and_own_nothing() -> None:
    snapshot = group("abcd", lease("s0", "d"))

    plans = [
        plan_leases(snapshot, member_id=member, silent={"c", "d"}, forgettable={"c", "d"}) for member in ("a", "b")
    ]

    assert [found.forget for found in plans] == [("c",), ()]


@pytest.mark.parametrize("seed", range(_SEED_COUNT))
def test_any_group_settles_and_reads_every_shard_after_its_parents(seed: int) -> None:
    world = Simulation(seed)

    world.run(800, disturbance=0.06)
    for member in world.members:
        member.frozen_until = 0
    read_out = rounds_until(world, world.is_read_out)
    # All that is left to do is to share the open shards, once more after a death.
    if len(world.members) > 1:
        del world.members[0]
    settled = rounds_until(world, lambda: world.imbalance() <= 1)

    step_rounds = len(ready_leases(world.snapshot())) * 2 // BEAT_TICKS
    assert read_out <= _READ_OUT_ROUNDS_MAX
    assert settled <= _SETTLING_ROUNDS_MAX + step_rounds
    # A member that was stopped is now and then robbed by who saw it dead just before it woke: that may take a round.
    world.run(20 * BEAT_TICKS, disturbance=0)
    moves = world.acquire_count
    world.run(20 * BEAT_TICKS, disturbance=0)
    assert world.acquire_count == moves


def rounds_until(world: Simulation, is_so: Callable[[], bool]) -> int:
    rounds = 0
    while not is_so():
        rounds += 1
        assert rounds < 1000
        world.run(BEAT_TICKS, disturbance=0)
    return rounds
