"""What ``streamd consume`` says to programs and hears from them: a line of JSON for a batch, one for a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pybase64 import b64encode_as_string

from streamd.sdk.batch import Batch, Record

__all__ = ["Answer", "AnswerMalformed", "batch_line", "parse_answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A program's word that all up to a record of a shard need not come again."""

    shard_id: str
    sequence_number: str


class AnswerMalformed(ValueError):
    """A line that is no answer; the sentence says what is wrong."""


def batch_line(batch: Batch, records: Sequence[Record]) -> bytes:
    """Write a batch, or what is left of it, as one line."""
    document = {
        "shardId": batch.shard_id,
        "epoch": batch.epoch,
        "endsShard": batch.ends_shard,
        "records": [_row(record) for record in records],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def parse_answer(line: bytes) -> Answer:
    """Read a line. Raises AnswerMalformed."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise AnswerMalformed("it is no JSON") from None
    match document:
        case {"shardId": str(shard_id), "checkpoint": str(sequence_number)}:
            return Answer(shard_id, sequence_number)
        case _:
            raise AnswerMalformed('it is not like {"shardId": "…", "checkpoint": "…"}')


def _row(record: Record) -> dict[str, object]:
    row: dict[str, object] = {
        "data": b64encode_as_string(record.data),
        "partitionKey": record.key,
        "sequenceNumber": record.sequence_number,
        "approximateArrivalTimestamp": record.arrival_ms / 1000,
    }
    if record.sub_sequence_number is not None:
        row["subSequenceNumber"] = record.sub_sequence_number
    return row
