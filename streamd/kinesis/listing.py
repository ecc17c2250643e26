"""ListShards: pages of a stream's shards, filtered.

A page's token carries the stream's number and the filter, so the pages of one listing are cut from the same list even
when the stream is deleted and made again between them: then the token names nothing and is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from streamd.core.shard_tree import Shard
from streamd.core.stream import Status, Stream
from streamd.core.tokens import PageToken
from streamd.engine.engine import Engine
from streamd.errors import StreamNotFound
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.naming import invalid_argument, load_stream
from streamd.kinesis.resources import require_created_at
from streamd.kinesis.streams import shard_document

__all__ = ["list_shards"]

_PAGE_COUNT_MAX = 1000
_OPERATION = "ListShards"
_AT_TIME = ("AT_TIMESTAMP", "FROM_TIMESTAMP")
_NOT_WITH_TOKEN = ("StreamName", "StreamARN", "ExclusiveStartShardId", "ShardFilter", "StreamCreationTimestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What is listed: which shards of which stream, and after which one."""

    stream_number: int
    stream_name: str
    kind: str
    time_ms: int
    after: str

    @property
    def scope(self) -> str:
        """All but the place, as the token keeps it."""
        return f"{_OPERATION}/{self.stream_number}/{self.kind}/{self.time_ms}/{self.stream_name}"

    @classmethod
    def of_token(cls, place: PageToken) -> Self:
        """Read what a token keeps."""
        _, number, kind, time_ms, name = place.scope.split("/", 4)
        return cls(stream_number=int(number), stream_name=name, kind=kind, time_ms=int(time_ms), after=place.after)

    def shards(self, stream: Stream, *, now_ms: int) -> list[Shard]:
        """List what is still to be listed, in order of id."""
        return [shard for shard in self._filtered(stream, now_ms=now_ms) if shard.id > self.after]

    def _filtered(self, stream: Stream, *, now_ms: int) -> Iterator[Shard]:
        horizon_ms = _horizon_ms(stream, now_ms=now_ms)
        time_ms = max(self.time_ms, horizon_ms)
        for shard in stream.visible_shards(now_ms):
            match self.kind:
                case "AT_LATEST":
                    is_listed = shard.is_open
                case "AT_TRIM_HORIZON":
                    is_listed = _was_open(shard, horizon_ms)
                case "AT_TIMESTAMP":
                    is_listed = _was_open(shard, time_ms)
                case "FROM_TIMESTAMP":
                    is_listed = shard.closing is None or shard.closing.closed_ms >= time_ms
                case _:
                    is_listed = True
            if is_listed:
                yield shard


async def list_shards(engine: Engine, call: Call) -> Answer:
    """List a page of a stream's shards. Raises Fault, StreamNotFound and the token's errors."""
    now_ms = engine.clock.now_ms()
    token = call.get("NextToken")
    if token is not None:
        listing = _listing_of_token(engine, call, token)
        stream = await engine.streams.load(listing.stream_name)
        if stream.number != listing.stream_number:
            raise StreamNotFound(listing.stream_name)
    else:
        if call.get("StreamName") is None and call.get("StreamARN") is None:
            raise invalid_argument("Either NextToken or StreamName should be provided.")
        stream = await load_stream(engine, call)
        require_created_at(engine, stream, call.get("StreamCreationTimestamp"))
        listing = _new_listing(call, stream, now_ms=now_ms)
    limit = min(call.get("MaxResults") or _PAGE_COUNT_MAX, _PAGE_COUNT_MAX)
    is_creating = stream.status(now_ms) is Status.CREATING
    found = [] if is_creating else listing.shards(stream, now_ms=now_ms)
    page = found[:limit]
    answer: dict[str, Any] = {"Shards": [shard_document(shard) for shard in page]}
    if len(found) > limit:
        rest = PageToken(scope=listing.scope, after=page[-1].id, created_ms=now_ms)
        answer["NextToken"] = engine.tokens.page(rest)
    return answer


def _listing_of_token(engine: Engine, call: Call, token: str) -> _Listing:
    for member in _NOT_WITH_TOKEN:
        if call.get(member) is not None:
            raise invalid_argument(f"NextToken and {member} cannot be provided together.")
    place = engine.tokens.read_page(token, scope=f"{_OPERATION}/", now_ms=engine.clock.now_ms())
    return _Listing.of_token(place)


def _new_listing(call: Call, stream: Stream, *, now_ms: int) -> _Listing:
    shard_filter = call.get("ShardFilter") or {}
    kind = shard_filter.get("Type", "FROM_TRIM_HORIZON")
    after, time_ms = shard_filter.get("ShardId"), shard_filter.get("Timestamp")
    if shard_filter and call.get("ExclusiveStartShardId") is not None:
        raise invalid_argument("ShardFilter and ExclusiveStartShardId cannot be provided together.")
    if kind == "AFTER_SHARD_ID" and after is None:
        raise invalid_argument("ShardId must be supplied in a ShardFilter with a Type of AFTER_SHARD_ID")
    if kind != "AFTER_SHARD_ID" and after is not None:
        raise invalid_argument(f"ShardId must not be supplied in a ShardFilter with a Type of {kind}")
    if kind in _AT_TIME and time_ms is None:
        raise invalid_argument(
            "Timestamp must be supplied in a ShardFilter with a Type of FROM_TIMESTAMP or AT_TIMESTAMP"
        )
    if kind not in _AT_TIME and time_ms is not None:
        raise invalid_argument(f"Timestamp must not be supplied in a ShardFilter with a Type of {kind}")
    if time_ms is not None:
        _require_time(kind, time_ms, stream, now_ms=now_ms)
    return _Listing(
        stream_number=stream.number,
        stream_name=stream.name,
        kind=kind,
        time_ms=time_ms or 0,
        after=after or call.get("ExclusiveStartShardId") or "",
    )


def _require_time(kind: str, time_ms: int, stream: Stream, *, now_ms: int) -> None:
    if time_ms > now_ms:
        raise invalid_argument("ShardFilter Timestamp must not be greater than current time.")
    # From an older time means from the horizon; at an older time nothing is known any more. Whole seconds, because
    # those are what answers tell of a stream's creation.
    if kind == "AT_TIMESTAMP" and time_ms // 1000 < _horizon_ms(stream, now_ms=now_ms) // 1000:
        raise invalid_argument("ShardFilter Timestamp cannot be older than TRIM_HORIZON of the stream.")


def _horizon_ms(stream: Stream, *, now_ms: int) -> int:
    return max(stream.horizon_ms(now_ms), stream.created_ms)


def _was_open(shard: Shard, time_ms: int) -> bool:
    return shard.created_ms <= time_ms and (shard.closing is None or shard.closing.closed_ms >= time_ms)
