"""Records in and out of shards: routing, placing, reading, iterators, waiting for more.

A put that meets a shard which a reshard has just sealed is routed again, to the children, and never lands in a closed
shard. A read returns whole records in order, none that has expired, and says how far behind it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from streamd.core.blocks import RecordColumns, decode, sealed_body, sizes
from streamd.core.hash_keys import digest_of_hash_key, digests
from streamd.core.limits import CLOSED_RETRY_COUNT_MAX, GET_RECORDS_BYTE_COUNT_MAX, PUT_MEMORY_MS
from streamd.core.put_tokens import PutToken, Remembered
from streamd.core.sequence_numbers import SequenceNumber, sequence_numbers
from streamd.core.shard_tree import Shard
from streamd.core.stream import Distribution, Stream
from streamd.core.wall_clock import RecentSpan
from streamd.engine.clock import Clock
from streamd.engine.keys import Keys
from streamd.engine.quotas import Quotas
from streamd.engine.reshard import Resharder
from streamd.engine.streams import Streams
from streamd.errors import BlockDamaged, PutForgotten, PutMismatched, ShardClosed, ShardMissing, StreamNotFound
from streamd.storage.shard_log import Appended, ShardBatch, ShardKey, StoredBlock
from streamd.storage.store import Store

__all__ = ["Outcomes", "ReadBatch", "Shards"]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Where each record went, as columns.

    A record's number is None when it was over its shard's write limit, or when its shard is damaged: then
    ``damage_by_place`` holds the damage.
    """

    shard_ids: list[str]
    sequence_numbers: list[str | None]
    damage_by_place: dict[int, BlockDamaged] = field(default_factory=dict)

    @classmethod
    def none_yet(cls, count: int) -> "Outcomes":
        """Make columns to be filled."""
        return cls([""] * count, [None] * count)


@dataclass(slots=True, kw_only=True)
class ReadBatch:
    """What a read found: columns of equal length, oldest first, and where to go on.

    ``next_after`` is None at the end of a closed shard, and then ``children`` are the shards that follow it.
    """

    shard: Shard
    byte_count_max: int = GET_RECORDS_BYTE_COUNT_MAX
    sequence_numbers: list[str] = field(default_factory=list)
    arrivals_ms: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    is_encrypted: list[bool] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    byte_count: int = 0
    behind_ms: int = 0
    next_after: int | None = 0
    children: list[Shard] = field(default_factory=list)


class Shards:
    """Puts records and reads them."""

    def __init__(
        self,
        store: Store,
        streams: Streams,
        resharder: Resharder,
        keys: Keys,
        quotas: Quotas,
        clock: Clock,
    ) -> None:
        self._store = store
        self._streams = streams
        self._resharder = resharder
        self._keys = keys
        self._quotas = quotas
        self._clock = clock
        self._puts_span = RecentSpan(PUT_MEMORY_MS)
        self._turn = count()

    async def put(
        self,
        stream: Stream,
        records: RecordColumns,
        *,
        hash_keys: Sequence[int | None] | None,
        depth: int = 0,
        token: PutToken | None = None,
    ) -> Outcomes:
        """Store the records of one caller, as ``put_each`` does. Raises also BlockDamaged, whichever shard is."""
        outcomes = await self.put_each(stream, records, hash_keys=hash_keys, depth=depth, token=token)
        for damage in outcomes.damage_by_place.values():
            raise damage
        return outcomes

    async def put_each(
        self,
        stream: Stream,
        records: RecordColumns,
        *,
        hash_keys: Sequence[int | None] | None,
        depth: int = 0,
        token: PutToken | None = None,
    ) -> Outcomes:
        """Store records, each in the shard that owns its hash key; an outcome for each, in order.

        ``hash_keys`` are the explicit ones, ``depth`` is how deep in a chain of invocations the caller is. Records of
        one call that go to one shard are stored together. Raises StoreFull and StoreFailed (records of earlier rounds
        of a raced reshard may be stored by then, unacknowledged), StreamNotFound, MasterKeyMissing.

        With a token they are stored once, however often they are put with it: later puts get the outcome of the first.
        Of the records for one shard the first ones are stored then, and all after one that is over a limit refused.
        Raises PutForgotten and PutMismatched.
        """
        outcomes = Outcomes.none_yet(len(records.data))
        pending: Sequence[int] = range(len(records.data))
        for _ in range(CLOSED_RETRY_COUNT_MAX):
            if token is not None:
                pending = await self._recall(stream, records, hash_keys, pending, token, outcomes)
            routes = self._route(stream, records, hash_keys, pending) if pending else {}
            pending = await self._put_once(stream, records, routes, outcomes, depth=depth, token=token)
            if not pending:
                return outcomes
            await self._resharder.finish(stream.name, is_forced=True)
            number = stream.number
            stream = await self._streams.load(stream.name)
            if stream.number != number:
                raise StreamNotFound(stream.name)
        raise ShardClosed

    def route(
        self, stream: Stream, keys: Sequence[bytes | None], hash_keys: Sequence[int | None] | None
    ) -> list[Shard]:
        """Tell which open shard each record would go to."""
        shards = stream.tree.open_shards
        if stream.distribution is Distribution.AUTO:
            return [shards[next(self._turn) % len(shards)] for _ in keys]
        if len(shards) == 1:
            return [shards[0]] * len(keys)
        if hash_keys is None:
            return stream.tree.route(digests(key or b"" for key in keys))
        return stream.tree.route(
            digests((key or b"",))[0] if explicit is None else digest_of_hash_key(explicit)
            for key, explicit in zip(keys, hash_keys, strict=True)
        )

    async def read(
        self,
        stream: Stream,
        shard: Shard,
        *,
        after: int,
        limit: int,
        byte_count_max: int = GET_RECORDS_BYTE_COUNT_MAX,
    ) -> ReadBatch:
        """Read up to ``limit`` records and ``byte_count_max`` bytes (or one larger record) after a position.

        Raises ShardMissing, BlockDamaged, MasterKeyMissing.
        """
        now_ms = self._clock.now_ms()
        run = await self._store.read(
            ShardKey(stream.number, shard.index),
            after=after,
            byte_count_max=byte_count_max,
            record_count_max=limit,
            horizon_ms=stream.horizon_ms(now_ms),
        )
        batch = ReadBatch(shard=shard, byte_count_max=byte_count_max)
        position = after
        for block in run.blocks:
            position = self._take(stream, batch, block, after=position, limit=limit)
        is_at_tip = position + 1 >= run.state.next_position or not run.blocks
        if is_at_tip:
            # Behind ``after`` itself when that lies ahead of all there is: it came from before a restore.
            position = run.state.next_position - 1
        else:
            batch.behind_ms = max(0, now_ms - batch.arrivals_ms[-1])
        batch.next_after = position
        if is_at_tip and not shard.is_open:
            batch.next_after = None
            batch.children = stream.tree.children_of(shard.index)
        return batch

    async def wait_for_more(self, stream: Stream, shard: Shard, *, after: int, timeout_s: float) -> None:
        """Wait until the shard holds something after a position, or ends, or the time is up."""
        await self._store.wait_past(ShardKey(stream.number, shard.index), after=after, timeout_s=timeout_s)

    async def tip(self, stream: Stream, shard: Shard) -> int:
        """Give the position after which everything is still to come. Raises ShardMissing."""
        state = await self._store.state(ShardKey(stream.number, shard.index))
        return state.next_position - 1

    async def knows(self, stream: Stream, shard: Shard, number: SequenceNumber) -> bool:
        """Tell whether a sequence number may be of a record of this shard, or of a place before or after one.

        One that was given after a backup, and lost with what came after it, may not: it lies ahead of all there is, or
        its position was given again to a record that arrived later. Raises ShardMissing.
        """
        key = ShardKey(stream.number, shard.index)
        try:
            run = await self._store.read(
                key, after=number.position - 1, byte_count_max=1, record_count_max=1, horizon_ms=0
            )
        except BlockDamaged:
            # Whoever reads on from there is told.
            return True
        # The number that a closed shard ends with is that of no record.
        if number.position > run.state.next_position - run.state.is_open:
            return False
        is_there = bool(run.blocks) and run.blocks[0].position <= number.position
        return number.is_gap or not is_there or run.blocks[0].header.arrival_ms // 1000 == number.arrival_s

    async def last_arrival_ms(self, stream: Stream, shard: Shard) -> int:
        """Tell when the last record arrived, 0 if none ever did. Raises ShardMissing."""
        return (await self._store.state(ShardKey(stream.number, shard.index))).last_arrival_ms

    async def before_time(self, stream: Stream, shard: Shard, *, time_ms: int) -> int:
        """Give the position after which everything arrived at this time or later. Raises ShardMissing."""
        return await self._store.position_at(ShardKey(stream.number, shard.index), time_ms=time_ms) - 1

    def _route(
        self, stream: Stream, records: RecordColumns, hash_keys: Sequence[int | None] | None, pending: Sequence[int]
    ) -> dict[Shard, Sequence[int]]:
        is_whole = len(pending) == len(records.data)
        keys = records.keys if is_whole else [records.keys[i] for i in pending]
        explicit = hash_keys if is_whole or hash_keys is None else [hash_keys[i] for i in pending]
        shards = self.route(stream, keys, explicit)
        if len(stream.tree.open_shards) == 1 or len(shards) == 1:
            return {shards[0]: pending}
        places: dict[int, list[int]] = {shard.index: [] for shard in stream.tree.open_shards}
        for place, shard in zip(pending, shards, strict=True):
            places[shard.index].append(place)
        by_index = stream.tree.shard_by_index
        return {by_index[index]: found for index, found in places.items() if found}

    async def _recall(
        self,
        stream: Stream,
        records: RecordColumns,
        hash_keys: Sequence[int | None] | None,
        pending: Sequence[int],
        token: PutToken,
        outcomes: Outcomes,
    ) -> Sequence[int]:
        """Note what an earlier put with the token decided in shards that a reshard has closed since; the other places.

        Shards that are open are asked by the append itself.
        """
        since_ms = self._puts_span.since_ms(now_ms=self._clock.now_ms(), ticks_ms=self._clock.ticks_ms()) or 0
        closed = [shard for shard in stream.tree if shard.closing and shard.closing.closed_ms >= since_ms]
        if not closed:
            return pending
        shard_by_key = {ShardKey(stream.number, shard.index): shard for shard in closed}
        for key, found in (await self._store.remembered(shard_by_key, token)).items():
            shard = shard_by_key[key]
            places = [place for place in pending if _hash_key(records, hash_keys, place) in shard.hash_range]
            stored = places[: found.record_count]
            self._note(shard, stored, Appended(found.first_position, found.arrival_ms), outcomes)
            # What was refused there stays refused: whoever heard of it may have put it again under another number.
            for place in places[found.record_count :]:
                outcomes.shard_ids[place] = shard.id
            decided = set(places)
            pending = [place for place in pending if place not in decided]
        return pending

    async def _put_once(
        self,
        stream: Stream,
        records: RecordColumns,
        routes: dict[Shard, Sequence[int]],
        outcomes: Outcomes,
        *,
        depth: int,
        token: PutToken | None,
    ) -> list[int]:
        """Append along these routes and note the outcomes; the places whose shard turned out to be closed."""
        data_key = self._keys.current(stream)
        batches: list[ShardBatch] = []
        routed: list[tuple[Shard, Sequence[int]]] = []
        for shard, places in routes.items():
            admitted = self._admit(stream, shard, records, places, outcomes, is_prefix=token is not None)
            if not admitted and token is None:
                continue
            columns = _picked(records, admitted)
            key = ShardKey(stream.number, shard.index)
            if token is None:
                batches.append(ShardBatch(key, columns, columns.byte_count, data_key, depth))
                routed.append((shard, admitted))
                continue
            # Also what is refused is remembered, so that its twin is not stored.
            asked = len(places), _picked(records, places).byte_count
            batches.append(ShardBatch(key, columns, columns.byte_count, data_key, depth, token, asked))
            routed.append((shard, places))
        closed: list[int] = []
        found = await self._store.append(batches) if batches else []
        for (shard, places), outcome in zip(routed, found, strict=True):
            match outcome:
                case Appended():
                    self._note(shard, places, outcome, outcomes)
                case Remembered():
                    stored = places[: outcome.record_count]
                    self._note(shard, stored, Appended(outcome.first_position, outcome.arrival_ms), outcomes)
                    for place in places[outcome.record_count :]:
                        outcomes.shard_ids[place] = shard.id
                case PutForgotten() | PutMismatched():
                    raise outcome
                case ShardClosed():
                    closed.extend(places)
                case ShardMissing():
                    raise StreamNotFound(stream.name)
                case BlockDamaged():
                    outcomes.damage_by_place.update(dict.fromkeys(places, outcome))
        return sorted(closed)

    def _admit(
        self,
        stream: Stream,
        shard: Shard,
        records: RecordColumns,
        places: Sequence[int],
        outcomes: Outcomes,
        *,
        is_prefix: bool,
    ) -> Sequence[int]:
        """Take the records from the shard's write limit, if limits are on; refuse those over it.

        For a prefix all after the first that is refused are refused too.
        """
        if not self._quotas.is_on:
            return places
        admitted: list[int] = []
        for at, place in enumerate(places):
            byte_count = len(records.data[place]) + len(records.keys[place] or b"")
            if is_prefix and len(admitted) < at:
                outcomes.shard_ids[place] = shard.id
            elif self._quotas.write(stream, shard, byte_count=byte_count):
                admitted.append(place)
            else:
                outcomes.shard_ids[place] = shard.id
        return admitted

    def _note(self, shard: Shard, places: Sequence[int], appended: Appended, outcomes: Outcomes) -> None:
        first = shard.sequence_number(appended.first_position, arrival_s=appended.arrival_ms // 1000)
        identity = shard.id
        shard_ids, numbers = outcomes.shard_ids, outcomes.sequence_numbers
        for place, number in zip(places, sequence_numbers(first, len(places)), strict=True):
            shard_ids[place] = identity
            numbers[place] = number

    def _take(self, stream: Stream, batch: ReadBatch, block: StoredBlock, *, after: int, limit: int) -> int:
        """Add a block's records after a position, within the bounds; the position of the last one added."""
        header = block.header
        body = sealed_body(block.content)
        if header.is_encrypted:
            key = self._keys.of_generation(stream, header.key_generation)
            body = key.open(body, shard_index=batch.shard.index, record_count=header.record_count)
        first = max(0, after + 1 - block.position)
        last = min(header.record_count, first + limit - len(batch.data))
        room = batch.byte_count_max - batch.byte_count
        for place, size in enumerate(sizes(body, record_count=header.record_count)[first:last], start=first):
            if size > room and (batch.data or place > first):
                last = place
                break
            room -= size
        if last <= first:
            return after
        columns = decode(body, record_count=header.record_count, first=first, last=last)
        number = batch.shard.sequence_number(block.position + first, arrival_s=header.arrival_ms // 1000)
        batch.sequence_numbers += sequence_numbers(number, last - first)
        batch.arrivals_ms += [header.arrival_ms] * (last - first)
        batch.keys += columns.keys
        batch.data += columns.data
        batch.is_encrypted += [header.is_encrypted] * (last - first)
        batch.depths += [header.depth] * (last - first)
        batch.byte_count = batch.byte_count_max - room
        return block.position + last - 1


def _hash_key(records: RecordColumns, hash_keys: Sequence[int | None] | None, place: int) -> int:
    explicit = hash_keys[place] if hash_keys is not None else None
    return explicit if explicit is not None else int.from_bytes(digests((records.keys[place] or b"",))[0], "big")


def _picked(records: RecordColumns, places: Sequence[int]) -> RecordColumns:
    """Give the records at these places."""
    if len(places) == len(records.data):
        return records
    return RecordColumns([records.keys[i] for i in places], [records.data[i] for i in places])
