"""Requests, signed and presigned, for the tests of Signature Version 4."""

from collections.abc import Collection

import pytest

from streamd.core.sigv4 import (
    KINESIS,
    AccessKeyId,
    Caller,
    Credentials,
    SignedRequest,
    SigningKeyCache,
    presign,
    sign,
    verify,
)

__all__ = [
    "CALLER",
    "CREDENTIALS",
    "KEY_ID",
    "MISMATCH",
    "NOW_MS",
    "REQUEST",
    "SECRET",
    "TARGET",
    "check",
    "presigned",
    "secret_of",
    "sentence_of",
    "signed",
    "with_headers",
    "with_query",
    "without_header",
]

KEY_ID = AccessKeyId("AKIDEXAMPLE")
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CREDENTIALS = Credentials(KEY_ID, SECRET)
CALLER = Caller(KEY_ID, "us-east-1", "kinesis")
NOW_MS = 1_421_888_902_000  # 2015-01-22T01:08:22Z
TARGET = "Kinesis_20131202.PutRecord"
REQUEST = SignedRequest(
    "POST",
    "/",
    "",
    {"host": "localhost:4567", "content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET},
    b'{"StreamName":"posts"}',
)
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)


def secret_of(access_key_id: AccessKeyId) -> str | None:
    """Know one key."""
    return SECRET if access_key_id == KEY_ID else None


def check(
    request: SignedRequest,
    *,
    now_ms: int | None = NOW_MS,
    signing_keys: SigningKeyCache | None = None,
    services: Collection[str] = KINESIS,
) -> Caller:
    """Verify a request against the one key, with a fresh cache unless one is given."""
    assert now_ms is not None
    cache = SigningKeyCache() if signing_keys is None else signing_keys
    return verify(request, secret_of=secret_of, signing_keys=cache, now_ms=now_ms, services=services)


def signed(
    request: SignedRequest = REQUEST,
    *,
    credentials: Credentials = CREDENTIALS,
    region: str = "us-east-1",
    service: str = "kinesis",
) -> SignedRequest:
    """Sign a request in its header, at NOW_MS."""
    added = sign(request, credentials, region=region, service=service, now_ms=NOW_MS)
    return with_headers(request, **added)


def presigned(
    request: SignedRequest = REQUEST, *, credentials: Credentials = CREDENTIALS, expires_s: int = 600
) -> SignedRequest:
    """Sign a request in its query, at NOW_MS."""
    query = presign(request, credentials, region="us-east-1", service="kinesis", now_ms=NOW_MS, expires_s=expires_s)
    return with_query(request, query)


def with_headers(request: SignedRequest, **value_by_name: str) -> SignedRequest:
    """Set headers; an underscore stands for a hyphen."""
    changed = {name.replace("_", "-"): value for name, value in value_by_name.items()}
    headers = {**request.headers, **changed}
    return SignedRequest(request.method, request.path, request.query, headers, request.body)


def without_header(request: SignedRequest, name: str) -> SignedRequest:
    """Take a header away."""
    headers = {header: value for header, value in request.headers.items() if header != name}
    return SignedRequest(request.method, request.path, request.query, headers, request.body)


def with_query(request: SignedRequest, query: str) -> SignedRequest:
    """Replace the query."""
    return SignedRequest(request.method, request.path, query, request.headers, request.body)


def sentence_of(error_type: type[Exception], request: SignedRequest, *, now_ms: int = NOW_MS) -> str:
    """Verify a request that must be refused for this reason, and give the sentence."""
    with pytest.raises(error_type) as caught:
        check(request, now_ms=now_ms)
    return str(caught.value)
