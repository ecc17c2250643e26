"""Tags: TagResource, UntagResource and ListTags, of functions and of event source mappings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from streamd.core.function import Function
from streamd.functions.calls import Answer, Call
from streamd.functions.faults import invalid, not_found
from streamd.functions.host import Host

__all__ = ["checked_tags", "list_tags", "tag_resource", "untag_resource"]

_TAG_COUNT_MAX = 50
_KEY_LENGTH_MAX = 128
_VALUE_LENGTH_MAX = 256
_MAPPING_ARN = re.compile(r"arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:\d{12}:event-source-mapping:([0-9a-f-]{36})")


async def tag_resource(host: Host, call: Call) -> Answer:
    """Set tags. Raises Fault."""
    given: Mapping[str, str] = call.members["Tags"]
    await _change(host, call.members["Resource"], lambda tags: checked_tags(given, tags))
    return Answer(status=204)


async def untag_resource(host: Host, call: Call) -> Answer:
    """Remove tags; those that are not there do not matter. Raises Fault."""
    names = set(call.members["TagKeys"])
    await _change(
        host,
        call.members["Resource"],
        lambda tags: {name: value for name, value in tags.items() if name not in names},
    )
    return Answer(status=204)


async def list_tags(host: Host, call: Call) -> Answer:
    """List the tags of a function or a mapping. Raises Fault."""
    arn = call.members["Resource"]
    if match := _MAPPING_ARN.fullmatch(arn):
        return Answer(document={"Tags": dict(host.mapping_tags.tags_of(match[1]))})
    return Answer(document={"Tags": dict(_function(host, arn).tags)})


def checked_tags(given: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """Give the tags with those that are to be set. Raises Fault."""
    for name, value in given.items():
        if not 0 < len(name) <= _KEY_LENGTH_MAX or name.startswith("aws:"):
            raise invalid(f"The tag key '{name[:_KEY_LENGTH_MAX]}' is not valid.")
        if len(value) > _VALUE_LENGTH_MAX:
            raise invalid(f"The value of tag '{name}' is longer than {_VALUE_LENGTH_MAX} characters.")
    tags = {**present, **given}
    if len(tags) > _TAG_COUNT_MAX:
        raise invalid(f"Number of tags exceeds resource tag limit of {_TAG_COUNT_MAX}.")
    return tags


async def _change(host: Host, arn: str, decide: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    if match := _MAPPING_ARN.fullmatch(arn):
        await host.mapping_tags.set_tags(match[1], decide(host.mapping_tags.tags_of(match[1])))
        return
    function = _function(host, arn)
    await host.change(function, lambda present: replace(present, tags=decide(present.tags)))


def _function(host: Host, arn: str) -> Function:
    function, name = host.named(arn)
    if not arn.startswith("arn:"):
        raise not_found(f"Function not found: {function.arn}")
    if name.qualifier is not None:
        raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
    return function
