"""The members of a group: they take leases from each other, read, save their places, and do not always know it is over.

A member that was refused may go on as if it had not been: whoever reads for it must be safe from it all the same.
"""

from dataclasses import dataclass, field
from typing import Any

from streamd.core.lease import AT_END, TRIM_HORIZON, Place, is_behind
from tests.simulation.clients import MAIN, pause
from tests.simulation.machine import Machine, Reply, rows_in
from tests.simulation.world import World

__all__ = ["GROUP", "Member", "look_at_group"]

GROUP = "readers"
_ZOMBIE_CHANCE, _STALE_CHANCE, _BACK_CHANCE, _RELEASE_CHANCE, _SEEK_CHANCE = 0.5, 0.2, 0.1, 0.2, 0.1
_STEPS = ("take", "take", "save", "save", "save", "save", "lease", "beat", "leave", "seek")


@dataclass(slots=True)
class _Held:
    """A lease as its owner, present or former, remembers it."""

    epoch: int
    place: Place


@dataclass(slots=True)
class Member:
    """A member with so many steps left to do."""

    number: int
    left: int
    world: World
    _held: dict[str, _Held] = field(default_factory=dict)
    _has_joined: bool = False

    @property
    def id(self) -> str:
        """Give its name."""
        return f"member-{self.number}"

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            if not self._has_joined:
                await self._join(machine)
                continue
            match self.world.random.choice(_STEPS):
                case "take":
                    await self._take(machine)
                case "lease":
                    await self._add_leases(machine)
                case "beat":
                    await self._beat(machine)
                case "leave":
                    await self._leave(machine)
                case "seek":
                    await self._seek(machine)
                case _:
                    await self._save(machine)

    async def _ask(self, machine: Machine, operation: str, **members: Any) -> Reply:
        reply = await machine.ask(operation, StreamName=MAIN, GroupName=GROUP, **members)
        self.world.note(f"{self.id}: {operation} {members}: {reply.error or 'done'}")
        return reply

    async def _join(self, machine: Machine) -> None:
        made = await self._ask(machine, "CreateGroup", Start=TRIM_HORIZON)
        if made.error:
            return
        self.world.known.group.is_made = True
        self._has_joined = True
        await self._add_leases(machine)

    async def _add_leases(self, machine: Machine) -> None:
        listed = await machine.ask("ListShards", StreamName=MAIN)
        if listed.error or not listed.document["Shards"]:
            return
        leases = [
            {
                "ShardId": shard["ShardId"],
                "Place": TRIM_HORIZON,
                "ParentShardIds": [shard[key] for key in ("ParentShardId", "AdjacentParentShardId") if key in shard],
            }
            for shard in listed.document["Shards"]
        ]
        added = await self._ask(machine, "AddLeases", Leases=leases)
        if not added.error:
            await look_at_group(self.world, machine, having=[lease["ShardId"] for lease in leases])

    async def _beat(self, machine: Machine) -> None:
        group, asked_at = self.world.known.group, self.world.known.tick()
        beaten = await self._ask(machine, "BeatMember", MemberId=self.id)
        if not beaten.error:
            beats = {row["MemberId"]: row["Beat"] for row in beaten.document["Members"]}
            group.look(beaten.document, asked_at=asked_at, at=self.world.known.tick())
            group.beat_by_member[self.id] = self.world.known.tick(), beats[self.id]

    async def _take(self, machine: Machine) -> None:
        """Take any lease, from whoever has it; now and then with an epoch that is over."""
        random, known = self.world.random, self.world.known
        rows = await look_at_group(self.world, machine)
        if not rows:
            return
        row = random.choice(rows)
        shard_id, epoch = row["ShardId"], row["Epoch"]
        if epoch and random.random() < _STALE_CHANCE:
            epoch -= 1
        tries = known.group.lease_by_shard[shard_id].tries.setdefault(epoch + 1, set())
        is_first_try = self.id not in tries
        tries.add(self.id)
        taken = await self._ask(machine, "AcquireLease", MemberId=self.id, ShardId=shard_id, Epoch=epoch)
        if taken.error == "LeaseLostException":
            known.group.was_not_acquired(shard_id, self.id, epoch=epoch, is_first_try=is_first_try)
        elif not taken.error:
            lease = taken.document["Lease"]
            known.group.was_acquired(shard_id, self.id, lease, epoch=epoch, at=known.tick())
            self._held[shard_id] = _Held(epoch + 1, lease["Place"])

    async def _save(self, machine: Machine) -> None:
        """Read on in one of its shards and save the place, or now and then one behind it; perhaps give it up."""
        random, known = self.world.random, self.world.known
        if not self._held:
            return
        shard_id = random.choice(list(self._held))
        held = self._held[shard_id]
        place: Place | None = TRIM_HORIZON
        if random.random() > _BACK_CHANCE:
            place = await self._read(machine, shard_id, held.place)
        if place is None:
            return
        is_last = random.random() < _RELEASE_CHANCE
        lease = known.group.lease_by_shard[shard_id]
        if is_behind(lease.highest_tried, place):
            lease.highest_tried = place
        if is_last:
            lease.given_up.add((self.id, held.epoch))
        asked_at = known.tick()
        saved = await self._ask(
            machine,
            "SaveCheckpoint",
            MemberId=self.id,
            ShardId=shard_id,
            Epoch=held.epoch,
            Place=place,
            Release=is_last,
        )
        if not saved.error:
            known.group.was_saved(shard_id, self.id, place, epoch=held.epoch, asked_at=asked_at, at=known.tick())
            held.place = place
            return
        known.group.was_not_saved(shard_id, self.id, place, epoch=held.epoch, error=saved.error)
        if saved.error == "LeaseLostException" and random.random() > _ZOMBIE_CHANCE:
            del self._held[shard_id]

    async def _read(self, machine: Machine, shard_id: str, place: Place) -> Place | None:
        """Read on from a place; the next one, None where nothing can be read now."""
        if place == AT_END:
            return place
        where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if place.isdigit():
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": place}
        began = self.world.known.began(machine.now_ms())
        begun = await machine.ask("GetShardIterator", StreamName=MAIN, ShardId=shard_id, **where)
        if begun.error:
            return None
        got = await machine.ask("GetRecords", ShardIterator=begun.document["ShardIterator"], Limit=3)
        if got.error:
            return None
        rows = rows_in(got.document, shard_id)
        self.world.known.look(MAIN, rows, began=began, now_ms=machine.now_ms())
        if rows:
            return str(rows[-1].sequence_number)
        return AT_END if got.document.get("NextShardIterator") is None else place

    async def _leave(self, machine: Machine) -> None:
        group = self.world.known.group
        group.beat_by_member.pop(self.id, None)
        for shard_id, lease in group.lease_by_shard.items():
            # Also what it was given and does not remember.
            lease.given_up |= {(self.id, epoch) for epoch, tries in lease.tries.items() if self.id in tries}
            if self.world.random.random() > _ZOMBIE_CHANCE:
                self._held.pop(shard_id, None)
        await self._ask(machine, "LeaveGroup", MemberId=self.id)

    async def _seek(self, machine: Machine) -> None:
        """Move a lease back to its beginning, as an operator does."""
        known = self.world.known
        if not known.group.lease_by_shard or self.world.random.random() > _SEEK_CHANCE:
            return
        shard_id = self.world.random.choice(list(known.group.lease_by_shard))
        known.group.begin_seek(shard_id)
        await self._ask(machine, "SeekLeases", Places={shard_id: TRIM_HORIZON})
        if machine.is_on:
            known.group.end_seek(shard_id, at=known.tick())


async def look_at_group(
    world: World, machine: Machine, *, having: list[str] | None = None
) -> list[dict[str, Any]] | None:
    """Look at the group, in which leases of some shards must be; its leases, None where it cannot be seen now."""
    known, asked_at = world.known, world.known.tick()
    seen = await machine.ask("DescribeGroup", StreamName=MAIN, GroupName=GROUP)
    if seen.error or not machine.is_on:
        return None
    rows: list[dict[str, Any]] = seen.document["Leases"]
    world.note(f"group: {rows}")
    missing = set(having or ()) - {row["ShardId"] for row in rows}
    if missing:
        known.faults.append(f"leases were added and are gone: {sorted(missing)}")
    known.group.look(seen.document, asked_at=asked_at, at=known.tick())
    return rows
