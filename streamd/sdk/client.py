"""A Kinesis client: one coroutine for each thing a program does with a stream.

``call`` reaches every operation of the API; the rest spare their callers the paging, waiting and member names
of the operations used most. Documents are the API's own. Works against streamd and against AWS; two things
are streamd's extensions and harmless elsewhere: ``wait_ms`` of ``get_records``, and needing no credentials.

    async with KinesisClient("http://127.0.0.1:4567") as client:
        await client.create_stream("orders", shard_count=2)
        await client.wait_until_active("orders")
        await client.put_records("orders", [{"Data": b"one", "PartitionKey": "a"}])

Every coroutine may raise ServiceRefused and ServiceUnreachable.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Self

from streamd.sdk.credentials import Credentials, credentials_of_process
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable, WaitTimedOut
from streamd.sdk.transport import JsonObject, Transport

__all__ = [
    "Credentials",
    "IteratorType",
    "JsonObject",
    "KinesisClient",
    "ServiceRefused",
    "ServiceUnreachable",
    "WaitTimedOut",
]

IteratorType = Literal["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "AT_TIMESTAMP", "LATEST", "TRIM_HORIZON"]

WAIT_TIMEOUT_S: Final = 300.0
# The state of a stream is asked for at this pace at most: AWS allows 20 summaries a second to a whole
# account.
POLL_PAUSE_S_MIN: Final = 0.02
POLL_PAUSE_S_MAX: Final = 1.0


class KinesisClient:
    """Calls one endpoint; use it inside ``async with``, and share it between tasks."""

    def __init__(
        self,
        endpoint: str,
        *,
        region: str = "us-east-1",
        credentials: Credentials | None = None,
        connection_count_max: int = 64,
    ) -> None:
        """Take an address like ``http://127.0.0.1:4567``; credentials not given come from the environment."""
        self._transport = Transport(
            endpoint,
            region=region,
            credentials=credentials or credentials_of_process(),
            connection_count_max=connection_count_max,
        )

    @property
    def endpoint(self) -> str:
        """The address every call goes to."""
        return self._transport.endpoint

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def call(self, operation: str, document: JsonObject | None = None) -> JsonObject:
        """Call any operation by its name in the API, like ``"DescribeLimits"``."""
        return await self._transport.call(operation, document or {})

    async def create_stream(
        self,
        stream: str,
        *,
        shard_count: int | None = None,
        on_demand: bool = False,
        tags: Mapping[str, str] | None = None,
        record_kib_max: int | None = None,
    ) -> None:
        """Ask for a stream; it can be used once ``wait_until_active`` returned."""
        document: JsonObject = {"StreamName": stream}
        if shard_count is not None:
            document["ShardCount"] = shard_count
        if on_demand:
            document["StreamModeDetails"] = {"StreamMode": "ON_DEMAND"}
        if tags:
            document["Tags"] = dict(tags)
        if record_kib_max is not None:
            document["MaxRecordSizeInKiB"] = record_kib_max
        await self.call("CreateStream", document)

    async def delete_stream(self, stream: str, *, enforce_consumer_deletion: bool = False) -> None:
        """Ask for a stream's end; ``wait_until_gone`` returns when its name is free again."""
        document: JsonObject = {"StreamName": stream}
        if enforce_consumer_deletion:
            document["EnforceConsumerDeletion"] = True
        await self.call("DeleteStream", document)

    async def describe_stream_summary(self, stream: str) -> JsonObject:
        """Give the stream's StreamDescriptionSummary."""
        answer = await self.call("DescribeStreamSummary", {"StreamName": stream})
        summary: JsonObject = answer["StreamDescriptionSummary"]
        return summary

    async def list_shards(self, stream: str, *, shard_filter: JsonObject | None = None) -> list[JsonObject]:
        """List a stream's shards, all pages of them."""
        document: JsonObject = {"StreamName": stream}
        if shard_filter is not None:
            document["ShardFilter"] = shard_filter
        shards: list[JsonObject] = []
        while True:
            answer = await self.call("ListShards", document)
            shards += answer["Shards"]
            if not answer.get("NextToken"):
                return shards
            document = {"NextToken": answer["NextToken"]}

    async def list_streams(self) -> list[JsonObject]:
        """List every stream's StreamSummary, all pages of them, in the order of their names."""
        document: JsonObject = {}
        summaries: list[JsonObject] = []
        while True:
            answer = await self.call("ListStreams", document)
            # Older servers answer with names alone.
            page = answer.get("StreamSummaries") or [{"StreamName": name} for name in answer["StreamNames"]]
            summaries += page
            if not answer.get("HasMoreStreams") or not page:
                return summaries
            document = {"ExclusiveStartStreamName": page[-1]["StreamName"]}

    async def put_records(self, stream: str, entries: Sequence[JsonObject]) -> JsonObject:
        """Put up to 500 entries (``Data`` as bytes, ``PartitionKey``) and give the answer.

        An answer can hold failures: ``FailedRecordCount`` says how many, and each entry of ``Records`` has
        either a ``SequenceNumber`` or an ``ErrorCode``.
        """
        return await self.call("PutRecords", {"StreamName": stream, "Records": list(entries)})

    async def get_shard_iterator(
        self,
        stream: str,
        shard_id: str,
        iterator_type: IteratorType = "TRIM_HORIZON",
        *,
        sequence_number: str | None = None,
        timestamp_ms: int | None = None,
    ) -> str:
        """Give an iterator at a place in a shard; it expires after 5 minutes."""
        document: JsonObject = {
            "StreamName": stream,
            "ShardId": shard_id,
            "ShardIteratorType": iterator_type,
        }
        if sequence_number is not None:
            document["StartingSequenceNumber"] = sequence_number
        if timestamp_ms is not None:
            document["Timestamp"] = timestamp_ms / 1000
        answer = await self.call("GetShardIterator", document)
        return str(answer["ShardIterator"])

    async def get_records(self, iterator: str, *, limit: int | None = None, wait_ms: int = 0) -> JsonObject:
        """Read from an iterator: ``Records``, each with its ``Data`` as bytes, and ``NextShardIterator``.

        With ``wait_ms`` a streamd holds an empty answer until a record arrives or that much time has passed;
        AWS answers at once.
        """
        document: JsonObject = {"ShardIterator": iterator}
        if limit is not None:
            document["Limit"] = limit
        return await self._transport.call("GetRecords", document, wait_ms=wait_ms)

    async def split_shard(self, stream: str, shard_id: str, *, hash_key: int) -> None:
        """Split a shard: the second child starts at the hash key."""
        document = {"StreamName": stream, "ShardToSplit": shard_id, "NewStartingHashKey": str(hash_key)}
        await self.call("SplitShard", document)

    async def merge_shards(self, stream: str, shard_id: str, *, adjacent_shard_id: str) -> None:
        """Merge two shards whose ranges of hash keys touch."""
        document = {
            "StreamName": stream,
            "ShardToMerge": shard_id,
            "AdjacentShardToMerge": adjacent_shard_id,
        }
        await self.call("MergeShards", document)

    async def update_shard_count(self, stream: str, shard_count: int) -> JsonObject:
        """Scale a stream to a count of shards of equal width, and give the answer."""
        document = {
            "StreamName": stream,
            "TargetShardCount": shard_count,
            "ScalingType": "UNIFORM_SCALING",
        }
        return await self.call("UpdateShardCount", document)

    async def increase_retention(self, stream: str, *, hours: int) -> None:
        """Keep records for longer."""
        document = {"StreamName": stream, "RetentionPeriodHours": hours}
        await self.call("IncreaseStreamRetentionPeriod", document)

    async def decrease_retention(self, stream: str, *, hours: int) -> None:
        """Keep records for less long: those older than that are gone at once."""
        document = {"StreamName": stream, "RetentionPeriodHours": hours}
        await self.call("DecreaseStreamRetentionPeriod", document)

    async def wait_until_active(self, stream: str, *, timeout_s: float = WAIT_TIMEOUT_S) -> JsonObject:
        """Wait until a stream is ACTIVE and give its summary. Raises WaitTimedOut."""
        deadline_s = time.monotonic() + timeout_s
        pause_s = POLL_PAUSE_S_MIN
        while True:
            summary = await self.describe_stream_summary(stream)
            if summary["StreamStatus"] == "ACTIVE":
                return summary
            if time.monotonic() + pause_s > deadline_s:
                raise WaitTimedOut(stream, awaited="ACTIVE", found=summary["StreamStatus"], timeout_s=timeout_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, POLL_PAUSE_S_MAX)

    async def wait_until_gone(self, stream: str, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Wait until a stream no longer exists. Raises WaitTimedOut."""
        deadline_s = time.monotonic() + timeout_s
        pause_s = POLL_PAUSE_S_MIN
        while True:
            try:
                summary = await self.describe_stream_summary(stream)
            except ServiceRefused as refused:
                if refused.code == "ResourceNotFoundException":
                    return
                raise
            if time.monotonic() + pause_s > deadline_s:
                raise WaitTimedOut(stream, awaited="gone", found=summary["StreamStatus"], timeout_s=timeout_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, POLL_PAUSE_S_MAX)
