"""Holds what a server answers against botocore's model of the service, before botocore parses it and lets things pass.

Parsers leave out members that they do not know, and take any word where the model lists some; typed SDKs do not always.
"""

from collections.abc import Iterator
from typing import Any

import orjson
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

__all__ = ["watch_answers"]

# A moment is a number in an answer of this protocol.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
}
# AWS itself says this of an update under way, though its model has no such word there.
_BEYOND_THE_MODEL = (".LastUpdateStatusReasonCode", "Creating")


def watch_answers(client: Any) -> list[str]:
    """Watch a boto3 client; a list that tells of each place where an answer is not as the model has it."""
    found: list[str] = []

    def watch(operation_model: OperationModel, response_dict: dict[str, Any], **_: Any) -> None:
        shape = operation_model.output_shape
        is_document = (
            shape is not None and not operation_model.has_event_stream_output and "payload" not in (shape.serialization)
        )
        if response_dict["status_code"] >= 300 or not is_document or not response_dict["body"]:
            return
        found.extend(_differences(shape, orjson.loads(response_dict["body"]), operation_model.name))

    client.meta.events.register("before-parse.lambda", watch)
    return found


def _differences(shape: Shape, value: Any, place: str) -> Iterator[str]:
    match shape:
        case StructureShape():
            yield from _in_structure(shape, value, place)
        case ListShape():
            for number, each in enumerate(value):
                yield from _differences(shape.member, each, f"{place}[{number}]")
        case MapShape():
            for key, each in value.items():
                yield from _differences(shape.value, each, f"{place}.{key}")
        case _:
            words = shape.metadata.get("enum")
            if type(value) not in _TYPES[shape.type_name]:
                yield f"{place} is {value!r}, and should be a {shape.type_name}"
            elif words and value not in words and not _is_beyond_the_model(place, value):
                yield f"{place} is {value!r}, which is none of {words}"


def _is_beyond_the_model(place: str, value: str) -> bool:
    end, word = _BEYOND_THE_MODEL
    return place.endswith(end) and value == word


def _in_structure(shape: StructureShape, value: Any, place: str) -> Iterator[str]:
    member_by_name = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    for name, each in value.items():
        if name not in member_by_name:
            yield f"{place}.{name} is no member of {shape.name}"
        elif each is not None:
            yield from _differences(member_by_name[name], each, f"{place}.{name}")
    yield from (f"{place}.{name} is missing" for name in shape.required_members if name not in value)
