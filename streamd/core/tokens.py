"""Opaque tokens: shard iterators and pagination tokens that only this store can have made.

A token is URL-safe only where AWS's is (plain base64), carries its own creation time, and ends in a truncated
HMAC-SHA256 under the store's secret, so it survives a restart and cannot be forged or altered.
"""

import hmac
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

from streamd.core.limits import ITERATOR_AGE_MS_MAX, TOKEN_AGE_MS_MAX
from streamd.errors import IteratorExpired, TokenExpired, TokenInvalid

__all__ = ["PageToken", "ShardIterator", "TokenMint"]

_MAC_BYTE_COUNT = 16
_ITERATOR = struct.Struct(">BQIQQ")
_PAGE = struct.Struct(">BQ")
_ITERATOR_KIND = 1
_PAGE_KIND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIterator:
    """A place in a shard: everything after ``after`` is still to be read."""

    stream_name: str
    stream_number: int
    shard_index: int
    after: int
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageToken:
    """A place in a listing: what is listed (operation, filter, stream) and after which item to go on."""

    scope: str
    after: str
    created_ms: int


class TokenMint:
    """Makes tokens and reads them back, under one secret."""

    def __init__(self, secret: bytes) -> None:
        # The keyed state is copied for each token: half the cost of a new HMAC.
        self._keyed = hmac.new(secret, digestmod="sha256")

    def iterator(self, place: ShardIterator) -> str:
        """Write a shard iterator."""
        head = _ITERATOR.pack(_ITERATOR_KIND, place.stream_number, place.shard_index, place.after, place.created_ms)
        return self._seal(head + place.stream_name.encode())

    def read_iterator(self, token: str, *, now_ms: int) -> ShardIterator:
        """Read a shard iterator back. Raises TokenInvalid and IteratorExpired."""
        body = self._open(token)
        if len(body) < _ITERATOR.size or body[0] != _ITERATOR_KIND:
            raise TokenInvalid
        _, stream_number, shard_index, after, created_ms = _ITERATOR.unpack_from(body)
        if now_ms - created_ms > ITERATOR_AGE_MS_MAX:
            raise IteratorExpired(created_ms=created_ms, now_ms=now_ms)
        return ShardIterator(
            stream_name=body[_ITERATOR.size :].decode(),
            stream_number=stream_number,
            shard_index=shard_index,
            after=after,
            created_ms=created_ms,
        )

    def page(self, place: PageToken) -> str:
        """Write a pagination token."""
        head = _PAGE.pack(_PAGE_KIND, place.created_ms)
        return self._seal(head + place.scope.encode() + b"\0" + place.after.encode())

    def read_page(self, token: str, *, scope: str, now_ms: int) -> PageToken:
        """Read a pagination token back. Raises TokenInvalid (also for another listing's) and TokenExpired."""
        body = self._open(token)
        if len(body) < _PAGE.size or body[0] != _PAGE_KIND:
            raise TokenInvalid
        _, created_ms = _PAGE.unpack_from(body)
        found, _, after = body[_PAGE.size :].decode().partition("\0")
        if not found.startswith(scope):
            raise TokenInvalid
        if now_ms - created_ms > TOKEN_AGE_MS_MAX:
            raise TokenExpired
        return PageToken(scope=found, after=after, created_ms=created_ms)

    def _seal(self, body: bytes) -> str:
        return b64encode(self._mac(body) + body).decode()

    def _open(self, token: str) -> bytes:
        try:
            raw = b64decode(token, validate=True)
        except (Base64Error, ValueError):
            raise TokenInvalid from None
        mac, body = raw[:_MAC_BYTE_COUNT], raw[_MAC_BYTE_COUNT:]
        if not body or not hmac.compare_digest(mac, self._mac(body)):
            raise TokenInvalid
        return body

    def _mac(self, body: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest()[:_MAC_BYTE_COUNT]
