"""The endpoint table: where the things that ARNs name are reached, and with which keys.

Entries are looked at in the order they are written, and the first that matches holds. What no entry matches is not
reached at all: nothing is ever sent to an address that nobody configured. A table that is wrong in any way is refused
whole, with a sentence that names the entry and the field but never a secret.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from streamd.core.sigv4 import Credentials
from streamd.errors import ConfigInvalid

__all__ = ["Endpoint", "EndpointTable"]

_REQUIRED: Final = frozenset({"arn", "endpoint_url"})
_OPTIONAL: Final = frozenset({"region", "access_key_id", "secret_access_key", "session_token", "ca"})
_ARN: Final = re.compile(r"arn:[\w*?-]+:[\w*?-]+:[!-~]*")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
# Most servers of one's own take any key, and read the region out of the signature: so everything is signed.
_ANYBODY: Final = Credentials("anonymous", "anonymous")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to reach what an ARN names. ``ca`` is the path of a file of certificates to trust instead of the usual."""

    url: str
    region: str
    credentials: Credentials = field(default=_ANYBODY, repr=False)
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    endpoint: Endpoint


class EndpointTable:
    """The endpoints that are configured, in order."""

    def __init__(self, entries: Sequence[_Entry] = (), *, default_region: str = "us-east-1") -> None:
        self._entries = tuple(entries)
        self._default_region = default_region

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def parse(cls, tables: object, *, default_region: str = "us-east-1") -> "EndpointTable":
        """Read the value of ``endpoint`` in the settings: a ``[[endpoint]]`` table for each. Raises ConfigInvalid."""
        if not isinstance(tables, list):
            raise ConfigInvalid("each endpoint is an [[endpoint]] table, with two brackets on each side")
        return cls([_entry(number, table) for number, table in enumerate(tables, 1)], default_region=default_region)

    def find(self, arn: str) -> Endpoint | None:
        """Give the first endpoint listed for an ARN, with the region that calls about this ARN are signed for."""
        for entry in self._entries:
            if entry.pattern.fullmatch(arn):
                endpoint = entry.endpoint
                region = endpoint.region or f"{arn}:::".split(":")[3] or self._default_region
                return Endpoint(url=endpoint.url, region=region, credentials=endpoint.credentials, ca=endpoint.ca)
        return None


def _entry(number: int, table: object) -> _Entry:
    what = f"endpoint {number}"
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{what} is no table: write [[endpoint]] above its fields")
    fields: Mapping[str, Any] = table
    for name in fields.keys() - _REQUIRED - _OPTIONAL:
        known = ", ".join(sorted(_REQUIRED | _OPTIONAL))
        raise ConfigInvalid(f"unknown field {name!r} in {what}: it may have {known}")
    for name, value in fields.items():
        if not isinstance(value, str) or not value:
            raise ConfigInvalid(f"field {name!r} of {what} must be a text that is not empty")
    for name in sorted(_REQUIRED - fields.keys()):
        raise ConfigInvalid(f"{what} has no {name}")
    arn = fields["arn"]
    if not _ARN.fullmatch(arn):
        raise ConfigInvalid(f"arn {arn!r} of {what} is no pattern of ARNs such as arn:aws:sqs:*:*:*")
    region = fields.get("region", "")
    if region and not _REGION.fullmatch(region):
        raise ConfigInvalid(f"region {region!r} of {what} is no region")
    endpoint = Endpoint(
        url=_url(what, fields["endpoint_url"]),
        region=region,
        credentials=_credentials(what, fields),
        ca=fields.get("ca"),
    )
    return _Entry(re.compile("".join(_pattern_parts(arn)), re.ASCII), endpoint)


def _pattern_parts(glob: str) -> Iterator[str]:
    """Write a glob as an expression: ``*`` is any text, ``?`` one character."""
    for character in glob:
        yield {"*": ".*", "?": "."}.get(character) or re.escape(character)


def _url(what: str, text: str) -> str:
    # The text itself is not repeated: somebody may have put a password into it.
    fault = ConfigInvalid(
        f"endpoint_url of {what} must be an address like http://127.0.0.1:9324, without keys, query or path"
    )
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise fault from None
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
        raise fault
    return f"{parts.scheme}://{parts.netloc}"


def _credentials(what: str, fields: Mapping[str, str]) -> Credentials:
    given = {"access_key_id", "secret_access_key", "session_token"} & fields.keys()
    if not given:
        return _ANYBODY
    if not {"access_key_id", "secret_access_key"} <= given:
        raise ConfigInvalid(f"{what} needs both access_key_id and secret_access_key, or neither")
    return Credentials(fields["access_key_id"], fields["secret_access_key"], fields.get("session_token"))
