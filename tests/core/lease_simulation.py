"""A group of readers in virtual time: members join, leave, die, freeze and wake; shards split and merge.

A tick is the smallest step. Members act by the rules under test against a store in memory; what they do takes ticks,
so that they act on snapshots that are old. Whatever the store accepted is written down and checked as it happens.
"""

import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streamd.core.lease import AT_END, TRIM_HORIZON, Lease, Snapshot, Start
from streamd.core.lease_balance import (
    FORGET_TIMEOUT_COUNT,
    Pulses,
    expired_leases,
    missing_leases,
    plan_leases,
    ready_leases,
)
from streamd.core.shard_succession import Lineage
from streamd.errors import LeaseLost
from streamd.sdk.leases_memory import MemoryLeases

__all__ = ["BEAT_TICKS", "TIMEOUT_BEATS", "Simulation"]

BEAT_TICKS = 4
TIMEOUT_BEATS = 5
_STREAM, _GROUP = "stream", "group"
_Answer = TypeVar("_Answer")


@dataclass
class SimShard:
    shard_id: str
    parent_ids: tuple[str, ...]
    count: int = 0
    is_open: bool = True
    read: set[int] = field(default_factory=set)


@dataclass
class Reading:
    """What a member believes about a shard that it owns."""

    epoch: int
    place: int
    is_leaving: bool = False


class SimMember:
    """One process: it beats, plans, reads and checkpoints; frozen, it does nothing, and then goes on as if never."""

    def __init__(self, member_id: str, world: "Simulation") -> None:
        self.member_id = member_id
        self.world = world
        self.pulses = Pulses(timeout_ms=TIMEOUT_BEATS * BEAT_TICKS)
        self.phase = world.chance.randrange(BEAT_TICKS)
        self.reading: dict[str, Reading] = {}
        self.steps: list[tuple[str, Any]] = []
        self.frozen_until = 0

    def tick(self, now: int) -> None:
        if now < self.frozen_until:
            return
        if self.steps:
            self._do(*self.steps.pop(0))
        elif (now + self.phase) % BEAT_TICKS == 0:
            self._beat(now)
        for shard_id in list(self.reading):
            self._read(shard_id)

    def _beat(self, now: int) -> None:
        store = self.world.store
        snapshot = at_once(store.beat(_STREAM, _GROUP, member_id=self.member_id, about=""))
        self.pulses.note(snapshot, now_ms=now)
        owned = {lease.shard_id: lease for lease in snapshot.leases if lease.owner == self.member_id}
        self.reading = {
            shard_id: reading
            for shard_id, reading in self.reading.items()
            if shard_id in owned and owned[shard_id].epoch == reading.epoch
        }
        listed = [Lineage(shard.shard_id, shard.parent_ids) for shard in self.world.listed()]
        plan = plan_leases(
            snapshot,
            member_id=self.member_id,
            silent=self.pulses.silent(),
            forgettable=self.pulses.silent(timeout_count=FORGET_TIMEOUT_COUNT),
            giving_up=[shard_id for shard_id, reading in self.reading.items() if reading.is_leaving],
        )
        self.steps = [
            *(("add", lease) for lease in missing_leases(snapshot, listed)),
            *(("drop", shard_id) for shard_id in expired_leases(snapshot, listed)),
            *(("acquire", lease) for lease in plan.acquire),
            *(("give up", shard_id) for shard_id in plan.give_up),
            *(("forget", member_id) for member_id in plan.forget),
        ]

    def _do(self, step: str, thing: Any) -> None:
        store = self.world.store
        match step:
            case "add":
                at_once(store.add_leases(_STREAM, _GROUP, leases=[thing]))
            case "drop":
                at_once(store.drop_leases(_STREAM, _GROUP, shard_ids=[thing]))
            case "acquire":
                self._acquire(thing)
            case "give up" if thing in self.reading:
                self.reading[thing].is_leaving = True
                self._checkpoint(thing, release=True)
            case "forget":
                at_once(store.leave(_STREAM, _GROUP, member_id=thing))
            case _:
                assert step == "give up", "its lease was lost meanwhile"

    def _acquire(self, lease: Lease) -> None:
        try:
            taken = at_once(
                self.world.store.acquire(
                    _STREAM, _GROUP, shard_id=lease.shard_id, member_id=self.member_id, epoch=lease.epoch
                )
            )
        except LeaseLost:
            return
        self.world.owned(taken)
        self.world.acquire_count += 1
        if taken.place == AT_END:
            # Its owner came to the end while this member still held an older snapshot.
            at_once(
                self.world.store.checkpoint(
                    *(_STREAM, _GROUP),
                    shard_id=lease.shard_id,
                    member_id=self.member_id,
                    epoch=taken.epoch,
                    place=AT_END,
                    release=True,
                )
            )
            return
        place = 0 if taken.place == TRIM_HORIZON else int(taken.place)
        self.reading[lease.shard_id] = Reading(taken.epoch, place)

    def _read(self, shard_id: str) -> None:
        reading = self.reading[shard_id]
        shard = self.world.shards[shard_id]
        for _ in range(self.world.chance.randrange(4)):
            if reading.place < shard.count:
                self.world.delivered(shard, reading.place)
                reading.place += 1
        if self.world.chance.random() < 0.3 or (not shard.is_open and reading.place == shard.count):
            self._checkpoint(shard_id, release=False)

    def _checkpoint(self, shard_id: str, *, release: bool) -> None:
        reading = self.reading[shard_id]
        shard = self.world.shards[shard_id]
        is_done = not shard.is_open and reading.place == shard.count
        place = AT_END if is_done else str(reading.place)
        try:
            at_once(
                self.world.store.checkpoint(
                    *(_STREAM, _GROUP),
                    shard_id=shard_id,
                    member_id=self.member_id,
                    epoch=reading.epoch,
                    place=place,
                    release=release or is_done,
                )
            )
        except LeaseLost:
            del self.reading[shard_id]
            return
        self.world.accepted(shard_id, reading.epoch, self.member_id, reading.place)
        if release or is_done:
            del self.reading[shard_id]

    def leave(self) -> None:
        for shard_id in list(self.reading):
            self._checkpoint(shard_id, release=True)
        at_once(self.world.store.leave(_STREAM, _GROUP, member_id=self.member_id))


class Simulation:
    """The store, the stream and the members; and what must always be so."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = MemoryLeases()
        at_once(self.store.open_group(_STREAM, _GROUP, start=Start(place=TRIM_HORIZON)))
        self.shards: dict[str, SimShard] = {}
        self.members: list[SimMember] = []
        self.now = 0
        self.acquire_count = 0
        self.expired: set[str] = set()
        self._owner_by_epoch: dict[tuple[str, int], str] = {}
        self._accepted: dict[str, tuple[int, int]] = {}
        self._member_count = 0
        for _ in range(self.chance.randint(1, 24)):
            self._add_shard(())
        for _ in range(self.chance.randint(1, 6)):
            self.join()

    def run(self, ticks: int, *, disturbance: float) -> None:
        """Let time pass; something happens with this probability at each tick."""
        for _ in range(ticks):
            self.now += 1
            if self.chance.random() < disturbance:
                self._disturb()
            for shard in self.shards.values():
                shard.count += shard.is_open and self.chance.random() < 0.3
            for member in list(self.members):
                member.tick(self.now)

    def join(self) -> None:
        self._member_count += 1
        self.members.append(SimMember(f"member-{self._member_count:03d}", self))

    def _disturb(self) -> None:
        member = self.chance.choice(self.members)
        kind = self.chance.choice(["join", "leave", "die", "freeze", "split", "merge", "expire"])
        if kind in {"leave", "die"} and len(self.members) == 1:
            kind = "join"
        match kind:
            case "join" if len(self.members) < 9:
                self.join()
            case "leave" if self.now >= member.frozen_until:
                self.members.remove(member)
                member.leave()
            case "die":
                self.members.remove(member)
            case "freeze":
                member.frozen_until = self.now + self.chance.randrange(1, 3 * TIMEOUT_BEATS * BEAT_TICKS)
            case "split":
                self._split()
            case "merge":
                self._merge()
            case "expire":
                self._expire()
            case _:
                pass

    def _split(self) -> None:
        parent = self.chance.choice([shard for shard in self.shards.values() if shard.is_open])
        parent.is_open = False
        self._add_shard((parent.shard_id,))
        self._add_shard((parent.shard_id,))

    def _merge(self) -> None:
        still_open = [shard for shard in self.shards.values() if shard.is_open]
        if len(still_open) > 1:
            parents = self.chance.sample(still_open, 2)
            for parent in parents:
                parent.is_open = False
            self._add_shard(tuple(parent.shard_id for parent in parents))

    def _expire(self) -> None:
        """Take the oldest shard out of the list once it was read, as retention does."""
        oldest = min(self.listed(), key=lambda shard: shard.shard_id)
        if not oldest.is_open and len(oldest.read) == oldest.count and self._is_at_end(oldest.shard_id):
            self.expired.add(oldest.shard_id)

    def _is_at_end(self, shard_id: str) -> bool:
        return any(lease.shard_id == shard_id and lease.place == AT_END for lease in self.snapshot().leases)

    def _add_shard(self, parent_ids: tuple[str, ...]) -> None:
        shard_id = f"shard-{len(self.shards):04d}"
        self.shards[shard_id] = SimShard(shard_id, parent_ids)

    def listed(self) -> list[SimShard]:
        return [shard for shard in self.shards.values() if shard.shard_id not in self.expired]

    def snapshot(self) -> Snapshot:
        return at_once(self.store.snapshot(_STREAM, _GROUP))

    def owned(self, lease: Lease) -> None:
        """Note an owner: an epoch has one, ever."""
        assert lease.owner is not None
        assert self._owner_by_epoch.setdefault((lease.shard_id, lease.epoch), lease.owner) == lease.owner

    def accepted(self, shard_id: str, epoch: int, member_id: str, place: int) -> None:
        """Note an accepted checkpoint: epochs and places never go back, and only an epoch's owner speaks under it."""
        assert self._owner_by_epoch[shard_id, epoch] == member_id
        last_epoch, last_place = self._accepted.get(shard_id, (0, 0))
        assert epoch >= last_epoch
        assert place >= last_place
        self._accepted[shard_id] = (epoch, place)

    def delivered(self, shard: SimShard, place: int) -> None:
        """Note a record: every record of the parents came first."""
        for parent_id in shard.parent_ids:
            parent = self.shards[parent_id]
            assert not parent.is_open
            assert len(parent.read) == parent.count
        shard.read.add(place)

    def is_read_out(self) -> bool:
        """Tell whether every closed shard was read to its end, and every open one may be read now."""
        ready = {lease.shard_id for lease in ready_leases(self.snapshot())}
        return all(
            shard.shard_id in ready if shard.is_open else len(shard.read) == shard.count and shard.shard_id not in ready
            for shard in self.shards.values()
        )

    def imbalance(self) -> int:
        """Give the spread of ready leases over the members that are there; a lease without an owner is one too many."""
        ready = ready_leases(self.snapshot())
        counts = [sum(lease.owner == member.member_id for lease in ready) for member in self.members]
        strays = len(ready) - sum(counts)
        return max(counts) - min(counts) + 2 * strays


def at_once(coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        answer: _Answer = stop.value
        return answer
    raise AssertionError
