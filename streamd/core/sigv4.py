"""AWS Signature Version 4: who sent a request, and whether it is what they signed.

``verify`` answers for a request that came in, in both forms (Authorization header, presigned query); ``sign``
and ``presign`` write the same for requests that go out. The body always counts: it is hashed here, once, and
an ``x-amz-content-sha256`` header that says otherwise (``UNSIGNED-PAYLOAD`` too) is refused, as every service
but S3 does. Any region is accepted, because a server of one's own has no regions to be wrong about.

Faults are looked for in AWS's order, so that a request with several gets the answer it would get there.
Signatures are compared in constant time, and no secret or key appears in a representation or an error.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import quote

from streamd.core.sigv4_canonical import (
    ALGORITHM,
    TERMINATOR,
    SignedRequest,
    canonical_query,
    canonical_request,
    query_pairs,
    signature_of,
    signing_key,
    time_ms_of,
    timestamp_of,
)
from streamd.core.sigv4_claims import AccessKeyId, Caller, Claims, Scope, claimed_scope, read_claims, read_scope
from streamd.core.sigv4_claims import is_region_name as _is_region_name
from streamd.core.sigv4_known import KnownClaims
from streamd.errors_auth import (
    AccessKeyUnknown,
    AlgorithmUnsupported,
    DateMalformed,
    ExpiryMalformed,
    HeaderNotSigned,
    ScopeMismatch,
    SecurityTokenUnexpected,
    SignatureExpired,
    SignatureMismatch,
    SignatureNotYetCurrent,
)

__all__ = [
    "EXPIRES_S_MAX",
    "KINESIS",
    "SIGNING_KEY_COUNT_MAX",
    "SKEW_MS_MAX",
    "AccessKeyId",
    "Caller",
    "Credentials",
    "Scope",
    "SignedRequest",
    "SigningKeyCache",
    "claimed_scope",
    "presign",
    "sign",
    "verify",
]

KINESIS = frozenset({"kinesis"})

# AWS's bound on clocks that disagree; it is also how long a captured request could be sent again.
SKEW_MS_MAX = 300_000
# A week, AWS's own bound: a presigned URL is a key that somebody else holds.
EXPIRES_S_MAX = 604_800
# Two days around midnight for 500 keys; an entry takes some 600 bytes.
SIGNING_KEY_COUNT_MAX = 1_000

_DIGIT_COUNT_MAX = 18
# What proxies and HTTP clients add, change or drop on the way: signing it would break right signatures.
_HEADERS_NEVER_SIGNED = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client signs with."""

    access_key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class SigningKeyCache:
    """Signing keys that verified a request before, the least recently used one leaving first.

    Deriving a key takes four HMACs, and it stays the same for a day. Only keys whose signature was right are
    kept, so nobody without a secret can push others out.
    """

    __slots__ = ("_count_max", "_key_by_scope", "known")

    def __init__(self, count_max: int = SIGNING_KEY_COUNT_MAX) -> None:
        self.known = KnownClaims()
        self._count_max = count_max
        self._key_by_scope: OrderedDict[tuple[str, str, str, str], tuple[str, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._key_by_scope)

    def find(self, scope: Scope, secret: str) -> bytes | None:
        """Find the key for a scope, if it was derived from this very secret."""
        place = (scope.access_key_id, scope.date, scope.region, scope.service)
        entry = self._key_by_scope.get(place)
        if entry is None or entry[0] != secret:
            return None
        self._key_by_scope.move_to_end(place)
        return entry[1]

    def keep(self, scope: Scope, secret: str, key: bytes) -> None:
        """Keep the key for a scope; the secret beside it tells a replaced key from the one before."""
        place = (scope.access_key_id, scope.date, scope.region, scope.service)
        self._key_by_scope[place] = (secret, key)
        self._key_by_scope.move_to_end(place)
        while len(self._key_by_scope) > self._count_max:
            self._key_by_scope.popitem(last=False)


def verify(
    request: SignedRequest,
    *,
    secret_of: Callable[[AccessKeyId], str | None],
    signing_keys: SigningKeyCache,
    now_ms: int,
    services: Collection[str] = KINESIS,
    skew_ms_max: int = SKEW_MS_MAX,
    token_of: Callable[[AccessKeyId], str | None] = lambda _: None,
) -> Caller:
    """Tell who signed a request, for one of these services.

    ``token_of`` gives the session token that a key must come with; keys without one may not come with any.

    Raises MissingAuthenticationToken, IncompleteSignature, InvalidSignature or UnrecognizedClient, each as
    the class below it that says why.
    """
    found = signing_keys.known.find(request, secret_of=secret_of, now_ms=now_ms, skew_ms_max=skew_ms_max)
    if found is not None and found.service in services:
        return found
    claims = read_claims(request.headers, request.query)
    signed_ms = time_ms_of(claims.date_text)
    if signed_ms is None:
        raise DateMalformed(claims.date_text)
    _check_age(claims, signed_ms=signed_ms, now_ms=now_ms, skew_ms_max=skew_ms_max)
    signed_header_names = _signed_header_names(claims, request)
    if claims.algorithm != ALGORITHM:
        raise AlgorithmUnsupported(claims.algorithm)
    scope = read_scope(claims.credential)
    timestamp = timestamp_of(signed_ms)
    _check_scope(scope, timestamp=timestamp, services=services)
    secret = secret_of(scope.access_key_id)
    if secret is None:
        raise AccessKeyUnknown(scope.access_key_id)
    kept_key = signing_keys.find(scope, secret)
    key = kept_key or signing_key(secret, date=scope.date, region=scope.region, service=scope.service)
    _check_signature(request, claims, signed_header_names, scope=scope, timestamp=timestamp, key=key)
    if not compare_digest(claims.security_token.encode(), (token_of(scope.access_key_id) or "").encode()):
        raise SecurityTokenUnexpected
    if kept_key is None:
        signing_keys.keep(scope, secret, key)
    signing_keys.known.keep(
        request,
        signed_ms=signed_ms,
        signed_header_names=signed_header_names,
        scope=scope,
        timestamp=timestamp,
        secret=secret,
        key=key,
    )
    return Caller(scope.access_key_id, scope.region, scope.service)


def sign(request: SignedRequest, credentials: Credentials, *, region: str, service: str, now_ms: int) -> dict[str, str]:
    """Give the headers that sign a request; its own headers must hold ``host`` and are all covered."""
    timestamp = timestamp_of(now_ms)
    added = {"x-amz-date": timestamp}
    if credentials.session_token is not None:
        added["x-amz-security-token"] = credentials.session_token
    whole = SignedRequest(request.method, request.path, request.query, {**request.headers, **added}, request.body)
    names = _header_names_to_sign(whole)
    scope = _scope(credentials, timestamp=timestamp, region=region, service=service)
    query = canonical_query(query_pairs(request.query))
    signature = _signature(whole, credentials, query=query, signed_header_names=names, scope=scope, timestamp=timestamp)
    added["authorization"] = (
        f"{ALGORITHM} Credential={scope.access_key_id}/{scope.text}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return added


def presign(
    request: SignedRequest,
    credentials: Credentials,
    *,
    region: str,
    service: str,
    now_ms: int,
    expires_s: int,
) -> str:
    """Give the query string that signs a request for whoever holds it, for this many seconds."""
    assert 1 <= expires_s <= EXPIRES_S_MAX, "no server would accept it"
    timestamp = timestamp_of(now_ms)
    names = _header_names_to_sign(request)
    scope = _scope(credentials, timestamp=timestamp, region=region, service=service)
    claims = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{scope.access_key_id}/{scope.text}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if credentials.session_token is not None:
        claims["X-Amz-Security-Token"] = credentials.session_token
    claimed = [(name, quote(text, safe="-_.~")) for name, text in claims.items()]
    query = canonical_query([*query_pairs(request.query), *claimed])
    signature = _signature(
        request, credentials, query=query, signed_header_names=names, scope=scope, timestamp=timestamp
    )
    return f"{query}&X-Amz-Signature={signature}"


def _check_age(claims: Claims, *, signed_ms: int, now_ms: int, skew_ms_max: int) -> None:
    now_ms -= now_ms % 1000  # timestamps are whole seconds: compare what the sentence shows
    age_ms_max = skew_ms_max if claims.expires_text is None else _expires_ms(claims.expires_text)
    if signed_ms < now_ms - age_ms_max:
        raise SignatureExpired(
            signed_at=timestamp_of(signed_ms),
            earliest=timestamp_of(now_ms - age_ms_max),
            now=timestamp_of(now_ms),
            allowed=_duration_text(age_ms_max),
        )
    if signed_ms > now_ms + skew_ms_max:
        raise SignatureNotYetCurrent(
            signed_at=timestamp_of(signed_ms),
            latest=timestamp_of(now_ms + skew_ms_max),
            now=timestamp_of(now_ms),
            allowed=_duration_text(skew_ms_max),
        )


def _expires_ms(expires_text: str) -> int:
    # The length counts first: a text of thousands of digits is slow to turn into a number.
    if not (len(expires_text) <= _DIGIT_COUNT_MAX and expires_text.isascii() and expires_text.isdigit()):
        raise ExpiryMalformed("X-Amz-Expires should be a number")
    expires_s = int(expires_text)
    if expires_s < 1:
        raise ExpiryMalformed("X-Amz-Expires must be at least 1 second")
    if expires_s > EXPIRES_S_MAX:
        raise ExpiryMalformed(
            "X-Amz-Expires must be less than a week (in seconds); that is, "
            f"the given X-Amz-Expires must be less than {EXPIRES_S_MAX} seconds"
        )
    return expires_s * 1000


def _duration_text(duration_ms: int) -> str:
    seconds = duration_ms // 1000
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} sec."


def _signed_header_names(claims: Claims, request: SignedRequest) -> list[str]:
    names = sorted(claims.signed_headers.lower().split(";"))
    if "host" not in names and ":authority" not in names:
        raise HeaderNotSigned("'Host' or ':authority'")
    # Stricter than AWS, for presigned requests only. Their holder is not the key's owner, and the target
    # alone says which operation the body is for: a DescribeStream must not be sent as a DeleteStream.
    if claims.is_presigned and "x-amz-target" in request.headers and "x-amz-target" not in names:
        raise HeaderNotSigned("'X-Amz-Target'")
    return names


def _check_scope(scope: Scope, *, timestamp: str, services: Collection[str]) -> None:
    faults = []
    if not _is_region_name(scope.region):
        faults.append(f"Credential should be scoped to a valid region, not '{scope.region}'. ")
    if scope.service not in services:
        expected = "' or '".join(sorted(services))
        faults.append(f"Credential should be scoped to correct service: '{expected}'. ")
    if scope.terminator != TERMINATOR:
        faults.append(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{scope.terminator}'. "
        )
    if scope.date != timestamp[:8]:
        faults.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    if faults:
        raise ScopeMismatch(faults)


def _check_signature(
    request: SignedRequest,
    claims: Claims,
    signed_header_names: list[str],
    *,
    scope: Scope,
    timestamp: str,
    key: bytes,
) -> None:
    body_hash = sha256(request.body).hexdigest()
    if request.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        raise SignatureMismatch
    try:
        canonical = canonical_request(
            request, query=claims.query, signed_header_names=signed_header_names, body_hash=body_hash
        )
    except UnicodeEncodeError:
        raise SignatureMismatch from None
    expected = signature_of(
        canonical,
        key=key,
        timestamp=timestamp,
        scope=scope.text,
    )
    if not compare_digest(expected.encode(), claims.signature.encode("utf-8", "replace")):
        raise SignatureMismatch


def _header_names_to_sign(request: SignedRequest) -> list[str]:
    assert "host" in request.headers, "a request is signed for one host"
    return sorted(request.headers.keys() - _HEADERS_NEVER_SIGNED)


def _scope(credentials: Credentials, *, timestamp: str, region: str, service: str) -> Scope:
    return Scope(AccessKeyId(credentials.access_key_id), timestamp[:8], region, service, TERMINATOR)


def _signature(
    request: SignedRequest,
    credentials: Credentials,
    *,
    query: str,
    signed_header_names: list[str],
    scope: Scope,
    timestamp: str,
) -> str:
    canonical = canonical_request(
        request,
        query=query,
        signed_header_names=signed_header_names,
        body_hash=sha256(request.body).hexdigest(),
    )
    key = signing_key(credentials.secret, date=scope.date, region=scope.region, service=scope.service)
    return signature_of(canonical, key=key, timestamp=timestamp, scope=scope.text)
