"""Plain puts: PutRecord of one small record, which is most of what producers send, answered many at a time.

A put is plain when its request names a stream, a partition key and data, all well formed and small. Everything else
(ARNs, hash keys, ordering numbers, dry runs, large records, whatever is wrong in any way) goes the general way, which
does the same and can also explain. The door collects the plain puts that arrive while it is busy and hands them in
together: one look at the stream, one routing, one append and one wake-up then serve them all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streamd.core.blocks import RecordColumns
from streamd.core.sigv4 import SignedRequest
from streamd.engine.engine import Engine
from streamd.engine.shards import Outcomes
from streamd.kinesis.codecs import CBOR, JSON, Codec
from streamd.kinesis.exchange import Answer
from streamd.kinesis.faults import SerializationFailed
from streamd.kinesis.records import count_put, encryption_members, require_writable
from streamd.kinesis.validation import check_plain_record

__all__ = ["PLAIN_BYTE_COUNT_MAX", "PlainPut", "put_plainly", "read_plain_put"]

# A batch holds one put for each connection, so a bound on each also bounds the batch's commit.
PLAIN_BYTE_COUNT_MAX = 64 * 1024

_TARGET = "Kinesis_20131202.PutRecord"
_CODEC_BY_CONTENT_TYPE = {codec.content_type: codec for codec in (JSON, CBOR)}


class PlainPut(NamedTuple):
    """One record on its way, and the language of its answer."""

    stream_name: str
    key: bytes
    data: bytes
    codec: Codec


def read_plain_put(request: SignedRequest) -> PlainPut | None:
    """Read a request; None for one that is not a plain put, without saying why."""
    headers = request.headers
    codec = _CODEC_BY_CONTENT_TYPE.get(headers.get("content-type", ""))
    if codec is None or headers.get("x-amz-target") != _TARGET or len(request.body) > PLAIN_BYTE_COUNT_MAX:
        return None
    if "content-encoding" in headers or "x-streamd-wait-ms" in headers:
        # What the body means, or what is done with it, is another thing then.
        return None
    try:
        found = check_plain_record(codec.decode(request.body))
    except SerializationFailed:
        return None
    return None if found is None else PlainPut(found[0], found[1].encode(), found[2], codec)


async def put_plainly(engine: Engine, puts: Sequence[PlainPut]) -> list[Answer]:
    """Store plain puts of one stream together: an answer for each, in order.

    Raises StreamNotFound and what the engine's put raises: then none was acknowledged.
    """
    stream = await engine.streams.load(puts[0].stream_name)
    require_writable(stream, now_ms=engine.clock.now_ms())
    columns = RecordColumns([put.key for put in puts], [put.data for put in puts])
    outcomes: Outcomes = await engine.shards.put(stream, columns, hash_keys=None)
    count_put(engine, stream, columns, outcomes)
    rest = encryption_members(stream)
    return [
        {"ShardId": shard_id, "SequenceNumber": number, **rest}
        for shard_id, number in zip(outcomes.shard_ids, outcomes.sequence_numbers, strict=True)
    ]
