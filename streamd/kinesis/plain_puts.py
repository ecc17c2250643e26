"""Plain puts: PutRecord of one small record, which is most of what producers send, answered many at a time.

A put is plain when its request names a stream, a partition key and data, all well formed and small. Everything else
(ARNs, hash keys, ordering numbers, dry runs, large records, whatever is wrong in any way) goes the general way, which
does the same and can also explain. The door collects the plain puts that arrive while it is busy and hands them in
together: one look at the stream, one routing, one append and one wake-up then serve them all.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from streamd.core.blocks import RecordColumns
from streamd.core.lineage import depth_of
from streamd.core.put_tokens import PRODUCER_HEADER, SEQUENCE_HEADER
from streamd.core.sigv4 import SignedRequest
from streamd.engine.engine import Engine
from streamd.errors import BlockDamaged
from streamd.kinesis.codecs import CBOR, JSON, Codec, codec_of
from streamd.kinesis.exchange import TARGET_PREFIX, Answer
from streamd.kinesis.faults import SerializationFailed
from streamd.kinesis.records import count_put, encryption_members, require_writable
from streamd.kinesis.validation import check_plain_record

__all__ = ["PLAIN_BYTE_COUNT_MAX", "PlainPut", "put_plainly", "read_plain_put"]

# A larger body gains little from company, and batches are bounded by how many of these one commit may hold.
PLAIN_BYTE_COUNT_MAX = 64 * 1024

_TARGET = TARGET_PREFIX + "PutRecord"


class PlainPut(NamedTuple):
    """One record on its way, the language of its answer, and when it was read (by ``time.perf_counter``)."""

    stream_name: str
    key: bytes
    data: bytes
    codec: Codec
    read_s: float


def read_plain_put(request: SignedRequest) -> PlainPut | None:
    """Read a request; None for one that is not a plain put, without saying why."""
    headers = request.headers
    if headers.get("x-amz-target") != _TARGET or len(request.body) > PLAIN_BYTE_COUNT_MAX:
        return None
    codec = codec_of(headers.get("content-type"))
    if codec is not JSON and codec is not CBOR:
        return None
    if "content-encoding" in headers or "x-streamd-wait-ms" in headers:
        # What the body means, or what is done with it, is another thing then.
        return None
    if PRODUCER_HEADER in headers or SEQUENCE_HEADER in headers:
        return None
    if depth_of(headers.get("x-amzn-trace-id")):
        # Its record goes into a block of its own.
        return None
    try:
        found = check_plain_record(codec.decode(request.body))
    except SerializationFailed:
        return None
    if found is None:
        return None
    stream_name, key, data = found
    return PlainPut(stream_name, key.encode(), data, codec, time.perf_counter())


async def put_plainly(engine: Engine, puts: Sequence[PlainPut]) -> "list[Answer | BlockDamaged]":
    """Store plain puts of one stream together: an answer for each, or the damage of its shard, in order.

    Raises StreamNotFound and what the engine's put raises: then none was acknowledged.
    """
    stream = await engine.streams.load(puts[0].stream_name)
    require_writable(stream, now_ms=engine.clock.now_ms())
    columns = RecordColumns([put.key for put in puts], [put.data for put in puts])
    outcomes = await engine.shards.put_each(stream, columns, hash_keys=None)
    count_put(engine, stream, columns, outcomes)
    rest = encryption_members(stream)
    answers: list[Answer | BlockDamaged] = [
        {"ShardId": shard_id, "SequenceNumber": number, **rest}
        for shard_id, number in zip(outcomes.shard_ids, outcomes.sequence_numbers, strict=True)
    ]
    for place, damage in outcomes.damage_by_place.items():
        answers[place] = damage
    return answers
