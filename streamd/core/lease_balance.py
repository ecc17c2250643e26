"""How the members of a group share its shards: what each of them is to take, to give up, to add and to drop.

Every member decides for itself, from the group as it last saw it, and all who see the same decide alike: the ready
leases are shared so that no member has more than one above another. Who has its share keeps what it has, so nothing
moves that need not. A lease is **ready** when it is not read to its end and all of its parents that have leases are;
a parent without a lease no longer exists, or lay before the group's start.

Nothing here is exact about who lives: two members may disagree for a while. The store's compare-and-set on a lease's
epoch keeps that harmless, and agreement follows.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Snapshot
from streamd.core.shard_succession import Lineage

__all__ = [
    "FORGET_TIMEOUT_COUNT",
    "LeasePlan",
    "Pulses",
    "expired_leases",
    "missing_leases",
    "plan_leases",
    "ready_leases",
]

# A member that was seen silent for this many timeouts, and owns nothing, is forgotten: it left no word.
FORGET_TIMEOUT_COUNT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePlan:
    """What one member is to do.

    ``acquire`` are leases to take under the epochs they have, ``give_up`` shards to release once their batch is done,
    ``forget`` members that are gone.
    """

    acquire: tuple[Lease, ...] = ()
    give_up: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()


class Pulses:
    """Who lives, as one observer sees it by a clock of its own.

    A member whose beat stayed the same for too long is dead. While the observer itself did not look (stopped, busy, or
    its machine asleep) all others may have been stopped with it: of such a gap only half a timeout counts.
    """

    def __init__(self, *, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._silence: dict[str, tuple[int, int]] = {}
        self._looked_ms: int | None = None

    def note(self, snapshot: Snapshot, *, now_ms: int) -> None:
        """Look at the beats of all members now."""
        gap_ms = 0 if self._looked_ms is None else min(now_ms - self._looked_ms, self._timeout_ms // 2)
        before = self._silence
        self._silence = {}
        for member in snapshot.members:
            beat, silent_ms = before.get(member.member_id, (None, 0))
            self._silence[member.member_id] = (member.beat, silent_ms + gap_ms if beat == member.beat else 0)
        self._looked_ms = now_ms

    def silent(self, *, timeout_count: int = 1) -> frozenset[str]:
        """List the members that had not beaten for so many timeouts when they were last looked at."""
        silent_ms_min = self._timeout_ms * timeout_count
        return frozenset(member_id for member_id, (_, silent_ms) in self._silence.items() if silent_ms >= silent_ms_min)


def ready_leases(snapshot: Snapshot) -> list[Lease]:
    """List the leases that may be read now, by shard id."""
    unfinished = {lease.shard_id for lease in snapshot.leases if lease.place != AT_END}
    ready = [
        lease for lease in snapshot.leases if lease.shard_id in unfinished and unfinished.isdisjoint(lease.parent_ids)
    ]
    return sorted(ready, key=lambda lease: lease.shard_id)


def missing_leases(snapshot: Snapshot, shards: Iterable[Lineage]) -> list[Lease]:
    """Make the leases that shards of the stream do not have yet.

    A shard one of whose parents has a lease is read from its first record; any other begins where the group does.
    """
    shard_by_id = {shard.shard_id: shard for shard in shards}
    known = {lease.shard_id for lease in snapshot.leases}
    # Parents come before their children, so a grandchild of what has a lease inherits too.
    inherited = set(known)
    for shard in sorted(shard_by_id.values(), key=lambda shard: shard.shard_id):
        if not inherited.isdisjoint(shard.parent_ids):
            inherited.add(shard.shard_id)
    return [
        Lease(
            shard_id=shard.shard_id,
            parent_ids=shard.parent_ids,
            owner=None,
            epoch=0,
            place=TRIM_HORIZON if shard.shard_id in inherited else snapshot.start.place,
        )
        for shard in shard_by_id.values()
        if shard.shard_id not in known
    ]


def expired_leases(snapshot: Snapshot, shards: Iterable[Lineage]) -> list[str]:
    """List the leases of shards that the stream no longer lists: all they held has expired.

    The list must have been asked for after the snapshot was taken: a younger lease may be of a younger shard.
    """
    listed = {shard.shard_id for shard in shards}
    return [lease.shard_id for lease in snapshot.leases if lease.shard_id not in listed]


def plan_leases(
    snapshot: Snapshot,
    *,
    member_id: str,
    silent: Collection[str],
    forgettable: Collection[str] = (),
    giving_up: Collection[str] = (),
) -> LeasePlan:
    """Tell a member what to do: ``silent`` are the members it sees dead, ``giving_up`` what it is giving up already.

    A member that the group does not know, or that is itself seen silent, is to do nothing: it has to beat first.
    """
    living = sorted({member.member_id for member in snapshot.members} - set(silent))
    if member_id not in living:
        return LeasePlan()
    ready = ready_leases(snapshot)
    owned = {living_id: [lease.shard_id for lease in ready if lease.owner == living_id] for living_id in living}
    free = [lease for lease in ready if lease.owner not in owned]
    share = _shares(Counter({living_id: len(shard_ids) for living_id, shard_ids in owned.items()}), len(ready))
    mine = owned[member_id]
    excess = max(0, len(mine) - share[member_id])
    owners = {lease.owner for lease in snapshot.leases}
    is_eldest = member_id == living[0]
    return LeasePlan(
        acquire=_portion(free, share, owned, member_id=member_id),
        give_up=tuple(_first_to_go(mine, giving_up)[:excess]),
        forget=tuple(sorted(set(forgettable) & set(silent) - owners)) if is_eldest else (),
    )


def _first_to_go(shard_ids: list[str], giving_up: Collection[str]) -> list[str]:
    """Order shards by who leaves first: what is being given up, then the newest, alike from one beat to the next."""
    return sorted(shard_ids, key=lambda shard_id: (shard_id in giving_up, shard_id), reverse=True)


def _shares(owned_count: Counter[str], lease_count: int) -> dict[str, int]:
    """Give each member its share; the odd ones go to those who have the most already, so that they keep them."""
    base, odd_count = divmod(lease_count, len(owned_count))
    by_count = sorted(owned_count, key=lambda member_id: (-owned_count[member_id], member_id))
    return {member_id: base + (place < odd_count) for place, member_id in enumerate(by_count)}


def _portion(
    free: list[Lease], share: dict[str, int], owned: dict[str, list[str]], *, member_id: str
) -> tuple[Lease, ...]:
    """Give a member's portion of the free leases: those before it in order take theirs first, so that nobody races."""
    taken = 0
    for living_id, shard_ids in owned.items():
        need = max(0, share[living_id] - len(shard_ids))
        if living_id == member_id:
            return tuple(free[taken : taken + need])
        taken += need
    raise AssertionError
