"""The canonical form of a request, and what Signature Version 4 computes from it.

Two sides sign the same bytes only if both write the request down in the same way: path, query and headers
each have one canonical spelling. Everything here is that spelling (for every service but S3, which has its
own), plus the two computations on it: the key for one day, region and service, and the signature.
"""

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

__all__ = [
    "ALGORITHM",
    "TERMINATOR",
    "SignedRequest",
    "canonical_query",
    "canonical_request",
    "query_pairs",
    "signature_of",
    "signing_key",
    "time_ms_of",
    "timestamp_of",
]

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"

_PLAIN_PAIRS = re.compile(r"[A-Za-z0-9._~=&-]*")
_HTTP_DATE = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (?:GMT|UTC|[+-]0000)",
    re.ASCII,
)
_TIMESTAMP_LENGTH = 16
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SignedRequest(NamedTuple):
    """A request as it was on the wire: nothing decoded, nothing decompressed.

    ``query`` comes without its question mark; the names in ``headers`` are in lower case, and the values of a
    header that was sent more than once are joined with commas. ``peer`` is the sender's IP address where somebody asks
    for it, which no signature covers. One is made for every request, and a named tuple is
    made in a third of the time that a frozen dataclass takes.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str = ""

    def __repr__(self) -> str:
        # Records are somebody's data, and headers hold signatures: both stay out of logs.
        return f"SignedRequest({self.method!r}, {self.path!r}, {len(self.body)} bytes)"


def canonical_request(
    request: SignedRequest, *, query: str, signed_header_names: Sequence[str], body_hash: str
) -> bytes:
    """Write a request down as it is signed; the names come sorted, the query canonical.

    Bytes that were no text on the wire (surrogate escapes) are those bytes again. Raises UnicodeEncodeError
    on other lone surrogates in a header, which no wire can carry.
    """
    headers = request.headers
    lines = [request.method, _canonical_path(request.path), query]
    # A header that is signed but absent (a proxy took it away) counts as empty, as it does at AWS.
    lines += [f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed_header_names]
    lines += ("", ";".join(signed_header_names), body_hash)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Split a raw query string into encoded names and values, each in its canonical spelling."""
    if not query:
        return []
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if _PLAIN_PAIRS.fullmatch(query):
        return [(name, value.replace("=", "%3D")) for name, _, value in pairs]
    return [(_respelled(name), _respelled(value)) for name, _, value in pairs]


def canonical_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Join encoded names and values, sorted."""
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)])


def signing_key(secret: str, *, date: str, region: str, service: str) -> bytes:
    """Derive the key that signs one day's requests to one service of one region."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return key


def signature_of(canonical: bytes, *, key: bytes, timestamp: str, scope: str) -> str:
    """Compute the signature of a canonical request; the scope is date/region/service/terminator."""
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical).hexdigest()}"
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256").hex()


def timestamp_of(time_ms: int) -> str:
    """Write a time as the protocol does: 20131202T235959Z."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    # strftime("%Y") does not pad a year below 1000, and this one is seven times as fast.
    return f"{moment.year:04}{moment.month:02}{moment.day:02}T{moment.hour:02}{moment.minute:02}{moment.second:02}Z"


def time_ms_of(date_text: str) -> int | None:
    """Read a time: 20131202T235959Z, or an HTTP date. None if it is neither."""
    if len(date_text) == _TIMESTAMP_LENGTH and date_text[8] == "T" and date_text[15] == "Z":
        digits = date_text[:8] + date_text[9:15]
        if not (digits.isascii() and digits.isdigit()):
            return None
        year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
        clock = int(digits[8:10]), int(digits[10:12]), int(digits[12:])
        return _time_ms((year, month, day), clock)
    # SDKs that were handed a Date header send it in HTTP's form, and put the other form into what they sign.
    match = _HTTP_DATE.fullmatch(date_text)
    if match is None or match[2] not in _MONTHS:
        return None
    date = int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1])
    return _time_ms(date, (int(match[4]), int(match[5]), int(match[6])))


def _time_ms(date: tuple[int, int, int], clock: tuple[int, int, int]) -> int | None:
    try:
        return int(datetime(*date, *clock, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def _canonical_path(path: str) -> str:
    """Spell a path: no dot segments, no empty ones, and what was encoded is encoded once more."""
    if path in {"/", ""}:
        return "/"
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    first = "/" if path[0] == "/" else ""
    last = "/" if path[-1] == "/" and segments else ""
    return quote(first + "/".join(segments) + last, safe="/~", errors="surrogatepass")


def _respelled(encoded: str) -> str:
    """Spell a name or value of a query again: decoded (a plus is a space there), then encoded strictly."""
    return quote(unquote_to_bytes(encoded.replace("+", " ").encode("utf-8", "surrogatepass")), safe="-_.~")
