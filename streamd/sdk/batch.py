"""What a consumer gives its caller: batches of records of one shard.

Records that the Kinesis Producer Library packed into one come out as the ones that were put, with their place in it as
``sub_sequence_number``. A batch never ends inside such a record, so a place is always a sequence number alone.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from streamd.core.aggregation import deaggregate
from streamd.core.lease import Place
from streamd.sdk.answers import JsonObject
from streamd.sdk.uncollected import uncollected

__all__ = ["Batch", "Record", "records_of"]

# What a record costs in memory beside its data: four objects' heads, its key, number and time.
RECORD_OVERHEAD_BYTE_COUNT: Final = 300
_ARRIVAL: Final = "ApproximateArrivalTimestamp"
_COLUMNS: Final = itemgetter("Data", "PartitionKey", "SequenceNumber", _ARRIVAL)
_AGGREGATE_MAGIC: Final = b"\xf3\x89\x9a\xc2"


class Record(NamedTuple):
    """A record as its producer put it. ``arrival_ms`` is when the service took it, in milliseconds since 1970.

    ``key`` is None where the producer gave none, as it may in a stream that places records by itself.
    """

    data: bytes
    key: str | None
    sequence_number: str
    arrival_ms: int
    sub_sequence_number: int | None = None


class Batch:
    """Records of one shard, in order.

    ``epoch`` is the lease's under which they were read: it grows with every change of owner. ``place`` is the place
    after the last record, as a program stores it that keeps its places itself. ``lag_ms`` is how far the last record
    lay behind the shard's newest when it was read. ``ends_shard`` tells that the shard was split or merged and nothing
    follows: such a batch alone may be empty, and only when checkpoints are the caller's.
    """

    __slots__ = ("_commit", "byte_count", "ends_shard", "epoch", "lag_ms", "number", "place", "records", "shard_id")

    def __init__(
        self,
        records: Sequence[Record],
        *,
        shard_id: str,
        epoch: int,
        place: Place,
        lag_ms: int,
        ends_shard: bool,
        byte_count: int,
        number: int,
        commit: "Callable[[Batch, str | None], Awaitable[None]]",
    ) -> None:
        self.records = records
        self.shard_id = shard_id
        self.epoch = epoch
        self.place = place
        self.lag_ms = lag_ms
        self.ends_shard = ends_shard
        self.byte_count = byte_count
        self.number = number
        self._commit = commit

    async def checkpoint(self, *, through: str | None = None) -> None:
        """Store that all up to the end of this batch need not be read again; returns once that is durable.

        With ``through``, the sequence number of a record in it, all up to that record; the batch is not done by that.
        What fails for a while is tried again until it is known. Raises LeaseLost when the shard is another member's
        by now: then nothing was stored, and the records come again elsewhere. Raises GroupNotFound.
        """
        await self._commit(self, through)


def records_of(rows: Sequence[JsonObject], *, deaggregates: bool = True) -> tuple[list[Record], int]:
    """Make records of those in an answer; they, and about how many bytes of memory they take."""
    # Hundreds of thousands of these are made a second: this is half as long as calling the class for each.
    make = tuple.__new__
    ms_of = {second: round(second * 1000) for second in {row[_ARRIVAL] for row in rows}}
    with uncollected():
        records = [
            make(Record, (data, key, number, ms_of[second], None)) for data, key, number, second in _columns_of(rows)
        ]
    if deaggregates and _AGGREGATE_MAGIC in {record[0][:4] for record in records}:
        records = [part for record in records for part in _parts_of(record)]
    return records, sum([len(record[0]) for record in records]) + RECORD_OVERHEAD_BYTE_COUNT * len(records)


def _columns_of(rows: Sequence[JsonObject]) -> Iterable[tuple[bytes, str | None, str, float]]:
    try:
        return list(map(_COLUMNS, rows))
    except KeyError:
        # A stream that places records by itself may have some without a key.
        return [(row["Data"], row.get("PartitionKey"), row["SequenceNumber"], row[_ARRIVAL]) for row in rows]


def _parts_of(record: Record) -> list[Record]:
    parts = deaggregate(record.data)
    if parts is None:
        return [record]
    number, arrival_ms = record.sequence_number, record.arrival_ms
    return [Record(part.data, part.key, number, arrival_ms, place) for place, part in enumerate(parts)]
