"""What a program does with records: puts and gets them."""

from collections.abc import Sequence
from typing import Literal

from streamd.sdk.answers import JsonObject
from streamd.sdk.calls import Calls

__all__ = ["IteratorType", "RecordCalls"]

IteratorType = Literal["AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "AT_TIMESTAMP", "LATEST", "TRIM_HORIZON"]


class RecordCalls(Calls):
    """The operations on records."""

    async def put_record(self, stream: str, data: bytes, key: str, *, hash_key: int | None = None) -> JsonObject:
        """Put one record and give the answer: its ``ShardId`` and ``SequenceNumber``.

        ``hash_key`` (0 to 2^128 - 1) chooses the shard instead of the key. For many records use a Producer.
        """
        document: JsonObject = {"StreamName": stream, "Data": data, "PartitionKey": key}
        if hash_key is not None:
            document["ExplicitHashKey"] = str(hash_key)
        return await self.call("PutRecord", document)

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
