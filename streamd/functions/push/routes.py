"""The push routes: under which name what is pushed reaches which function, who may push, and what is let through.

A table that is wrong in any way is refused whole, with a sentence that names the route and the field but never a
secret. A route that anybody could push to is refused as well: without a token or a signature it needs a list of
addresses, or a topic of SNS's that signs its messages.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Any, Final

from streamd.core.push_events import PushFormat
from streamd.core.push_filters import PushFilter
from streamd.core.push_proofs import HmacEncoding, HmacProof, Network, Proofs, TokenProof
from streamd.core.sns_signatures import SNS_HOSTS
from streamd.errors import ConfigInvalid
from streamd.functions.faults import Fault
from streamd.functions.naming import Account, parse_name

__all__ = ["PushRoute", "PushRoutes", "SnsTrust"]

_TEXTS: Final = frozenset(
    {
        *("name", "function", "format", "auth", "token"),
        *("hmac_header", "hmac_secret", "hmac_encoding", "hmac_prefix"),
        *("bucket", "prefix", "suffix", "principal", "source_arn"),
    }
)
_LISTS: Final = frozenset({"addresses", "events", "sns_hosts"})
_FLAGS: Final = frozenset({"sns_http", "sns_verify"})
_NUMBERS: Final = frozenset({"body_byte_count_max"})
_KNOWN: Final = _TEXTS | _LISTS | _FLAGS | _NUMBERS
_HMAC: Final = frozenset({"hmac_header", "hmac_secret", "hmac_encoding", "hmac_prefix"})
_ROUTE_COUNT_MAX: Final = 1_000
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,128}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9.*-]{1,253}(:\d{1,5})?", re.ASCII)
_TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:[^:]+:\d{12}:[^:]+", re.ASCII)
# A notification grows when it is normalised at most by AWS's longer names, and mostly shrinks.
_BODY_BYTE_COUNT_DEFAULT: Final = 2 << 20
_BODY_BYTE_COUNT_MAX: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SnsTrust:
    """Which of SNS's addresses a route believes. Without ``is_verified`` signatures are not looked at."""

    hosts: tuple[str, ...] = SNS_HOSTS
    is_http_allowed: bool = False
    is_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRoute:
    """One route. ``arn`` is the function's, with its qualifier if the route names one."""

    name: str
    arn: str
    format: PushFormat = PushFormat.AUTO
    auth: str = "token"
    proofs: Proofs
    filter: PushFilter = field(default_factory=PushFilter)
    principal: str = ""
    source_arn: str = ""
    sns: SnsTrust = field(default_factory=SnsTrust)
    body_byte_count_max: int = _BODY_BYTE_COUNT_DEFAULT

    def takes_from(self, source: str) -> bool:
        """Tell whether an event may come from a source, by the pattern that the route may have."""
        return not self.source_arn or fnmatchcase(source, self.source_arn)


class PushRoutes:
    """The routes that are configured, by name."""

    def __init__(self, route_by_name: Mapping[str, PushRoute]) -> None:
        self._route_by_name = dict(route_by_name)

    def __iter__(self) -> Iterator[PushRoute]:
        return iter(self._route_by_name.values())

    def __len__(self) -> int:
        return len(self._route_by_name)

    @classmethod
    def parse(cls, tables: object, *, account: Account) -> "PushRoutes":
        """Read the value of ``push_route`` in the settings, a ``[[push_route]]`` table each. Raises ConfigInvalid."""
        if not isinstance(tables, list):
            raise ConfigInvalid("each push route is a [[push_route]] table, with two brackets on each side")
        if len(tables) > _ROUTE_COUNT_MAX:
            raise ConfigInvalid(f"there are {len(tables)} push routes: at most {_ROUTE_COUNT_MAX} are kept")
        route_by_name: dict[str, PushRoute] = {}
        for number, table in enumerate(tables, 1):
            route = _route(number, table, account)
            if route.name in route_by_name:
                raise ConfigInvalid(f"there are two push routes named {route.name!r}")
            route_by_name[route.name] = route
        return cls(route_by_name)

    def find(self, name: str) -> PushRoute | None:
        """Give a route, None when there is none of that name."""
        return self._route_by_name.get(name)


def _route(number: int, table: object, account: Account) -> PushRoute:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"push route {number} is no table: write [[push_route]] above its fields")
    fields: Mapping[str, Any] = table
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigInvalid(f"push route {number} needs a name of 1 to 64 letters, digits, '_', '.' and '-'")
    what = f"push route {name!r}"
    _check_types(what, fields)
    form = _choice(what, "format", fields.get("format", "auto"), tuple(PushFormat))
    route = PushRoute(
        name=name,
        arn=_arn(what, fields, account),
        format=PushFormat(form),
        auth=_choice(what, "auth", fields.get("auth", ""), ("token", "hmac", "none")),
        proofs=Proofs(secret=_secret(what, fields), networks=_networks(what, fields)),
        filter=PushFilter(
            bucket=fields.get("bucket", ""),
            prefix=fields.get("prefix", ""),
            suffix=fields.get("suffix", ""),
            events=tuple(fields.get("events", ())),
        ),
        principal=fields.get("principal", ""),
        source_arn=fields.get("source_arn", ""),
        sns=_sns(what, fields),
        body_byte_count_max=fields.get("body_byte_count_max", _BODY_BYTE_COUNT_DEFAULT),
    )
    _check_sense(what, route)
    return route


def _check_types(what: str, fields: Mapping[str, Any]) -> None:
    for field_name, value in fields.items():
        if field_name not in _KNOWN:
            raise ConfigInvalid(f"unknown field {field_name!r} in {what}: it may have {', '.join(sorted(_KNOWN))}")
        if field_name in _TEXTS and not (isinstance(value, str) and value):
            raise ConfigInvalid(f"field {field_name!r} of {what} must be a text that is not empty")
        if field_name in _FLAGS and not isinstance(value, bool):
            raise ConfigInvalid(f"field {field_name!r} of {what} must be true or false")
        if field_name in _LISTS and not _is_text_list(value):
            raise ConfigInvalid(f"field {field_name!r} of {what} must be a list of texts that is not empty")
        if field_name in _NUMBERS and not _is_size(value):
            raise ConfigInvalid(f"field {field_name!r} of {what} must be a number from 1 to {_BODY_BYTE_COUNT_MAX}")


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _BODY_BYTE_COUNT_MAX


def _choice(what: str, name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        # The value is not repeated: somebody may have put the token itself there.
        raise ConfigInvalid(f"field {name!r} of {what} must be one of {', '.join(choices)}")
    return value


def _arn(what: str, fields: Mapping[str, Any], account: Account) -> str:
    if "function" not in fields:
        raise ConfigInvalid(f"{what} names no function")
    try:
        name = parse_name(account, fields["function"])
    except Fault:
        raise ConfigInvalid(f"function {fields['function']!r} of {what} is no function of this server") from None
    arn = account.function_arn(name.name)
    return arn if name.qualifier is None else f"{arn}:{name.qualifier}"


def _secret(what: str, fields: Mapping[str, Any]) -> TokenProof | HmacProof | None:
    auth = fields.get("auth")
    if "token" in fields and auth != "token":
        raise ConfigInvalid(f"{what} has a token, so its auth must be token")
    if fields.keys() & _HMAC and auth != "hmac":
        raise ConfigInvalid(f"{what} has fields of hmac, so its auth must be hmac")
    if auth == "token":
        return _token(what, fields)
    return _hmac(what, fields) if auth == "hmac" else None


def _token(what: str, fields: Mapping[str, Any]) -> TokenProof:
    token = fields.get("token", "")
    # Whitespace at the ends is lost on the way, and what no header can hold never comes.
    if not token or token != token.strip() or not token.isascii() or not token.isprintable():
        raise ConfigInvalid(
            f"{what} needs a token: the whole Authorization header, such as 'Bearer …', in printable ASCII"
        )
    return TokenProof(token)


def _hmac(what: str, fields: Mapping[str, Any]) -> HmacProof:
    header = fields.get("hmac_header", "")
    if not _HEADER.fullmatch(header):
        raise ConfigInvalid(f"{what} needs hmac_header: the name of the header that holds the signature")
    if "hmac_secret" not in fields:
        raise ConfigInvalid(f"{what} needs hmac_secret: the key of the signature")
    encoding = _choice(what, "hmac_encoding", fields.get("hmac_encoding", "hex"), tuple(HmacEncoding))
    return HmacProof(
        header=header.lower(),
        secret=fields["hmac_secret"],
        encoding=HmacEncoding(encoding),
        prefix=fields.get("hmac_prefix", ""),
    )


def _networks(what: str, fields: Mapping[str, Any]) -> tuple[Network, ...]:
    networks = []
    for text in fields.get("addresses", ()):
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise ConfigInvalid(f"address {text!r} of {what} is neither an IP address nor a network in CIDR") from None
    return tuple(networks)


def _sns(what: str, fields: Mapping[str, Any]) -> SnsTrust:
    hosts = tuple(fields.get("sns_hosts", SNS_HOSTS))
    for host in hosts:
        if not _HOST.fullmatch(host) or not host.replace("*", "").strip("."):
            raise ConfigInvalid(f"host {host!r} in sns_hosts of {what} is no host name, with a port or '*' in it")
    return SnsTrust(
        hosts=hosts,
        is_http_allowed=fields.get("sns_http", False),
        is_verified=fields.get("sns_verify", True),
    )


def _check_sense(what: str, route: PushRoute) -> None:
    """Refuse what would let anybody in, or nothing through."""
    is_sns = route.format is PushFormat.SNS
    is_guarded = route.proofs.secret is not None or bool(route.proofs.networks)
    if not is_guarded and not (is_sns and route.sns.is_verified and route.source_arn):
        raise ConfigInvalid(
            f"anybody could push to {what}: give it a token, an hmac or addresses, or for format sns a source_arn, "
            "the ARN of the topic that signs"
        )
    if not is_guarded and not _TOPIC.fullmatch(route.source_arn):
        raise ConfigInvalid(f"source_arn of {what} must name the account of a topic: anybody has topics of their own")
    if route.filter.is_about_objects and route.format not in (PushFormat.AUTO, PushFormat.S3, PushFormat.SEAWEEDFS):
        raise ConfigInvalid(f"{what} filters objects, of which format {route.format} tells nothing")
    if route.filter.events and route.format in (PushFormat.SNS, PushFormat.RAW):
        raise ConfigInvalid(f"{what} filters by event, of which format {route.format} tells nothing")
