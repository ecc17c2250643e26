"""The short way for claims that were verified before: it answers as the long way does, only quicker."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core import sigv4_known
from streamd.core.sigv4 import Caller, SignedRequest, SigningKeyCache, verify
from streamd.core.sigv4_claims import AccessKeyId
from streamd.core.sigv4_known import KnownClaims
from streamd.errors_auth import AuthenticationError, SignatureMismatch
from tests.core.signed_requests import (
    CALLER,
    CREDENTIALS,
    NOW_MS,
    REQUEST,
    SECRET,
    check,
    presigned,
    signed,
    with_headers,
    with_query,
    without_header,
)

_OTHER_BODY = SignedRequest(REQUEST.method, REQUEST.path, REQUEST.query, REQUEST.headers, b'{"StreamName":"others"}')
_SIGNED = signed()
_REQUESTS = [
    _SIGNED,
    signed(_OTHER_BODY),
    signed(region="eu-west-1"),
    signed(service="lambda"),
    signed(credentials=replace(CREDENTIALS, secret="wrong")),
    signed(credentials=replace(CREDENTIALS, session_token="token")),
    presigned(),
    REQUEST,
    SignedRequest("POST", "/", "", _SIGNED.headers, b'{"StreamName":"changed"}'),
    SignedRequest("POST", "/elsewhere", "", _SIGNED.headers, _SIGNED.body),
    SignedRequest("PUT", "/", "", _SIGNED.headers, _SIGNED.body),
    with_query(_SIGNED, "a=b"),
    with_headers(_SIGNED, x_amz_target="Kinesis_20131202.DeleteStream"),
    with_headers(_SIGNED, x_amz_security_token="token"),
    with_headers(_SIGNED, x_amz_content_sha256="UNSIGNED-PAYLOAD"),
    with_headers(_SIGNED, host="localhost:4567 "),
    with_headers(_SIGNED, host="\u00e4"),
    with_headers(_SIGNED, authorization=_SIGNED.headers["authorization"][:-1] + "\u00e4"),
    without_header(_SIGNED, "x-amz-target"),
]
_TIMES_MS = [NOW_MS + offset_s * 1000 for offset_s in (-301, -300, -299, 0, 1, 299, 300, 301)]


def _outcome(request: SignedRequest, *, cache: SigningKeyCache, secret: str | None, now_ms: int) -> Caller | str:
    try:
        return verify(request, secret_of=lambda _: secret, signing_keys=cache, now_ms=now_ms)
    except AuthenticationError as error:
        return repr(error) + str(error)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_REQUESTS), st.sampled_from([SECRET, SECRET, "replaced", None]), st.sampled_from(_TIMES_MS)
        ),
        max_size=12,
    )
)
def test_what_was_verified_before_changes_no_answer(turns: list[tuple[SignedRequest, str | None, int]]) -> None:
    cache = SigningKeyCache()
    check(_SIGNED, signing_keys=cache)

    for request, secret, now_ms in turns:
        found = _outcome(request, cache=cache, secret=secret, now_ms=now_ms)

        assert found == _outcome(request, cache=SigningKeyCache(), secret=secret, now_ms=now_ms)


def test_a_second_request_of_the_same_claims_takes_the_short_way() -> None:
    cache = SigningKeyCache()
    check(_SIGNED, signing_keys=cache)

    caller = cache.known.find(signed(_OTHER_BODY), secret_of=lambda _: SECRET, now_ms=NOW_MS, skew_ms_max=300_000)

    assert caller == CALLER


def test_a_wrong_signature_leaves_no_claims() -> None:
    cache = SigningKeyCache()

    with pytest.raises(SignatureMismatch):
        check(signed(credentials=replace(CREDENTIALS, secret="wrong")), signing_keys=cache)

    assert len(cache.known) == 0


def test_known_claims_are_bounded_and_the_latest_stay() -> None:
    cache = SigningKeyCache()
    cache.known = KnownClaims(count_max=2)
    requests = [signed(region=region) for region in "abc"]

    for request in requests:
        check(request, signing_keys=cache)

    found = [
        cache.known.find(request, secret_of=lambda _: SECRET, now_ms=NOW_MS, skew_ms_max=300_000)
        for request in requests
    ]
    assert [caller and caller.region for caller in found] == [None, "b", "c"]
    assert len(cache.known) == 2


def test_claims_of_any_length_are_verified_and_long_ones_are_not_kept() -> None:
    cache = SigningKeyCache()
    long = signed(with_headers(REQUEST, x_long="a" * 5_000))

    callers = [check(long, signing_keys=cache) for _ in range(2)]

    assert callers == [CALLER, CALLER]
    assert len(cache.known) == 0


def test_signatures_are_compared_in_constant_time_on_the_short_way_too() -> None:
    assert "compare_digest" in sigv4_known.KnownClaims.find.__code__.co_names


def test_a_key_that_was_taken_away_opens_nothing_more() -> None:
    cache = SigningKeyCache()
    check(_SIGNED, signing_keys=cache)

    def nobody(_: AccessKeyId) -> str | None:
        return None

    assert cache.known.find(_SIGNED, secret_of=nobody, now_ms=NOW_MS, skew_ms_max=300_000) is None
