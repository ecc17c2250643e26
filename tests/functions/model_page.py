"""Writes ``streamd/functions/model.json``, what the newest service model of AWS's ``lambda`` says of requests.

Names, places, types and bounds only, so that the server needs no botocore: ``python -m tests.functions.model_page``
writes the page anew, and a test holds it against the model that is installed.
"""

from pathlib import Path
from typing import Any

import orjson
from botocore.loaders import Loader

__all__ = ["PAGE", "lines_of", "page_of_model"]

PAGE = Path(__file__).parents[2] / "streamd" / "functions" / "model.json"
_BOUNDS = ("min", "max")


def page_of_model() -> dict[str, Any]:
    """Tell the model's operations and the shapes that their requests are made of."""
    model = Loader().load_service_model("lambda", "service-2")
    shapes: dict[str, Any] = {}
    operations = {}
    for name, operation in sorted(model["operations"].items()):
        shape = operation["input"]["shape"]
        _add(shape, model["shapes"], shapes)
        operations[name] = {
            "method": operation["http"]["method"],
            "path": operation["http"]["requestUri"],
            "status": operation["http"]["responseCode"],
            "input": shape,
        }
        if payload := model["shapes"][shape].get("payload"):
            operations[name]["payload"] = payload
    return {"operations": operations, "shapes": dict(sorted(shapes.items()))}


def _add(name: str, model_shapes: dict[str, Any], shapes: dict[str, Any]) -> None:
    """Add a shape and those it is made of."""
    if name in shapes:
        return
    shape = model_shapes[name]
    found = shapes[name] = {"type": shape["type"]} | {bound: shape[bound] for bound in _BOUNDS if bound in shape}
    for key in ("pattern", "enum"):
        if key in shape:
            found[key] = shape[key]
    kind: str = shape["type"]
    match kind:
        case "structure":
            found["required"] = shape.get("required", [])
            found["members"] = {member: _member(told) for member, told in shape["members"].items()}
            for told in shape["members"].values():
                _add(told["shape"], model_shapes, shapes)
        case "list":
            found["member"] = shape["member"]["shape"]
            _add(shape["member"]["shape"], model_shapes, shapes)
        case "map":
            found |= {"key": shape["key"]["shape"], "value": shape["value"]["shape"]}
            for part in ("key", "value"):
                _add(shape[part]["shape"], model_shapes, shapes)
        case _:
            return


def _member(told: dict[str, Any]) -> dict[str, str]:
    """Tell a member: its shape, and where it is if not in the body."""
    return {key: told[key] for key in ("shape", "location", "locationName") if key in told}


def lines_of(page: dict[str, Any]) -> bytes:
    """Write the page with a line for each operation and shape, so that a change of the model reads as one."""
    parts = []
    for part in ("operations", "shapes"):
        entries = [b"%b: %b" % (orjson.dumps(name), orjson.dumps(told)) for name, told in page[part].items()]
        parts.append(b"%b: {\n%b\n}" % (orjson.dumps(part), b",\n".join(entries)))
    return b"{%b}\n" % b",\n".join(parts)


if __name__ == "__main__":
    PAGE.write_bytes(lines_of(page_of_model()))
