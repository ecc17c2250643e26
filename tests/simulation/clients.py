"""Who uses the server: producers, a reader, a follower, and a meddler who reshards, deletes and lets days pass.

What a client is about to do when the server ends is kept with it, so that it goes on in the server's next life.
"""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from streamd.core.put_tokens import PRODUCER_HEADER, SEQUENCE_HEADER
from tests.simulation.known import HOUR_MS, Sent, StreamLife
from tests.simulation.machine import Machine, Reply, rows_in
from tests.simulation.world import World

__all__ = ["DOOMED", "MAIN", "Follower", "Meddler", "Producer", "Reader", "make_stream", "pause"]

MAIN, DOOMED = "main", "doomed"
_PAUSE_S = 0.01
_TRY_COUNT_MAX = 4
_PUT_MEMORY_MS = 900_000
# How often a request with a token is sent twice at once, and how often its answer is lost on the way.
_TWIN_CHANCE, _DEAF_CHANCE = 0.2, 0.2
_PATIENCE_CHANCE, _PATIENCE_S = 0.7, 6.0
_BRINK_CHANCE, _NEW_KEY_CHANCE = 0.4, 0.3
_KEYS = ("a", "b", "c", "d")
_RETENTIONS = (24, 30, 36, 48)


@dataclass(slots=True)
class _Put:
    """A request: its records, and with a token the number by which it may be sent again."""

    stream: str
    records: Sequence[tuple[str, bytes]]
    sequence: int | None
    first_true_ms: int
    tries: int = 0


@dataclass(slots=True)
class Producer:
    """Puts so many requests, one after another."""

    number: int
    left: int
    world: World
    _made: int = 0
    _pending: _Put | None = None

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left or self._pending is not None:
            if self._pending is None:
                await pause(self.world)
                self._pending = self._next()
            put = self._pending
            if not await self._send(machine, put):
                # With a token it is sent again, by and by; without, nobody will ever know.
                await pause(self.world)
                put.tries += 1
                is_old = self.world.true_ms() - put.first_true_ms >= _PUT_MEMORY_MS
                if put.sequence is not None and put.tries < _TRY_COUNT_MAX and not is_old:
                    continue
            self._pending = None

    def was_cut_off(self) -> None:
        """Note that the answer never came."""
        if self._pending is None:
            return
        _end(self.world, self._pending)
        is_old = self.world.true_ms() - self._pending.first_true_ms >= _PUT_MEMORY_MS
        if self._pending.sequence is None or is_old:
            self._pending = None

    def _next(self) -> _Put:
        world = self.world
        self.left -= 1
        self._made += 1
        stream = MAIN if world.random.random() < 0.8 else DOOMED
        has_token = stream == MAIN and world.random.random() < 0.4
        records = []
        for place in range(world.random.choice((1, 1, 2, 5))):
            data = f"{self.number}/{self._made}/{place}|".encode() + b"x" * world.random.randrange(60)
            key = world.random.choice(_KEYS)
            records.append((key, data))
            world.known.sent[data] = Sent(
                stream=stream,
                order=(self.number, self._made, place),
                key=key,
                sent_at=world.known.tick(),
                sent_ms=world.now_ms(),
                sent_true_ms=world.true_ms(),
                has_token=has_token,
                is_sealed=stream == MAIN and world.known.is_sealing,
            )
        return _Put(stream, records, self._made if has_token else None, world.true_ms())

    async def _send(self, machine: Machine, put: _Put) -> bool:
        """Send a request; True once it is known what became of it."""
        world = self.world
        headers = {}
        if put.sequence is not None:
            headers = {PRODUCER_HEADER: f"{self.number:032x}", SEQUENCE_HEADER: str(put.sequence)}
        newest = dict(world.known.lives[put.stream].newest)
        name = f"producer {self.number} put {self._made} of {len(put.records)} to {put.stream}"
        world.note(f"{name}, {'token' if put.sequence else 'no token'}, try {put.tries}")
        has_twin = put.sequence is not None and world.random.random() < _TWIN_CHANCE
        asks = [_ask(machine, headers, put) for _ in range(2 if has_twin else 1)]
        replies = await asyncio.gather(*asks)
        if not machine.is_on:
            return False
        found = [reply for reply in replies if not reply.error]
        if put.tries or has_twin:
            world.known.repeat_count += 1
        is_deaf = put.sequence is not None and world.random.random() < _DEAF_CHANCE
        if is_deaf or not found:
            world.note(f"{name}: {'unheard' if is_deaf else replies[0].error}")
            _end(world, put)
            return False
        places = _places(found[0])
        world.note(f"{name}: {places}")
        # What took longer than a token is remembered may have been stored again.
        is_remembered = world.true_ms() - put.first_true_ms < _PUT_MEMORY_MS
        if is_remembered and any(_places(reply) != places for reply in found):
            world.known.faults.append(f"{name} was answered in two ways: {found}")
        for (_, data), place in zip(put.records, places, strict=True):
            world.known.acknowledge(data, place, newest=newest, true_ms=world.true_ms())
        return True


@dataclass(slots=True)
class Reader:
    """Reads all of a stream so many times, and looks whether everything is there."""

    world: World
    left: int

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            await self.read(machine, MAIN)

    async def read(self, machine: Machine, stream: str) -> bool:
        """Read a stream once; False when that was not possible."""
        known = self.world.known
        before, began = known.tick(), known.began(machine.now_ms())
        life = known.lives[stream]
        rows = await machine.rows(stream)
        if not machine.is_on or rows is None or known.lives[stream] is not life:
            return False
        self.world.note(f"read {stream}: {[(row.shard_id[-2:], row.sequence_number, row.data) for row in rows]}")
        known.look(stream, rows, began=began, now_ms=machine.now_ms())
        if not known.may_be_new(life, began, now_ms=machine.now_ms()):
            known.require(stream, rows, before=before, ended_ms=machine.now_ms())
        return True


@dataclass(slots=True)
class Follower:
    """Follows the tips of shards, and waits there."""

    world: World
    left: int

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            listed = await machine.ask("ListShards", StreamName=MAIN)
            if listed.error or not listed.document["Shards"]:
                continue
            shard_id = self.world.random.choice(listed.document["Shards"])["ShardId"]
            kind = self.world.random.choice(("LATEST", "TRIM_HORIZON"))
            begun = await machine.ask("GetShardIterator", StreamName=MAIN, ShardId=shard_id, ShardIteratorType=kind)
            if not begun.error:
                await self._follow(machine, shard_id, begun.document["ShardIterator"])

    async def _follow(self, machine: Machine, shard_id: str, place: str | None) -> None:
        for _ in range(3):
            if place is None:
                return
            began = self.world.known.began(machine.now_ms())
            got = await machine.ask("GetRecords", {"x-streamd-wait-ms": "50"}, ShardIterator=place)
            if got.error or not machine.is_on:
                return
            rows = rows_in(got.document, shard_id)
            self.world.note(f"follow {shard_id}: {[(row.sequence_number, row.data) for row in rows]}")
            self.world.known.look(MAIN, rows, began=began, now_ms=machine.now_ms())
            place = got.document.get("NextShardIterator")


@dataclass(slots=True)
class Meddler:
    """Does so many things that are neither puts nor reads."""

    world: World
    left: int
    figures: dict[str, int] = field(default_factory=dict)

    async def run(self, machine: Machine) -> None:
        """Go on with what is left."""
        while self.left:
            self.left -= 1
            await pause(self.world)
            kind = self.world.random.choice(
                ("split", "split", "merge", "delete", "leap", "retention", "kill", "clock", "encryption")
            )
            self.figures[kind] = self.figures.get(kind, 0) + 1
            self.world.note(f"meddler: {kind}")
            match kind:
                case "split" | "merge":
                    await self._reshard(machine, kind)
                case "delete":
                    await self._delete(machine)
                case "kill":
                    if not machine.kill_worker():
                        self.world.note("meddler: nothing to kill")
                case "clock":
                    await self._set_clock()
                case "encryption":
                    await self._change_encryption(machine)
                case "retention":
                    await self._change_retention(machine)
                case _:
                    self._leap()

    async def _reshard(self, machine: Machine, kind: str) -> None:
        listed = await machine.ask("ListShards", StreamName=MAIN)
        if listed.error:
            return
        shards = [s for s in listed.document["Shards"] if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        shards.sort(key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
        if not shards:
            return
        place = self.world.random.randrange(len(shards))
        identity = shards[place]["ShardId"]
        members: dict[str, Any]
        if kind == "split":
            low, high = (int(shards[place]["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
            members = {"ShardToSplit": identity, "NewStartingHashKey": str((low + high) // 2)}
        elif place + 1 < len(shards):
            members = {"ShardToMerge": identity, "AdjacentShardToMerge": shards[place + 1]["ShardId"]}
        else:
            return
        reply = await machine.ask("SplitShard" if kind == "split" else "MergeShards", StreamName=MAIN, **members)
        self.world.note(f"meddler: {kind} {identity}: {reply.error or 'done'}")

    async def _change_retention(self, machine: Machine) -> None:
        """Have records be kept for longer, or not so long any more: then some go at once."""
        retention = self.world.known.lives[MAIN].retention
        others = [choice for choice in _RETENTIONS if choice not in retention.hours]
        hours = self.world.random.choice(others or _RETENTIONS)
        before = max(retention.hours)
        operation = f"{'Increase' if hours > before else 'Decrease'}StreamRetentionPeriod"
        retention.may_become(hours, now_ms=machine.now_ms())
        reply = await machine.ask(operation, StreamName=MAIN, RetentionPeriodHours=hours)
        if machine.is_on and not reply.error:
            retention.became(hours, now_ms=machine.now_ms())
        self.world.note(f"meddler: {operation} {hours}: {reply.error or 'done'}")

    def _leap(self) -> None:
        """Have hours pass, or so many that what came when the wall clock was highest is about to expire."""
        random = self.world.random
        if random.random() < _BRINK_CHANCE:
            hours = min(self.world.known.lives[MAIN].retention.hours)
            ahead_ms = max(0, self.world.known.highest_ms - self.world.now_ms())
            self.world.leapt_ms += ahead_ms + hours * HOUR_MS - random.randrange(2 * HOUR_MS)
        else:
            self.world.leapt_ms += random.randrange(1, 20) * HOUR_MS

    async def _set_clock(self) -> None:
        """Set the wall clock; where that was done a moment ago, perhaps wait until it may be done again."""
        while not self.world.set_clock() and self.world.random.random() < _PATIENCE_CHANCE:
            assert self.world.loop is not None
            await self.world.loop.passing(self.world.random.random() * _PATIENCE_S)

    async def _change_encryption(self, machine: Machine) -> None:
        """Have the records to come be encrypted, under a new key each time, or no longer."""
        known = self.world.known
        is_start = not known.is_sealing or self.world.random.random() < _NEW_KEY_CHANCE
        operation = f"{'Start' if is_start else 'Stop'}StreamEncryption"
        if not is_start:
            known.sealing_may_stop()
        reply = await machine.ask(operation, StreamName=MAIN, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        if is_start and machine.is_on and not reply.error:
            known.is_sealing = True
        self.world.note(f"meddler: {operation}: {reply.error or 'done'}")

    async def _delete(self, machine: Machine) -> None:
        """Delete the doomed stream, or make it if it is gone."""
        life = self.world.known.lives[DOOMED]
        if life.doomed_at is None or self.world.random.random() < 0.3:
            life.doomed_at = self.world.known.tick()
            reply = await machine.ask("DeleteStream", StreamName=DOOMED)
        else:
            reply = await make_stream(self.world, machine, DOOMED)
        self.world.note(f"meddler: {DOOMED}: {reply.error or 'done'}")


async def make_stream(world: World, machine: Machine, name: str) -> Reply:
    """Make a stream; from then on it is known to be there."""
    # Until the answer comes it may be there or not, and nothing must be in it.
    asked_at = world.known.tick()
    life = StreamLife(asked_at=asked_at, asked=world.known.began(machine.now_ms()), doomed_at=asked_at)
    before = world.known.lives.get(name)
    world.known.lives[name] = life
    reply = await machine.ask("CreateStream", StreamName=name, ShardCount=world.random.choice((1, 2)))
    if machine.is_on and not reply.error:
        world.known.note_made(life, active_ms=machine.now_ms() + world.transition_ms)
    elif reply.error == "ResourceInUseException" and before is not None:
        before.retention.pass_by(world.known.highest_ms)
        world.known.lives[name] = before
    return reply


async def _ask(machine: Machine, headers: dict[str, str], put: _Put) -> Reply:
    rows = [{"PartitionKey": key, "Data": b64encode(data).decode()} for key, data in put.records]
    if len(rows) == 1:
        return await machine.ask("PutRecord", headers, StreamName=put.stream, **rows[0])
    return await machine.ask("PutRecords", headers, StreamName=put.stream, Records=rows)


def _places(reply: Reply) -> list[tuple[str, int]]:
    answers = reply.document.get("Records", [reply.document])
    return [(answer["ShardId"], int(answer["SequenceNumber"])) for answer in answers]


def _end(world: World, put: _Put) -> None:
    for _, data in put.records:
        sent = world.known.sent[data]
        sent.ended_at, sent.ended_true_ms = world.known.tick(), world.true_ms()


async def pause(world: World) -> None:
    """Let a moment pass."""
    assert world.loop is not None
    await world.loop.passing(world.random.random() * _PAUSE_S)
