"""A DynamoDB stream as a source: at AWS, or at a server of one's own that has them.

A record is the stream's own, whole; what keeps its order is the item's primary key. A stream tells no times to begin
at, so LATEST is where the stream's tip is when a shard is first read.
"""

from typing import Any, Final

import orjson

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition
from streamd.engine.clock import Clock
from streamd.errors import OutsideRefused, OutsideUnreachable, SourceMissing
from streamd.functions.mappings.remote_cursor import Pace, RemoteCursor, RemotePage
from streamd.functions.mappings.sources import Lag, SourceShard, Start
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.endpoints import Endpoint

__all__ = ["DynamoDbStream"]

_PACE: Final = Pace(busy_s=0.25, idle_s=0.25)
_GET_RECORDS_COUNT_MAX: Final = 1_000
_PAGE_COUNT_MAX: Final = 1_000


class DynamoDbStream:
    """A stream of a table that an endpoint of the table of endpoints reaches."""

    def __init__(self, calls: ServiceCalls, clock: Clock, arn: str, endpoint: Endpoint, *, pace: Pace = _PACE) -> None:
        self.arn = arn
        # As the ARN has it, whatever the calls are signed for.
        self.region = arn.split(":")[3]
        self._calls = calls
        self._clock = clock
        self._endpoint = endpoint
        self._pace = pace
        # As many as there are shards that were opened: when the last record came, None where none was left.
        self._last_ms_by_shard: dict[str, int | None] = {}

    async def identity(self) -> str:
        """Give the moment at which the stream was made; its ARN has one of its own. Raises as ``shards``."""
        description = await self._describe(limit=1)
        return f"{description.get('StreamLabel', '')}/{description.get('CreationRequestDateTime', '')}"

    async def shards(self) -> list[SourceShard]:
        """List the shards. Raises SourceMissing and OutsideUnreachable."""
        found: list[SourceShard] = []
        last: str | None = None
        for _ in range(_PAGE_COUNT_MAX):
            description = await self._describe(after=last)
            found += map(_shard, description["Shards"])
            last = description.get("LastEvaluatedShardId")
            if not last:
                break
        return found

    async def pin(self, shard_id: str, start: Start) -> Start:
        """Give the start as it is: a stream has no place that LATEST could be turned into."""
        del shard_id
        return start

    async def open(self, shard_id: str, start: Start) -> RemoteCursor:
        """Open a shard; nothing is asked before the first read."""
        return RemoteCursor(self, shard_id=shard_id, start=start, pace=self._pace)

    async def lag(self, shard_id: str, start: Start) -> Lag:
        """Tell how old the last record was that was read, unless nothing came after it."""
        del start
        last_ms = self._last_ms_by_shard.get(shard_id)
        return Lag(None, 0 if last_ms is None else max(0, self._clock.now_ms() - last_ms))

    async def iterator(self, shard_id: str, start: Start) -> str:
        """Ask for an iterator. Raises OutsideRefused and OutsideUnreachable."""
        assert start.position is not StartingPosition.AT_TIMESTAMP, "refused when the mapping is made"
        members = {"StreamArn": self.arn, "ShardId": shard_id, "ShardIteratorType": str(start.position)}
        if start.after is not None:
            members |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": start.after}
        return str((await self._call("GetShardIterator", **members))["ShardIterator"])

    async def page(self, shard_id: str, iterator: str, *, record_count_max: int) -> RemotePage:
        """Read from an iterator on. Raises OutsideRefused and OutsideUnreachable."""
        limit = max(1, min(record_count_max, _GET_RECORDS_COUNT_MAX))
        document = await self._call("GetRecords", ShardIterator=iterator, Limit=limit)
        records = document["Records"]
        columns = SourceRecords(
            [record["dynamodb"]["SequenceNumber"] for record in records],
            [orjson.dumps(record["dynamodb"].get("Keys"), option=orjson.OPT_SORT_KEYS) for record in records],
            [orjson.dumps(record) for record in records],
            [self._arrival_ms(record) for record in records],
        )
        self._last_ms_by_shard[shard_id] = columns.arrivals_ms[-1] if records else None
        return RemotePage(columns, document.get("NextShardIterator"))

    def _arrival_ms(self, record: dict[str, Any]) -> int:
        # Some servers leave it out.
        made_s = record["dynamodb"].get("ApproximateCreationDateTime")
        return self._clock.now_ms() if made_s is None else round(made_s * 1000)

    async def _describe(self, *, after: str | None = None, limit: int = 100) -> dict[str, Any]:
        members: dict[str, Any] = {"StreamArn": self.arn, "Limit": limit}
        if after is not None:
            members["ExclusiveStartShardId"] = after
        try:
            description: dict[str, Any] = (await self._call("DescribeStream", **members))["StreamDescription"]
        except OutsideRefused as refused:
            if refused.code == "ResourceNotFoundException":
                raise SourceMissing(self.arn) from refused
            raise OutsideUnreachable(f"{self.arn} cannot be read: {refused}") from refused
        return description

    async def _call(self, operation: str, **members: Any) -> dict[str, Any]:
        return await self._calls.json(
            self._endpoint,
            service="dynamodb",
            target=f"DynamoDBStreams_20120810.{operation}",
            document=members,
            version="1.0",
        )


def _shard(document: dict[str, Any]) -> SourceShard:
    parent = document.get("ParentShardId")
    return SourceShard(
        shard_id=document["ShardId"],
        parent_ids=(parent,) if parent else (),
        is_open="EndingSequenceNumber" not in document.get("SequenceNumberRange", {}),
    )
