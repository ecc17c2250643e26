"""A Kinesis stream elsewhere as a source: at AWS, at another streamd, at whatever speaks its API.

Five reads a second are all that a shard gives to everybody, so an idle one is read once a second. A consumer's ARN is
read as its stream.
"""

from typing import Any, Final

import pybase64

from streamd.core.mapping_records import SourceRecords
from streamd.core.mapping_settings import StartingPosition
from streamd.errors import OutsideRefused, OutsideUnreachable, SourceMissing
from streamd.functions.mappings.remote_cursor import Pace, RemoteCursor, RemotePage
from streamd.functions.mappings.sources import Lag, SourceShard, Start
from streamd.functions.targets.calls import ServiceAnswer, ServiceCalls
from streamd.functions.targets.endpoints import Endpoint

__all__ = ["RemoteKinesis"]

_PACE: Final = Pace(busy_s=0.2, idle_s=1.0)
_GET_RECORDS_COUNT_MAX: Final = 10_000
_PAGE_COUNT_MAX: Final = 1_000


class RemoteKinesis:
    """A stream that an endpoint of the table reaches."""

    def __init__(
        self, calls: ServiceCalls, arn: str, endpoint: Endpoint, *, stream_name: str, pace: Pace = _PACE
    ) -> None:
        self.arn = arn
        # As the ARN has it, whatever the calls are signed for.
        self.region = arn.split(":")[3]
        self._calls = calls
        self._endpoint = endpoint
        self._stream_name = stream_name
        self._pace = pace
        # As many as there are shards that were opened.
        self._behind_ms_by_shard: dict[str, int] = {}

    async def identity(self) -> str:
        """Give the second at which the stream was made, and its id where it has one. Raises as ``shards``."""
        document = await self._known("DescribeStreamSummary", StreamName=self._stream_name)
        summary = document["StreamDescriptionSummary"]
        if summary.get("StreamStatus") == "DELETING":
            raise SourceMissing(self.arn)
        return f"{summary['StreamCreationTimestamp']}/{summary.get('StreamId', '')}"

    async def shards(self) -> list[SourceShard]:
        """List the shards. Raises SourceMissing and OutsideUnreachable."""
        found: list[SourceShard] = []
        members: dict[str, Any] = {"StreamName": self._stream_name}
        for _ in range(_PAGE_COUNT_MAX):
            document = await self._known("ListShards", **members)
            found += map(_shard, document["Shards"])
            if not document.get("NextToken"):
                break
            members = {"NextToken": document["NextToken"]}
        return found

    async def pin(self, shard_id: str, start: Start) -> Start:
        """Turn LATEST into this moment by the stream's own clock. Raises SourceMissing and OutsideUnreachable."""
        if start.after is not None or start.position is not StartingPosition.LATEST:
            return start
        members = {"StreamName": self._stream_name, "ShardId": shard_id, "ShardIteratorType": "LATEST"}
        answer = await self._known_timed("GetShardIterator", **members)
        return Start(StartingPosition.AT_TIMESTAMP, answer.time_ms)

    async def open(self, shard_id: str, start: Start) -> RemoteCursor:
        """Open a shard; nothing is asked before the first read."""
        return RemoteCursor(self, shard_id=shard_id, start=start, pace=self._pace)

    async def lag(self, shard_id: str, start: Start) -> Lag:
        """Tell what the stream said of the shard last; it tells no counts, and of no place but where was read."""
        del start
        return Lag(None, self._behind_ms_by_shard.get(shard_id, 0))

    async def iterator(self, shard_id: str, start: Start) -> str:
        """Ask for an iterator. Raises OutsideRefused and OutsideUnreachable."""
        members: dict[str, Any] = {"StreamName": self._stream_name, "ShardId": shard_id}
        if start.after is not None:
            members |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": start.after}
        elif start.position is StartingPosition.AT_TIMESTAMP:
            members |= {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": (start.time_ms or 0) / 1000}
        else:
            members["ShardIteratorType"] = str(start.position)
        return str((await self._call("GetShardIterator", **members)).document["ShardIterator"])

    async def page(self, shard_id: str, iterator: str, *, record_count_max: int) -> RemotePage:
        """Read from an iterator on. Raises OutsideRefused and OutsideUnreachable."""
        limit = max(1, min(record_count_max, _GET_RECORDS_COUNT_MAX))
        document = (await self._call("GetRecords", ShardIterator=iterator, Limit=limit)).document
        self._behind_ms_by_shard[shard_id] = int(document.get("MillisBehindLatest") or 0)
        records = document["Records"]
        columns = SourceRecords(
            [record["SequenceNumber"] for record in records],
            [record.get("PartitionKey", "").encode() for record in records],
            [pybase64.b64decode(record["Data"]) for record in records],
            [round(record["ApproximateArrivalTimestamp"] * 1000) for record in records],
        )
        return RemotePage(columns, document.get("NextShardIterator"))

    async def _known(self, operation: str, **members: Any) -> dict[str, Any]:
        return (await self._known_timed(operation, **members)).document

    async def _known_timed(self, operation: str, **members: Any) -> ServiceAnswer:
        """Call an operation that a refusal stops for good, or for now. Raises SourceMissing and OutsideUnreachable."""
        try:
            return await self._call(operation, **members)
        except OutsideRefused as refused:
            if refused.code == "ResourceNotFoundException":
                raise SourceMissing(self.arn) from refused
            raise OutsideUnreachable(f"{self.arn} cannot be read: {refused}") from refused

    async def _call(self, operation: str, **members: Any) -> ServiceAnswer:
        return await self._calls.timed(
            self._endpoint, service="kinesis", target=f"Kinesis_20131202.{operation}", document=members
        )


def _shard(document: dict[str, Any]) -> SourceShard:
    parents = (document.get("ParentShardId"), document.get("AdjacentParentShardId"))
    return SourceShard(
        shard_id=document["ShardId"],
        parent_ids=tuple(parent for parent in parents if parent),
        is_open="EndingSequenceNumber" not in document["SequenceNumberRange"],
    )
