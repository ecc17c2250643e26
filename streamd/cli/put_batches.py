"""Puts records in batches as large as PutRecords allows, and puts again those that failed alone.

One batch is on its way at a time, so records of one key keep their order, except past a failed one: as with
every Kinesis producer, a record that is put again comes after those of its batch that went through.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from typing import Final, Protocol

from streamd.cli.put_lines import Line
from streamd.core.limits import PUT_RECORDS_BYTE_COUNT_MAX, PUT_RECORDS_COUNT_MAX
from streamd.sdk.client import KinesisClient

__all__ = ["Batcher", "Counts", "Draft", "Failed", "Sender", "Stored"]

ATTEMPT_COUNT_MAX: Final = 10
PAUSE_MS_BASE: Final = 100
PAUSE_MS_MAX: Final = 5000


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that is still to be stored."""

    line: Line
    key: str

    @property
    def byte_count(self) -> int:
        """What the record counts against every limit: its data and its key."""
        return len(self.line.data) + len(self.key.encode())


@dataclass(frozen=True, slots=True)
class Stored:
    """A record's place in the stream."""

    draft: Draft
    shard_id: str
    sequence_number: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a record was not stored in the end."""

    draft: Draft
    code: str
    sentence: str


@dataclass(slots=True)
class Counts:
    """What was put so far."""

    record_count: int = 0
    byte_count: int = 0
    failed_count: int = 0
    call_count: int = 0


class Sender(Protocol):
    """Takes records and sends them; what became of them goes into its counts."""

    @property
    def counts(self) -> Counts:
        """What was put so far."""
        ...

    async def add(self, draft: Draft) -> None:
        """Take a record."""
        ...

    async def flush(self) -> None:
        """Send what was taken."""
        ...


class Batcher:
    """Collects records for one stream; ``tell`` hears what became of each, in order."""

    def __init__(
        self, client: KinesisClient, stream: str, counts: Counts, *, tell: Callable[[list[Stored | Failed]], None]
    ) -> None:
        self.counts = counts
        self._client = client
        self._stream = stream
        self._tell = tell
        self._drafts: list[Draft] = []
        self._byte_count = 0

    async def add(self, draft: Draft) -> None:
        """Take a record, first sending the batch that it does not fit. Raises what the client raises."""
        is_full = len(self._drafts) == PUT_RECORDS_COUNT_MAX
        if is_full or self._byte_count + draft.byte_count > PUT_RECORDS_BYTE_COUNT_MAX:
            await self.flush()
        self._drafts.append(draft)
        self._byte_count += draft.byte_count

    async def flush(self) -> None:
        """Send what was collected. Raises what the client raises."""
        if not self._drafts:
            return
        drafts, self._drafts, self._byte_count = self._drafts, [], 0
        outcomes = await self._put(drafts)
        stored = [outcome.draft for outcome in outcomes if isinstance(outcome, Stored)]
        self.counts.record_count += len(stored)
        self.counts.byte_count += sum(draft.byte_count for draft in stored)
        self.counts.failed_count += len(outcomes) - len(stored)
        self._tell(outcomes)

    async def _put(self, drafts: list[Draft]) -> list[Stored | Failed]:
        outcome_by_place: dict[int, Stored | Failed] = {}
        places = list(range(len(drafts)))
        for attempt in range(ATTEMPT_COUNT_MAX):
            if attempt > 0:
                pause_ms = min(PAUSE_MS_MAX, PAUSE_MS_BASE * 2**attempt)
                await asyncio.sleep(uniform(0, pause_ms) / 1000)  # noqa: S311 - jitter guards no secret
            outcomes = await self._put_once([drafts[place] for place in places])
            outcome_by_place.update(zip(places, outcomes, strict=True))
            places = [place for place in places if isinstance(outcome_by_place[place], Failed)]
            if not places:
                break
        return [outcome_by_place[place] for place in range(len(drafts))]

    async def _put_once(self, drafts: list[Draft]) -> list[Stored | Failed]:
        entries = [{"Data": draft.line.data, "PartitionKey": draft.key} for draft in drafts]
        answer = await self._client.put_records(self._stream, entries)
        self.counts.call_count += 1
        return [
            Failed(draft, result["ErrorCode"], result.get("ErrorMessage") or "")
            if result.get("ErrorCode")
            else Stored(draft, result["ShardId"], result["SequenceNumber"])
            for draft, result in zip(drafts, answer["Records"], strict=True)
        ]
