"""Signatures of claims that were verified before, by a short way.

A busy client signs many requests in one second, and all of them claim the same: key, scope, signed headers and time.
What follows from the claims is kept once a signature over them was right, so that the next request only costs its
hashes. Only right signatures leave something here, so nobody without a secret can push others out; whatever does not
match goes the whole way in ``core.sigv4``, which can explain.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from streamd.core.sigv4_canonical import ALGORITHM, SignedRequest
from streamd.core.sigv4_claims import AccessKeyId, Caller, Scope

__all__ = ["KNOWN_COUNT_MAX", "KnownClaims"]

# A thousand busy clients in one second.
KNOWN_COUNT_MAX = 1_000
# Several times what SDKs send: longer claims are not kept, so that all of them together stay within a few megabytes.
_LENGTH_MAX = 4_096
_SIGNATURE = "Signature="


class _Known(NamedTuple):
    """What follows from claims whose signature was right."""

    signed_ms: int
    signed_header_names: list[str]
    caller: Caller
    secret: str
    # Both hashes as they stand before what only one request says.
    canonical: "hashlib._Hash"
    begun: hmac.HMAC
    values: list[str]


class KnownClaims:
    """Claims by the text in front of the signature and the date beside it; the least recently used leave first."""

    __slots__ = ("_count_max", "_known_by_claim")

    def __init__(self, count_max: int = KNOWN_COUNT_MAX) -> None:
        self._count_max = count_max
        self._known_by_claim: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known_by_claim)

    def find(
        self, request: SignedRequest, *, secret_of: Callable[[AccessKeyId], str | None], now_ms: int, skew_ms_max: int
    ) -> Caller | None:
        """Give the caller of a request whose claims are known and whose signature is right; None for any other."""
        claim, signature = _claim_of(request)
        known = self._known_by_claim.get(claim)
        if known is None or not _is_plain(request):
            return None
        self._known_by_claim.move_to_end(claim)
        if abs(now_ms - known.signed_ms) >= skew_ms_max or secret_of(known.caller.access_key_id) != known.secret:
            return None
        headers = request.headers
        body_hash = sha256(request.body).hexdigest()
        if headers.get("x-amz-content-sha256", body_hash) != body_hash:
            return None
        values = [headers.get(name, "") for name in known.signed_header_names]
        if values != known.values:
            known = known._replace(canonical=_canonical_start(known.signed_header_names, values))
        canonical = known.canonical.copy()
        canonical.update(body_hash.encode())
        expected = known.begun.copy()
        expected.update(canonical.hexdigest().encode())
        if not signature.isascii():
            return None
        return known.caller if compare_digest(expected.hexdigest(), signature) else None

    def keep(
        self,
        request: SignedRequest,
        *,
        signed_ms: int,
        signed_header_names: list[str],
        scope: Scope,
        timestamp: str,
        secret: str,
        key: bytes,
    ) -> None:
        """Keep claims whose signature was right, if the short way can follow them."""
        claim, _ = _claim_of(request)
        values = [request.headers.get(name, "") for name in signed_header_names]
        if not _is_plain(request) or sum(map(len, [*claim, *signed_header_names, *values])) > _LENGTH_MAX:
            return
        to_sign = f"{ALGORITHM}\n{timestamp}\n{scope.text}\n"
        self._known_by_claim[claim] = _Known(
            signed_ms=signed_ms,
            signed_header_names=signed_header_names,
            caller=Caller(scope.access_key_id, scope.region, scope.service),
            secret=secret,
            # The keyed state is copied for each request: two thirds of the time of a new HMAC.
            begun=hmac.new(key, to_sign.encode("utf-8", "surrogateescape"), "sha256"),
            canonical=_canonical_start(signed_header_names, values),
            values=values,
        )
        self._known_by_claim.move_to_end(claim)
        while len(self._known_by_claim) > self._count_max:
            self._known_by_claim.popitem(last=False)


def _canonical_start(names: list[str], values: list[str]) -> "hashlib._Hash":
    """Hash the canonical request up to the hash of its body."""
    lines = [f"{name}:{' '.join(value.split())}\n" for name, value in zip(names, values, strict=True)]
    text = f"POST\n/\n\n{''.join(lines)}\n{';'.join(names)}\n"
    # A lone surrogate that no wire can carry hashes to what no client signed.
    return sha256(text.encode("utf-8", "surrogatepass"))


def _claim_of(request: SignedRequest) -> tuple[tuple[str, str], str]:
    """Split what a request says of its signature: what it claims and when, and the signature itself."""
    claim, _, signature = request.headers.get("authorization", "").rpartition(_SIGNATURE)
    return (claim, request.headers.get("x-amz-date", "")), signature


def _is_plain(request: SignedRequest) -> bool:
    """Tell whether a request is as SDKs send it: signed in its headers, for no session, with an empty query."""
    headers = request.headers
    return (
        request.method == "POST"
        and request.path == "/"
        and not request.query
        and "x-amz-date" in headers
        and "x-amz-security-token" not in headers
    )
