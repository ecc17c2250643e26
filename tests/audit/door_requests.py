"""What can be asked of a daemon: each operation and path once, as tables of the code's own and botocore's models say.

A request is filled with the least that its operation needs. What is new in those tables is asked as well.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import botocore.session
import orjson
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.serialize import create_serializer

import streamd
from streamd.functions.journal.logs_dialect import LogsDialect
from streamd.kinesis.groups import GROUP_HANDLER_BY_OPERATION, GROUP_TARGET_PREFIX
from streamd.kinesis.operations import HANDLER_BY_OPERATION, LATER_OPERATIONS
from tests.server.connections import JSON

__all__ = ["NAME", "Asked", "every_request", "own_paths"]

NAME = "guarded"
"""What every stream, function, group and the like is called."""

_LOGS_TARGET_PREFIX = "Logs_20140328."
_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it would be sent, but for its signature."""

    name: str
    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class OwnPath:
    """A path of the server's own; an open one asks for no signature."""

    name: str
    method: str
    path: str
    is_open: bool


@cache
def every_request() -> tuple[Asked, ...]:
    """Give a request of each operation, and of each path that asks for a signature."""
    kinesis = [_of_model("kinesis", name) for name in sorted(HANDLER_BY_OPERATION.keys() | LATER_OPERATIONS)]
    functions = [_of_model("lambda", name) for name in sorted(_model("lambda").operation_names)]
    groups = [
        _posted("kinesis", f"{GROUP_TARGET_PREFIX}{name}", {"StreamName": NAME, "GroupName": NAME})
        for name in sorted(GROUP_HANDLER_BY_OPERATION)
    ]
    logs = [
        _posted("logs", f"{_LOGS_TARGET_PREFIX}{name}", {"logGroupName": f"/aws/lambda/{NAME}"})
        for name in sorted(_log_operations())
    ]
    paths = [Asked(each.name, "lambda", each.method, each.path, {}, b"") for each in own_paths() if not each.is_open]
    return (*kinesis, *functions, *groups, *logs, *paths)


@cache
def own_paths() -> tuple[OwnPath, ...]:
    """Find every ``Route`` that the code makes, by reading the code: no list of them is kept elsewhere."""
    package = Path(streamd.__file__).parent
    found = tuple(route for path in sorted(package.rglob("*.py")) for route in _routes_of(path))
    assert len(found) >= 9, "routes are made in another way, which this does not find"
    return found


def _routes_of(path: Path) -> Iterator[OwnPath]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Route"):
            continue
        name, method, place = (ast.literal_eval(argument) for argument in node.args[:3])
        flags = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        filled = re.sub(r"\{(\w+)\}", lambda part: _UUID if part[1] == "uuid" else NAME, place)
        yield OwnPath(name, method, filled, flags.get("is_open", False))


def _log_operations() -> list[str]:
    nothing = cast("Any", None)
    return list(LogsDialect(nothing, nothing, names=list)._operations)


def _posted(service: str, target: str, document: dict[str, str]) -> Asked:
    return Asked(target, service, "POST", "/", {"x-amz-target": target, "content-type": JSON}, orjson.dumps(document))


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _of_model(service: str, name: str) -> Asked:
    model: OperationModel = _model(service).operation_model(name)
    parameters = {} if model.input_shape is None else _least(model.input_shape)
    if service == "kinesis" and model.input_shape is not None and "StreamName" in model.input_shape.members:
        parameters["StreamName"] = NAME
    made = create_serializer(model.service_model.metadata["protocol"], include_validation=False).serialize_to_request(
        parameters, model
    )
    query, body = made["query_string"], made["body"]
    return Asked(
        name,
        service,
        made["method"],
        made["url_path"] + (f"?{urlencode(query, doseq=True)}" if query else ""),
        {key.lower(): str(value) for key, value in made["headers"].items()},
        body if isinstance(body, bytes) else str(body or "").encode(),
    )


def _least(shape: Shape, name: str = "") -> Any:
    """Make up a value: the members that must be there, each as small as its shape allows."""
    match shape.type_name:
        case "structure":
            return {member: _least(shape.members[member], member) for member in shape.required_members}
        case "list":
            return [_least(shape.member)] * max(1, shape.metadata.get("min", 0))
        case "map":
            return {}
        case "blob":
            return b"{}"
        case "boolean":
            return True
        case "integer" | "long" | "double" | "float":
            return shape.metadata.get("min", 1)
        case "timestamp":
            return 1
        case _:
            return _text(shape, name)


def _text(shape: Shape, name: str) -> str:
    if shape.metadata.get("enum"):
        return str(shape.metadata["enum"][0])
    if name.endswith(("ARN", "Arn")):
        return f"arn:aws:kinesis:us-east-1:000000000000:stream/{NAME}"
    return "0" if "HashKey" in name else NAME
