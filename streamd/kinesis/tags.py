"""Tags of streams and registered consumers: what AWS allows in them, and the six operations on them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any
from unicodedata import category

from streamd.core.limits import TAG_COUNT_MAX
from streamd.core.stream import Stream
from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.naming import invalid_argument, load_stream, stream_name_of
from streamd.kinesis.resources import Resource, change_resource, load_resource, require_changeable

__all__ = [
    "add_tags_to_stream",
    "checked_tags",
    "list_tags_for_resource",
    "list_tags_for_stream",
    "remove_tags_from_stream",
    "tag_resource",
    "untag_resource",
]

_SYMBOLS = frozenset("_./=+-%@:")
# Letters, numbers, and separators: a tab or a line's end is a control character and not among them.
_CATEGORIES = frozenset("LNZ")


async def add_tags_to_stream(engine: Engine, call: Call) -> Answer:
    """Add tags to a stream, or change their values. Raises Fault and the engine's errors."""
    name = stream_name_of(engine, call)

    def decide(stream: Stream) -> Stream:
        require_changeable(stream, now_ms=engine.clock.now_ms())
        tags = checked_tags(engine, call.members["Tags"], present=stream.tags, what=f"stream {name}")
        return replace(stream, tags=tags)

    await engine.streams.change(name, decide)
    return None


async def remove_tags_from_stream(engine: Engine, call: Call) -> Answer:
    """Remove tags from a stream; unknown keys are no fault. Raises Fault and the engine's errors."""
    name = stream_name_of(engine, call)

    def decide(stream: Stream) -> Stream:
        require_changeable(stream, now_ms=engine.clock.now_ms())
        tags = _remaining_tags(engine, call.members["TagKeys"], present=stream.tags, what=f"stream {name}")
        return replace(stream, tags=tags)

    await engine.streams.change(name, decide)
    return None


async def list_tags_for_stream(engine: Engine, call: Call) -> Answer:
    """List a page of a stream's tags, in order of key. Raises Fault and StreamNotFound."""
    stream = await load_stream(engine, call)
    after = call.get("ExclusiveStartTagKey") or ""
    limit = call.get("Limit") or TAG_COUNT_MAX
    found = [tag for tag in _tag_documents(stream.tags) if tag["Key"] > after]
    return {"Tags": found[:limit], "HasMoreTags": len(found) > limit}


async def tag_resource(engine: Engine, call: Call) -> Answer:
    """Add tags to a stream or a consumer, or change their values. Raises Fault and the engine's errors."""
    arn = call.members["ResourceARN"]

    def decide(resource: Resource) -> Resource:
        tags = checked_tags(engine, call.members["Tags"], present=resource.tags, what=f"resource {arn}")
        return replace(resource, tags=tags)

    await change_resource(engine, arn, decide)
    return None


async def untag_resource(engine: Engine, call: Call) -> Answer:
    """Remove tags from a stream or a consumer. Raises Fault and the engine's errors."""
    arn = call.members["ResourceARN"]

    def decide(resource: Resource) -> Resource:
        tags = _remaining_tags(engine, call.members["TagKeys"], present=resource.tags, what=f"resource {arn}")
        return replace(resource, tags=tags)

    await change_resource(engine, arn, decide)
    return None


async def list_tags_for_resource(engine: Engine, call: Call) -> Answer:
    """List all tags of a stream or a consumer, in order of key. Raises Fault and StreamNotFound."""
    resource = await load_resource(engine, call.members["ResourceARN"])
    return {"Tags": _tag_documents(resource.tags)}


def checked_tags(engine: Engine, tags: Mapping[str, str], *, present: Mapping[str, str], what: str) -> dict[str, str]:
    """Give the present tags with these added. ``what`` is "stream NAME" or "resource ARN". Raises Fault."""
    _require_characters(engine, chain(tags, tags.values()), failed=f"add tags to {what}")
    _require_no_system_key(tags)
    merged = {**present, **tags}
    if len(merged) > TAG_COUNT_MAX:
        kind = what.partition(" ")[0]
        raise invalid_argument(
            f"Failed to add tags to {what} under account {engine.account_id} "
            f"because a given {kind} cannot have more than {TAG_COUNT_MAX} tags associated with it."
        )
    return merged


def _remaining_tags(engine: Engine, keys: Iterable[str], *, present: Mapping[str, str], what: str) -> dict[str, str]:
    removed = set(keys)
    _require_characters(engine, removed, failed=f"remove tags from {what}")
    _require_no_system_key(removed)
    return {key: value for key, value in present.items() if key not in removed}


def _require_characters(engine: Engine, texts: Iterable[str], *, failed: str) -> None:
    characters = set().union(*texts)
    if any(c not in _SYMBOLS and category(c)[0] not in _CATEGORIES for c in characters):
        raise invalid_argument(
            "Some tags contain invalid characters. Valid characters: "
            "Unicode letters, digits, white space, _ . / = + - % @ :."
        )
    if "%" in characters:
        # AWS's front end lets it pass and a second check behind refuses it, in words of its own.
        raise invalid_argument(
            f"Failed to {failed} under account {engine.account_id} because some tags contained illegal "
            "characters. The allowed characters are Unicode letters, white-spaces, "
            "'_',',','/','=','+','-','@',':'."
        )


def _require_no_system_key(keys: Iterable[str]) -> None:
    if any(key.lower().startswith("aws:") for key in keys):
        raise invalid_argument("Some tag keys in the request started with 'aws:'. System tags cannot be modified.")


def _tag_documents(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
