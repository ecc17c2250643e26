"""What a program does with streams and shards: makes, finds, changes, tags and ends them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from streamd.sdk.answers import JsonObject
from streamd.sdk.calls import Calls
from streamd.sdk.failures import NotFound, WaitTimedOut

__all__ = ["WAIT_TIMEOUT_S", "StreamCalls"]

WAIT_TIMEOUT_S: Final = 300.0
# The state of a stream is asked for at this pace at most: AWS allows 20 summaries a second to a whole
# account.
POLL_PAUSE_S_MIN: Final = 0.02
POLL_PAUSE_S_MAX: Final = 1.0


class StreamCalls(Calls):
    """The operations on streams."""

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

    async def describe_stream(self, stream: str) -> JsonObject:
        """Give the stream's StreamDescription with all its shards, all pages of them."""
        document: JsonObject = {"StreamName": stream}
        shards: list[JsonObject] = []
        while True:
            answer = await self.call("DescribeStream", document)
            description: JsonObject = answer["StreamDescription"]
            shards += description["Shards"]
            if not description.get("HasMoreShards"):
                return description | {"Shards": shards}
            document = {"StreamName": stream, "ExclusiveStartShardId": shards[-1]["ShardId"]}

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

    async def add_tags(self, stream: str, tags: Mapping[str, str]) -> None:
        """Give a stream tags, up to 10 in one call; a tag that it has gets the new value."""
        await self.call("AddTagsToStream", {"StreamName": stream, "Tags": dict(tags)})

    async def remove_tags(self, stream: str, keys: Sequence[str]) -> None:
        """Take tags from a stream; those it does not have are no error."""
        await self.call("RemoveTagsFromStream", {"StreamName": stream, "TagKeys": list(keys)})

    async def list_tags(self, stream: str) -> dict[str, str]:
        """Give a stream's tags, all pages of them."""
        document: JsonObject = {"StreamName": stream}
        tags: dict[str, str] = {}
        while True:
            answer = await self.call("ListTagsForStream", document)
            page = {tag["Key"]: tag.get("Value", "") for tag in answer["Tags"]}
            tags |= page
            if not answer.get("HasMoreTags") or not page:
                return tags
            document = {"StreamName": stream, "ExclusiveStartTagKey": answer["Tags"][-1]["Key"]}

    async def describe_limits(self) -> JsonObject:
        """Give the account's bounds and what it uses of them."""
        return await self.call("DescribeLimits")

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
            except NotFound:
                return
            if time.monotonic() + pause_s > deadline_s:
                raise WaitTimedOut(stream, awaited="gone", found=summary["StreamStatus"], timeout_s=timeout_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, POLL_PAUSE_S_MAX)
