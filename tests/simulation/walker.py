"""A consumer that follows a stream over its reshards, parents to their end first: each key's records come in order.

What it was given is remembered from life to life of the server, so that it goes on where it stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamd.core.lease import AT_END, TRIM_HORIZON, Place
from tests.simulation.clients import MAIN, pause
from tests.simulation.known import Row
from tests.simulation.machine import Machine, rows_in
from tests.simulation.world import World

__all__ = ["Walker"]

_LIMITS = (1, 2, 100)


@dataclass(slots=True)
class Walker:
    """Reads on so many times, and at last all there is."""

    world: World
    left: int
    _place_by_shard: dict[str, Place] = field(default_factory=dict)
    _last_by_key: dict[tuple[str, int], Row] = field(default_factory=dict)
    _number_by_key: dict[str, Row] = field(default_factory=dict)
    _taken: set[bytes] = field(default_factory=set)
    _was_refused: bool = False
    crossed_count: int = 0

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            await self._step(machine)

    async def walk_to_the_end(self, machine: Machine) -> None:
        """Read all that is there; nothing acknowledged that has not expired may have been passed over."""
        known, self._was_refused = self.world.known, False
        began = known.began(machine.now_ms())
        while await self._step(machine):
            pass
        life = known.lives[MAIN]
        may_be_new = known.may_be_new(life, began, now_ms=machine.now_ms())
        if self._was_refused or may_be_new or not machine.is_on or life.made_at is None:
            return
        gone_ms = life.retention.gone_ms(machine.now_ms())
        for data, sent in known.sent.items():
            is_due = sent.stream == MAIN and sent.place is not None and sent.sent_ms >= gone_ms
            if is_due and data not in self._taken:
                known.faults.append(f"{data!r} was acknowledged at {sent.place} and never came")

    async def _step(self, machine: Machine) -> bool:
        """Read on in one of the shards whose parents were read to their end; False where there is nothing more."""
        listed = await machine.ask("ListShards", StreamName=MAIN)
        if listed.error:
            self._was_refused = True
            return False
        shards = {shard["ShardId"]: shard for shard in listed.document["Shards"]}
        ready = [shard_id for shard_id in shards if self._is_ready(shards[shard_id], shards)]
        self.world.random.shuffle(ready)
        for shard_id in ready:
            if await self._read(machine, shard_id):
                return True
        return False

    def _is_ready(self, shard: Mapping[str, Any], shards: Mapping[str, Any]) -> bool:
        parents = [shard[key] for key in ("ParentShardId", "AdjacentParentShardId") if key in shard]
        # A parent that is not listed any more has expired, with all that was in it.
        are_read = all(self._place_by_shard.get(parent) == AT_END for parent in parents if parent in shards)
        return are_read and self._place_by_shard.get(shard["ShardId"]) != AT_END

    async def _read(self, machine: Machine, shard_id: str) -> bool:
        """Read on in a shard; False where nothing came and it has not ended."""
        place = self._place_by_shard.get(shard_id, TRIM_HORIZON)
        where: dict[str, Any] = {"ShardIteratorType": TRIM_HORIZON}
        if place.isdigit():
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": place}
        begun = await machine.ask("GetShardIterator", StreamName=MAIN, ShardId=shard_id, **where)
        if begun.error:
            self._was_refused = True
            return False
        limit = self.world.random.choice(_LIMITS)
        began = self.world.known.began(machine.now_ms())
        got = await machine.ask("GetRecords", ShardIterator=begun.document["ShardIterator"], Limit=limit)
        if got.error:
            self._was_refused = True
            return False
        rows = rows_in(got.document, shard_id)
        self.world.note(f"walk {shard_id} from {place}: {[(row.sequence_number, row.data) for row in rows]}")
        self.world.known.look(MAIN, rows, began=began, now_ms=machine.now_ms())
        for row in rows:
            self._take(row)
        is_at_end = got.document.get("NextShardIterator") is None
        if rows or is_at_end:
            self._place_by_shard[shard_id] = AT_END if is_at_end else str(rows[-1].sequence_number)
        return bool(rows) or is_at_end

    def _take(self, row: Row) -> None:
        """Look whether a record comes after all of its key, and after all of its producer and key."""
        known = self.world.known
        self._taken.add(row.data)
        before = self._number_by_key.get(row.key)
        if before is not None:
            self.crossed_count += before.shard_id != row.shard_id
            if before.sequence_number >= row.sequence_number:
                known.faults.append(f"{row} has no greater number than {before}, after which it comes")
        self._number_by_key[row.key] = row
        sent = known.sent.get(row.data)
        if sent is None or known.may_be_doubled(sent):
            return
        of_producer = row.key, sent.order[0]
        last = self._last_by_key.get(of_producer)
        if last is not None and known.sent[last.data].order >= sent.order:
            known.faults.append(f"{row} comes after {last} of its producer and key")
        self._last_by_key[of_producer] = row
