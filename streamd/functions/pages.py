"""Lists in pages: as many entries as were asked for, and a marker from which the next page goes on."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeVar

from streamd.functions.calls import Call
from streamd.functions.faults import invalid
from streamd.functions.host import Host

__all__ = ["page_of"]

T = TypeVar("T")
_COUNT_MAX = 50
_MAC_BYTE_COUNT = 12


def page_of(
    host: Host, entries: Sequence[T], call: Call, *, key: Callable[[T], str], count_max: int = _COUNT_MAX
) -> tuple[list[T], dict[str, str]]:
    """Give the entries of the page that a call asks for, and its ``NextMarker`` if more follow.

    ``entries`` are in order of ``key``. A marker names the last key of a page, so that a list that changes meanwhile
    neither repeats nor skips what stays in it. Raises Fault for a marker that is not ours.
    """
    after = _read_marker(host, call.get("Marker"))
    count = min(call.get("MaxItems") or count_max, count_max)
    rest = [entry for entry in entries if after is None or key(entry) > after]
    chosen = list(rest[:count])
    if len(rest) <= count:
        return chosen, {}
    return chosen, {"NextMarker": _marker(host, key(chosen[-1]))}


def _marker(host: Host, last: str) -> str:
    text = last.encode()
    return urlsafe_b64encode(_mac(host, text) + text).decode()


def _read_marker(host: Host, marker: str | None) -> str | None:
    if not marker:
        return None
    try:
        found = urlsafe_b64decode(marker.encode())
    except ValueError:
        raise invalid("Invalid Marker") from None
    mac, text = found[:_MAC_BYTE_COUNT], found[_MAC_BYTE_COUNT:]
    if not hmac.compare_digest(mac, _mac(host, text)):
        raise invalid("Invalid Marker")
    return text.decode()


def _mac(host: Host, text: bytes) -> bytes:
    return hmac.digest(host.secret, b"marker" + text, sha256)[:_MAC_BYTE_COUNT]
