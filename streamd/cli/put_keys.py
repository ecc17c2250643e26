"""How ``streamd put`` chooses partition keys: one for all, one out of each JSON document, or by chance."""

import secrets
from collections.abc import Callable
from typing import Final

import orjson

from streamd.cli.put_lines import Line
from streamd.core.limits import PARTITION_KEY_LENGTH_MAX
from streamd.errors import StreamdError

__all__ = ["KeyOf", "LineRefused", "constant_key", "field_key", "random_key"]

_RANDOM_BYTE_COUNT: Final = 8


class LineRefused(StreamdError):
    """A line cannot become a record, and the lines after it can."""

    def __init__(self, line: Line, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.line}: {self.reason}"


# Gives a line's partition key, or raises LineRefused.
KeyOf = Callable[[Line], str]


def constant_key(key: str) -> KeyOf:
    """Give every record the same key, which keeps them in one order."""
    return lambda _line: key


def random_key(_line: Line) -> str:
    """Give a record a key of its own, which spreads records evenly over the shards."""
    return secrets.token_hex(_RANDOM_BYTE_COUNT)


def field_key(path: str) -> KeyOf:
    """Take each record's key out of its JSON, at a path like ``user.id`` or ``tags.0``."""
    steps = path.split(".")

    def key_of(line: Line) -> str:
        try:
            value: object = orjson.loads(line.data)
        except orjson.JSONDecodeError as error:
            raise LineRefused(line, f"it is no JSON, so it has no field {path}") from error
        for step in steps:
            value = _member(value, step)
        match value:
            case str():
                key = value
            case bool() | int() | float():
                key = orjson.dumps(value).decode()
            case _:
                raise LineRefused(line, f"its field {path} is missing or no text or number")
        if not 1 <= len(key) <= PARTITION_KEY_LENGTH_MAX:
            raise LineRefused(
                line, f"its field {path} has {len(key)} characters: a key has 1 to {PARTITION_KEY_LENGTH_MAX}"
            )
        return key

    return key_of


def _member(value: object, step: str) -> object:
    """Go one step into a document; None when there is nothing."""
    match value:
        case dict():
            return value.get(step)
        case list() if step.isascii() and step.isdigit() and int(step) < len(value):
            return value[int(step)]
        case _:
            return None
