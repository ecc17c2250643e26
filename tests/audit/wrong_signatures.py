"""Signatures that are wrong in one thing only: each way takes a request and writes it as somebody would who may not.

They are written by the pieces of Signature Version 4 rather than by a signer, which would not let them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any

from streamd.core.sigv4 import EXPIRES_S_MAX, Credentials, SignedRequest, presign
from streamd.core.sigv4_canonical import (
    ALGORITHM,
    canonical_query,
    canonical_request,
    query_pairs,
    signature_of,
    signing_key,
    timestamp_of,
)
from tests.audit.door_requests import Asked

__all__ = ["KEY", "PRESIGNED_WAYS", "WAYS", "Way", "presigned", "signed"]

KEY = Credentials("AKIDGUARDED", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
"""The one key of the daemon that is asked."""

Way = Callable[[Asked, str], Asked]
"""Signs a request for a host wrongly."""

_STRANGER = Credentials("AKIDNOBODY", KEY.secret)
_GUESSER = Credentials(KEY.access_key_id, "another-secret-of-some-length")
_LATE_MS = 16 * 60 * 1000
_DAY_MS = 24 * 3600 * 1000
_PRESIGNED_S = 60
# In the year 2000: a signature whose time is nobody's.
_LONG_AGO_MS = 946_684_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signing:
    """What goes into a signature, right unless it is said otherwise."""

    key: Credentials = KEY
    skew_ms: int = 0
    scope_skew_ms: int = 0
    service: str = ""
    region: str = "us-east-1"
    key_region: str = "us-east-1"
    terminator: str = "aws4_request"
    algorithm: str = ALGORITHM
    method: str = ""
    path: str = ""
    body: bytes | None = None
    body_hash: str = ""
    added: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""


_RIGHT = _Signing()


def signed(asked: Asked, host: str, way: _Signing = _RIGHT) -> Asked:
    """Sign a request in its headers: rightly, unless the way says otherwise."""
    now_ms = time.time_ns() // 1_000_000 + way.skew_ms
    timestamp = timestamp_of(now_ms)
    date = timestamp_of(now_ms + way.scope_skew_ms)[:8]
    service = way.service or asked.service
    headers = {"host": host, **asked.headers, **way.added, "x-amz-date": timestamp}
    names = sorted(name for name in headers if name != way.left_out)
    path, _, query = (way.path or asked.path).partition("?")
    body = asked.body if way.body is None else way.body
    canonical = canonical_request(
        SignedRequest(way.method or asked.method, path, query, headers, body),
        query=canonical_query(query_pairs(query)),
        signed_header_names=names,
        body_hash=way.body_hash or sha256(body).hexdigest(),
    )
    scope = f"{date}/{way.region}/{service}/{way.terminator}"
    key = signing_key(way.key.secret, date=date, region=way.key_region, service=service)
    signature = signature_of(canonical, key=key, timestamp=timestamp, scope=scope)
    claims = f"Credential={way.key.access_key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return replace(asked, headers={**headers, "authorization": f"{way.algorithm} {claims}"})


def presigned(
    asked: Asked, host: str, *, key: Credentials = KEY, skew_ms: int = 0, names: tuple[str, ...] = ("x-amz-target",)
) -> Asked:
    """Sign a request in its query, for a minute, with these of its headers; rightly, unless it is said otherwise."""
    path, _, query = asked.path.partition("?")
    headers = {"host": host, **{name: text for name, text in asked.headers.items() if name in names}}
    request = SignedRequest(asked.method, path, query, headers, asked.body)
    now_ms = time.time_ns() // 1_000_000 + skew_ms
    whole = presign(request, key, region="us-east-1", service=asked.service, now_ms=now_ms, expires_s=_PRESIGNED_S)
    return replace(asked, path=f"{path}?{whole}", headers={"host": host, **asked.headers})


def _signed_so(**way: Any) -> Way:
    return partial(signed, way=replace(_RIGHT, **way))


def _nothing(asked: Asked, host: str) -> Asked:
    return replace(asked, headers={"host": host, **asked.headers})


def _claiming(text: str) -> Way:
    return lambda asked, host: replace(asked, headers={"host": host, **asked.headers, "authorization": text})


def _changed(change: Callable[[Asked], Asked]) -> Way:
    """Change what was signed rightly."""
    return lambda asked, host: change(signed(asked, host))


def _with_header(name: str, change: Callable[[str], str]) -> Callable[[Asked], Asked]:
    return lambda asked: replace(asked, headers={**asked.headers, name: change(asked.headers.get(name, ""))})


def _with_another_query(asked: Asked) -> Asked:
    return replace(asked, path=asked.path + ("&" if "?" in asked.path else "?") + "a=b")


def _added_header(asked: Asked, host: str) -> Asked:
    """Change a header that was signed."""
    return _with_header("x-odd", lambda _: "2")(signed(asked, host, replace(_RIGHT, added={"x-odd": "1"})))


def _dropped_header(asked: Asked, host: str) -> Asked:
    whole = signed(asked, host, replace(_RIGHT, added={"x-odd": "1"}))
    return replace(whole, headers={name: text for name, text in whole.headers.items() if name != "x-odd"})


def _of_another_request(asked: Asked, host: str) -> Asked:
    """Take over the signature of a request that its owner may have sent."""
    body = b'{"Limit":7}'
    target = "Kinesis_20131202.ListStreams"
    other = Asked("", "kinesis", "POST", "/", {**asked.headers, "x-amz-target": target}, body)
    return replace(asked, headers={**signed(other, host).headers, **asked.headers})


def _unhashed(asked: Asked, host: str) -> Asked:
    word = "UNSIGNED-PAYLOAD"
    return signed(asked, host, replace(_RIGHT, added={"x-amz-content-sha256": word}, body_hash=word))


def _hash_of_another_body(asked: Asked, host: str) -> Asked:
    word = sha256(b"{}{}").hexdigest()
    return signed(asked, host, replace(_RIGHT, added={"x-amz-content-sha256": word}, body_hash=word))


def _without_a_date(asked: Asked, host: str) -> Asked:
    whole = signed(asked, host)
    return replace(whole, headers={name: text for name, text in whole.headers.items() if name != "x-amz-date"})


WAYS: Mapping[str, Way] = {
    "nothing": _nothing,
    "a bearer's token": _claiming("Bearer sesame"),
    "a password": _claiming("Basic QUtJREdVQVJERUQ6eA=="),
    "a claim without its parts": _claiming(ALGORITHM),
    "a stranger's key": _signed_so(key=_STRANGER),
    "a wrong secret": _signed_so(key=_GUESSER),
    "a session that is none": _signed_so(added={"x-amz-security-token": "sesame"}),
    "16 minutes ago": _signed_so(skew_ms=-_LATE_MS),
    "16 minutes ahead": _signed_so(skew_ms=_LATE_MS),
    "a key of yesterday's": _signed_so(scope_skew_ms=-_DAY_MS),
    "another time beside it": _changed(_with_header("x-amz-date", lambda _: timestamp_of(_LONG_AGO_MS))),
    "no time": _without_a_date,
    "another service": _signed_so(service="s3"),
    "another region's key": _signed_so(key_region="eu-west-1"),
    "another end of the scope": _signed_so(terminator="aws5_request"),
    "another algorithm": _signed_so(algorithm="AWS4-ECDSA-P256-SHA256"),
    "another method": _signed_so(method="PATCH"),
    "another path": _signed_so(path="/elsewhere"),
    "another query": _changed(
        lambda asked: replace(asked, path=asked.path + ("&" if "?" in asked.path else "?") + "a=b")
    ),
    "another body": _changed(lambda asked: replace(asked, body=asked.body + b" ")),
    "a body that is not signed": _unhashed,
    "another body's hash": _hash_of_another_body,
    "another host": _changed(_with_header("host", lambda _: "elsewhere:80")),
    "a host that is not signed": _signed_so(left_out="host"),
    "a header that was changed": _added_header,
    "a header that was dropped": _dropped_header,
    "another request's signature": _of_another_request,
    "a digit less": _changed(_with_header("authorization", lambda text: text[:-1])),
    "no digits": _changed(_with_header("authorization", lambda text: text[:-64])),
    "digits in capitals": _changed(_with_header("authorization", lambda text: text[:-64] + text[-64:].upper())),
}
"""How a signature in the headers may be wrong."""


def _presigned_so(**way: Any) -> Way:
    return partial(presigned, **way)


def _presigned_and(change: Callable[[Asked], Asked]) -> Way:
    return lambda asked, host: change(presigned(asked, host))


def _in_path(old: str, new: str) -> Way:
    def change(asked: Asked) -> Asked:
        assert old in asked.path
        return replace(asked, path=asked.path.replace(old, new))

    return _presigned_and(change)


PRESIGNED_WAYS: Mapping[str, Way] = {
    "a stranger's key": _presigned_so(key=_STRANGER),
    "a wrong secret": _presigned_so(key=_GUESSER),
    "past its minute": _presigned_so(skew_ms=-(_PRESIGNED_S + 30) * 1000),
    "from a time to come": _presigned_so(skew_ms=_LATE_MS),
    "a longer time": _in_path(f"X-Amz-Expires={_PRESIGNED_S}", "X-Amz-Expires=3600"),
    "more than a week": _in_path(f"X-Amz-Expires={_PRESIGNED_S}", f"X-Amz-Expires={EXPIRES_S_MAX + 1}"),
    "no time": _in_path(f"X-Amz-Expires={_PRESIGNED_S}", "X-Amz-Expires="),
    "another host": _presigned_and(_with_header("host", lambda _: "elsewhere:80")),
    "a parameter more": _presigned_and(_with_another_query),
    "another body": _presigned_and(lambda asked: replace(asked, body=asked.body + b" ")),
    "a digit less": _presigned_and(lambda asked: replace(asked, path=asked.path[:-1])),
}
"""How a signature in the query may be wrong."""
