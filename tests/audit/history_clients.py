"""Makes histories: some clients that ask one stream of a real daemon everything at once, each over its own connection.

What each of them asks is decided by its own chances, and by what any of them has learned so far: shards, sequence
numbers, iterators old and new, and arrival times are shared, so that reads meet each other's puts and reshards. In the
midst one of them may end a worker: calls in hand are not answered then, and their clients connect again. In the end,
when all is quiet, one more record is put to each open shard, and every shard and every iterator that was given is read
to its end, so that nothing remains unknown.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import orjson

from tests.audit.history import Event

__all__ = ["Unanswered", "make_history"]

_TIMEOUT_S = 60
_RING = 1 << 128
_OPEN_COUNT_MAX = 5
_SCALING_COUNT_MAX = 6
_HELD_MS = 20
_KIND_COUNT = 7
_RETENTION_HOURS = (24, 25, 30, 48)
# The one who makes the stream, and who reads everything in the end.
_WARDEN = 0


class Unanswered(Exception):
    """The daemon hangs, or is gone."""


class _Connection:
    """One connection, on which one call follows another; every call is noted in the history.

    When it breaks over a call, it is made again, and the call is noted as one that was not answered.
    """

    def __init__(self, port: int, client: int, events: list[Event]) -> None:
        self._port = port
        self._client = client
        self._events = events

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def renew(self) -> None:
        """Connect again. Raises Unanswered."""
        await self._close()
        await self._open()

    async def ask(self, operation: str, *, wait_ms: int = 0, **members: Any) -> dict[str, Any] | None:
        """Call an operation; None if it was refused or not answered. Raises Unanswered when nobody is there."""
        body = orjson.dumps(members)
        head = (
            "POST / HTTP/1.1\r\nHost: streamd\r\nContent-Type: application/x-amz-json-1.1\r\n"
            f"X-Amz-Target: Kinesis_20131202.{operation}\r\nContent-Length: {len(body)}\r\n"
            f"x-streamd-wait-ms: {wait_ms}\r\n\r\n"
        )
        called_ns = time.monotonic_ns()
        self._writer.write(head.encode() + body)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status, content = await self._answer()
        except TimeoutError as error:
            self._note(called_ns, None, operation, members)
            raise Unanswered(f"{operation} was not answered within {_TIMEOUT_S} s") from error
        except (OSError, EOFError):
            self._note(called_ns, None, operation, members)
            await self.renew()
            return None
        returned_ns = time.monotonic_ns()
        document: dict[str, Any] = orjson.loads(content) if content else {}
        if status == 200:
            self._note(called_ns, returned_ns, operation, members, answer=document)
            return document
        self._note(called_ns, returned_ns, operation, members, refusal=str(document.get("__type")))
        return None

    async def _open(self) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            raise Unanswered(f"no connection: {error!r}") from error

    async def _close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            # Reset by a worker that died, as its calls tell.
            await self._writer.wait_closed()

    def _note(
        self, called_ns: int, returned_ns: int | None, operation: str, request: dict[str, Any], **outcome: Any
    ) -> None:
        self._events.append(
            Event(
                client=self._client,
                called_ns=called_ns,
                returned_ns=returned_ns,
                operation=operation,
                request=request,
                **outcome,
            )
        )

    async def _answer(self) -> tuple[int, bytes]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines if line)}
        return int(first.split()[1]), await self._reader.readexactly(int(headers["content-length"]))


@dataclass(slots=True)
class _Knowledge:
    """What any client has learned: ranges of hash keys by shard, those open when last looked, and the rest."""

    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    open_ids: list[str] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    shard_by_token: dict[str, str] = field(default_factory=dict)
    read_tokens: set[str] = field(default_factory=set)
    arrivals: list[tuple[str, float]] = field(default_factory=list)
    record_count: int = 0
    scaling_count: int = 0

    def learn_shards(self, documents: list[dict[str, Any]]) -> None:
        """Take what a listing says."""
        for document in documents:
            edges = document["HashKeyRange"]
            self.ranges[document["ShardId"]] = int(edges["StartingHashKey"]), int(edges["EndingHashKey"])
        self.open_ids = [
            document["ShardId"]
            for document in sorted(documents, key=lambda document: int(document["HashKeyRange"]["StartingHashKey"]))
            if "EndingSequenceNumber" not in document["SequenceNumberRange"]
        ]

    def learn_token(self, token: str, shard_id: str) -> None:
        """Take an iterator that was given for a shard."""
        self.tokens.append(token)
        self.shard_by_token[token] = shard_id

    def learn_read(self, token: str, answer: dict[str, Any]) -> None:
        """Take what a read says."""
        self.read_tokens.add(token)
        shard_id = self.shard_by_token[token]
        for row in answer["Records"]:
            self.numbers.append((shard_id, row["SequenceNumber"]))
            self.arrivals.append((shard_id, row["ApproximateArrivalTimestamp"]))
        for child in answer.get("ChildShards", []):
            edges = child["HashKeyRange"]
            self.ranges[child["ShardId"]] = int(edges["StartingHashKey"]), int(edges["EndingHashKey"])
        if (following := answer.get("NextShardIterator")) is not None:
            self.learn_token(following, shard_id)


class _Client:
    """Asks one thing after another."""

    def __init__(self, connection: _Connection, stream: str, random: Random, known: _Knowledge) -> None:
        self._connection = connection
        self._stream = stream
        self._random = random
        self._known = known

    async def begin(self) -> bool:
        """Learn what shards there are, and whether there are any."""
        await self._list()
        return bool(self._known.ranges)

    async def run(self, operation_count: int, favours: Sequence[int]) -> None:
        """Ask so many things, each chosen when the one before was answered."""
        doings: dict[Callable[[], Awaitable[None]], int] = {
            self._put: 24,
            self._put_many: 14,
            self._take_iterator: 18,
            self._read: 26,
            self._look: 7,
            self._reshard: 9,
            self._retain: 2,
        }
        weights = [weight * favour for weight, favour in zip(doings.values(), favours, strict=True)]
        for do in self._random.choices(list(doings), weights, k=operation_count):
            await do()

    async def run_over(self, kill: Callable[[], None], operation_count: int, favours: Sequence[int]) -> None:
        """Ask so many things, and kill when half of them are done."""
        await self.run(operation_count // 2, favours)
        kill()
        await self.run(operation_count - operation_count // 2, favours)

    async def end(self) -> None:
        """Put a last record to each open shard, then read all shards and all iterators to the end."""
        await self._list()
        for shard_id in self._known.open_ids:
            await self._ask("PutRecord", **self._record(self._known.ranges[shard_id][0]))
        # A put may have finished a reshard whose worker was killed over it.
        await self._list()
        for shard_id in list(self._known.ranges):
            await self._ask_iterator(shard_id, "TRIM_HORIZON")
        for token in [token for token in self._known.tokens if token not in self._known.read_tokens]:
            # All is quiet: what was put is read at once, and nothing is behind the iterator that follows.
            await self._read_from(token)
        await self._list()

    async def _put(self) -> None:
        answer = await self._ask("PutRecord", **self._record(self._hash_key()))
        if answer is not None:
            self._known.numbers.append((answer["ShardId"], answer["SequenceNumber"]))

    async def _put_many(self) -> None:
        records = [self._record(self._hash_key()) for _ in range(self._random.randrange(2, 7))]
        answer = await self._ask("PutRecords", Records=records)
        if answer is not None:
            self._known.numbers += [(row["ShardId"], row["SequenceNumber"]) for row in answer["Records"]]

    async def _take_iterator(self) -> None:
        random, known = self._random, self._known
        kind = random.choice(["TRIM_HORIZON", "LATEST", "LATEST", "AT_TIMESTAMP", "AT", "AFTER"])
        if kind in {"AT", "AFTER"} and known.numbers:
            shard_id, number = random.choice(known.numbers[-10:])
            await self._ask_iterator(shard_id, f"{kind}_SEQUENCE_NUMBER", StartingSequenceNumber=number)
        elif kind == "AT_TIMESTAMP" and known.arrivals:
            shard_id, arrival_s = random.choice(known.arrivals[-10:])
            await self._ask_iterator(shard_id, kind, Timestamp=arrival_s)
        elif random.random() < 0.1:
            # A shard that is perhaps being made now, and perhaps not.
            await self._ask_iterator(f"shardId-{len(known.ranges):012d}", "LATEST")
        else:
            kind = "LATEST" if kind == "LATEST" else "TRIM_HORIZON"
            await self._ask_iterator(random.choice(list(known.ranges)), kind)

    async def _read(self) -> None:
        tokens = self._known.tokens
        if not tokens:
            await self._take_iterator()
            return
        token = self._random.choice(tokens[-8:] if self._random.random() < 0.8 else tokens)
        wait_ms = _HELD_MS if self._random.random() < 0.2 else 0
        await self._read_from(token, wait_ms=wait_ms, Limit=self._random.choice([1, 2, 3, 5, 100]))

    async def _look(self) -> None:
        match self._random.randrange(4):
            case 0:
                await self._list()
            case 1:
                await self._ask("ListShards", ShardFilter={"Type": "AT_LATEST"})
            case 2:
                await self._ask("DescribeStreamSummary")
            case _:
                answer = await self._ask("DescribeStream")
                if answer is not None:
                    self._known.learn_shards(answer["StreamDescription"]["Shards"])

    async def _reshard(self) -> None:
        random, known = self._random, self._known
        open_ids = known.open_ids
        count = len(open_ids)
        if random.random() < 0.3 and known.scaling_count < _SCALING_COUNT_MAX:
            known.scaling_count += 1
            target = min(random.randrange(max(1, count // 2), 2 * count + 2), _OPEN_COUNT_MAX)
            await self._ask("UpdateShardCount", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
        elif count >= _OPEN_COUNT_MAX or (count > 1 and random.random() < 0.5):
            low = random.randrange(count - 1)
            await self._ask("MergeShards", ShardToMerge=open_ids[low], AdjacentShardToMerge=open_ids[low + 1])
        else:
            # Now and then one that is closed already.
            shard_id = random.choice(open_ids if random.random() < 0.8 else list(known.ranges))
            start, end = known.ranges[shard_id]
            middle = random.choice([(start + end) // 2, random.randrange(start, end)])
            await self._ask("SplitShard", ShardToSplit=shard_id, NewStartingHashKey=str(middle))
        await self._list()

    async def _retain(self) -> None:
        direction = self._random.choice(["Increase", "Decrease"])
        hours = self._random.choice(_RETENTION_HOURS)
        await self._ask(f"{direction}StreamRetentionPeriod", RetentionPeriodHours=hours)

    async def _list(self) -> None:
        answer = await self._ask("ListShards")
        if answer is not None:
            self._known.learn_shards(answer["Shards"])

    async def _ask_iterator(self, shard_id: str, kind: str, **members: Any) -> None:
        answer = await self._ask("GetShardIterator", ShardId=shard_id, ShardIteratorType=kind, **members)
        if answer is not None:
            self._known.learn_token(answer["ShardIterator"], shard_id)

    async def _read_from(self, token: str, *, wait_ms: int = 0, **members: Any) -> None:
        answer = await self._connection.ask("GetRecords", wait_ms=wait_ms, ShardIterator=token, **members)
        if answer is not None:
            self._known.learn_read(token, answer)

    async def _ask(self, operation: str, **members: Any) -> dict[str, Any] | None:
        return await self._connection.ask(operation, StreamName=self._stream, **members)

    def _hash_key(self) -> int | None:
        """Choose a hash key, often at the edge of a shard; None leaves it to the partition key."""
        if self._random.random() < 0.3:
            return None
        start, end = self._random.choice(list(self._known.ranges.values()))
        return self._random.choice([start, end, self._random.randrange(_RING)])

    def _record(self, hash_key: int | None) -> dict[str, Any]:
        self._known.record_count += 1
        data = b64encode(b"%d" % self._known.record_count).decode()
        record = {"Data": data, "PartitionKey": f"k{self._random.randrange(9)}"}
        return record if hash_key is None else record | {"ExplicitHashKey": str(hash_key)}


async def make_history(
    port: int, stream: str, random: Random, events: list[Event], *, kill: Callable[[], None] | None = None
) -> None:
    """Make a stream, have some clients at it, read it to its end and delete it; what they saw are the events.

    ``kill`` is called in the midst. Raises a group of Unanswered.
    """
    known = _Knowledge()
    operation_count = random.randrange(30, 61)
    chances = [Random(random.random()) for _ in range(1 + random.randrange(4, 9))]
    # What one history does often another does seldom: rare things meet where both are favoured.
    favours = random.choices([1, 2, 8], k=_KIND_COUNT)
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(_Connection(port, number, events)) for number in range(len(chances))
        ]
        warden, *clients = (
            _Client(connection, stream, own, known) for connection, own in zip(connections, chances, strict=True)
        )
        await connections[_WARDEN].ask("CreateStream", StreamName=stream, ShardCount=random.randrange(1, 4))
        # Where the stream is not there although it was made, that is the whole history.
        if await warden.begin():
            count = operation_count // len(clients)
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    if kill is not None and client is clients[0]:
                        group.create_task(client.run_over(kill, count, favours))
                    else:
                        group.create_task(client.run(count, favours))
            # Whoever it was connected to may have been ended while it waited.
            await connections[_WARDEN].renew()
            await warden.end()
        await connections[_WARDEN].ask("DeleteStream", StreamName=stream)
