"""How a sender shows that it may push: a token, a signature over the body, an address on a list, or several of them.

Secrets are compared in constant time and appear in no representation. Whoever comes from an address that nobody knows
is on no list.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["HmacEncoding", "HmacProof", "Network", "Proofs", "TokenProof"]

Network = IPv4Network | IPv6Network


class HmacEncoding(StrEnum):
    """How the bytes of a signature are written."""

    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class TokenProof:
    """The whole value of the Authorization header, its scheme included."""

    value: str = field(repr=False)

    def holds(self, headers: Mapping[str, str], _: bytes) -> bool:
        """Tell whether the header is that value, to the letter."""
        return _equal(headers.get("authorization", ""), self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacProof:
    """A header with the HMAC-SHA-256 of the body, behind a prefix such as ``sha256=``."""

    header: str
    secret: str = field(repr=False)
    encoding: HmacEncoding = HmacEncoding.HEX
    prefix: str = ""

    def holds(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether the header fits the body."""
        digest = hmac.digest(self.secret.encode(), body, sha256)
        written = digest.hex() if self.encoding is HmacEncoding.HEX else b64encode(digest).decode()
        return _equal(headers.get(self.header, ""), self.prefix + written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What a route asks of its senders; all of it must hold."""

    secret: TokenProof | HmacProof | None = None
    networks: tuple[Network, ...] = ()

    def hold(self, headers: Mapping[str, str], body: bytes, *, peer: str) -> bool:
        """Tell whether a request from an address may come in."""
        if self.networks and not self._is_listed(peer):
            return False
        return self.secret is None or self.secret.holds(headers, body)

    def _is_listed(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        # A socket that listens for both versions tells IPv4 addresses in IPv6's clothes.
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
