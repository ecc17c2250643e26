"""Members of pushed documents: each is of its type, or the document is malformed and the sentence names the member."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from streamd.errors import EventMalformed

__all__ = ["iso_ms", "list_of", "moment", "number_of", "table_of", "text_of"]

# More is no count of bytes or seconds, and could not be written as JSON again.
_NUMBER_MAX = 2**63 - 1


def text_of(document: Mapping[str, Any], name: str, *, what: str, default: str | None = None) -> str:
    """Give a text; the default for one that is absent, null or empty. Raises EventMalformed."""
    value = document.get(name)
    if value is None or value == "":
        if default is None:
            raise EventMalformed(f"{what} has no {name}")
        return default
    if not isinstance(value, str):
        raise EventMalformed(f"{name} of {what} must be a text")
    return value


def table_of(document: Mapping[str, Any], name: str, *, what: str, is_required: bool = False) -> Mapping[str, Any]:
    """Give an object; an empty one for one that is absent or null. Raises EventMalformed."""
    value = document.get(name)
    if value is None and not is_required:
        return {}
    if not isinstance(value, dict):
        raise EventMalformed(f"{name} of {what} must be an object")
    return value


def list_of(document: Mapping[str, Any], name: str, *, what: str) -> list[Any]:
    """Give a list that is not empty. Raises EventMalformed."""
    value = document.get(name)
    if not isinstance(value, list) or not value:
        raise EventMalformed(f"{name} of {what} must be a list that is not empty")
    return value


def number_of(document: Mapping[str, Any], name: str, *, what: str) -> int | None:
    """Give a whole number from 0, also one written as a text of digits; None without one. Raises EventMalformed."""
    value = document.get(name)
    if value is None:
        return None
    # Whoever writes protocol buffers as JSON writes 64 bits as a text.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _NUMBER_MAX:
        raise EventMalformed(f"{name} of {what} must be a whole number")
    return value


def moment(text: str, *, what: str) -> str:
    """Write a moment as AWS does: in UTC, with milliseconds. Raises EventMalformed."""
    try:
        read = datetime.fromisoformat(text)
        at = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise EventMalformed(f"{what} is no moment such as 2026-11-23T03:31:00.000Z") from None
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def iso_ms(at_ms: int) -> str:
    """Write milliseconds since 1970 as AWS writes a moment. Raises EventMalformed for what no calendar has."""
    try:
        at = datetime.fromtimestamp(at_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise EventMalformed(f"{at_ms} ms is no moment") from None
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
