"""Signature Version 4, beside botocore's own signers."""

import hmac
import traceback
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from streamd.core import sigv4
from streamd.core.sigv4 import Caller, Credentials, SignedRequest, SigningKeyCache, claimed_scope, verify
from streamd.core.sigv4_canonical import canonical_query, query_pairs, time_ms_of, timestamp_of
from streamd.errors_auth import (
    AuthenticationError,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    SignatureMismatch,
    UnrecognizedClient,
)
from tests.core.signed_requests import (
    CALLER,
    CREDENTIALS,
    KEY_ID,
    MISMATCH,
    NOW_MS,
    REQUEST,
    SECRET,
    TARGET,
    check,
    presigned,
    sentence_of,
    signed,
    with_headers,
    with_query,
    without_header,
)

names = st.from_regex(r"x-[a-z0-9]{1,10}(-[a-z0-9]{1,10})?", fullmatch=True).filter(lambda name: "amz" not in name)
values = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
paths = st.lists(texts, max_size=5).map(
    lambda segments: "/" + "/".join(quote(segment, safe="") for segment in segments)
)
pairs = st.dictionaries(texts.filter(bool), texts, max_size=4)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
regions = st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1", "local"])


def received(boto_request: AWSRequest, body: bytes) -> SignedRequest:
    """Give a request that botocore signed as a server receives it."""
    path_and_query = "/" + boto_request.url.split("://", 1)[1].partition("/")[2]
    path, _, query = path_and_query.partition("?")
    headers = {"host": "localhost:4567"}
    for name in boto_request.headers:
        headers[name.lower()] = ",".join(value.strip() for value in boto_request.headers.get_all(name))
    return SignedRequest(boto_request.method, path, query, headers, body)


def cached_regions(cache: SigningKeyCache, regions_asked: str) -> str:
    """Tell which of these one-letter regions have a signing key in the cache."""
    found = ""
    for region in regions_asked:
        scope = claimed_scope(signed(region=region).headers, "")
        assert scope is not None
        found += region if cache.find(scope, SECRET) else ""
    return found


@given(methods, paths, pairs, st.dictionaries(names, values, max_size=4), st.binary(max_size=200), regions)
def test_what_botocore_signs_in_a_header_is_verified(
    method: str,
    path: str,
    query_pairs_sent: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    region: str,
) -> None:
    query = canonical_query((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query_pairs_sent.items())
    url = f"http://localhost:4567{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=headers, data=body)

    SigV4Auth(BotoCredentials(KEY_ID, SECRET), "kinesis", region).add_auth(request)

    wire = received(request, body)
    now_ms = time_ms_of(request.headers["X-Amz-Date"])
    assert check(wire, now_ms=now_ms) == Caller(KEY_ID, region, "kinesis")


@given(methods, paths, pairs, regions)
def test_what_botocore_presigns_is_verified(
    method: str, path: str, query_pairs_sent: dict[str, str], region: str
) -> None:
    request = AWSRequest(
        method=method,
        url=f"http://localhost:4567{path}",
        params=query_pairs_sent,
        headers={"x-amz-target": TARGET},
    )

    SigV4QueryAuth(BotoCredentials(KEY_ID, SECRET), "kinesis", region, expires=60).add_auth(request)

    wire = received(request, b"")
    now_ms = time_ms_of(dict(query_pairs(wire.query))["X-Amz-Date"])
    assert check(wire, now_ms=now_ms) == Caller(KEY_ID, region, "kinesis")


def test_a_date_header_instead_of_an_amz_date_is_verified() -> None:
    request = AWSRequest(method="POST", url="http://localhost:4567/", headers={"Date": "now"}, data=b"{}")

    SigV4Auth(BotoCredentials(KEY_ID, SECRET), "kinesis", "us-east-1").add_auth(request)

    wire = received(request, b"{}")
    assert "x-amz-date" not in wire.headers
    assert check(wire, now_ms=time_ms_of(request.headers["Date"])).access_key_id == KEY_ID


@given(methods, paths, pairs, st.dictionaries(names, values, max_size=4), st.binary(max_size=200))
def test_what_we_sign_and_presign_is_verified(
    method: str, path: str, query_pairs_sent: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in query_pairs_sent.items())
    request = SignedRequest(method, path, query, {"host": "a.example", **headers}, body)

    in_header, in_query = signed(request), presigned(request)

    assert check(in_header) == check(in_query) == CALLER


@pytest.mark.parametrize("sent", [signed(), presigned()], ids=["signed", "presigned"])
@pytest.mark.parametrize("part", ["method", "path", "query", "body", "host", "x-amz-target"])
def test_changing_anything_that_was_signed_breaks_the_signature(sent: SignedRequest, part: str) -> None:
    changed = SignedRequest(
        "PUT" if part == "method" else sent.method,
        "/other" if part == "path" else sent.path,
        f"{sent.query}&a=b" if part == "query" else sent.query,
        {name: "other" if part == name else value for name, value in sent.headers.items()},
        b"{}" if part == "body" else sent.body,
    )

    assert sentence_of(InvalidSignature, changed) == MISMATCH


def test_changing_the_date_breaks_the_signature() -> None:
    changed = with_headers(signed(), x_amz_date="20150122T010823Z")

    assert sentence_of(InvalidSignature, changed) == MISMATCH


def test_a_header_sent_twice_counts_with_all_its_values() -> None:
    request = AWSRequest(method="POST", url="http://localhost:4567/", data=b"{}")
    request.headers.add_header("x-tag", "b  c ")
    request.headers.add_header("x-tag", "a")

    SigV4Auth(BotoCredentials(KEY_ID, SECRET), "kinesis", "us-east-1").add_auth(request)

    wire = received(request, b"{}")
    assert wire.headers["x-tag"] == "b  c,a"
    assert check(wire, now_ms=time_ms_of(request.headers["X-Amz-Date"])) == CALLER


def test_a_signed_header_that_a_proxy_removed_counts_as_empty() -> None:
    request = signed(with_headers(REQUEST, x_gone=""))

    caller = check(without_header(request, "x-gone"))

    assert caller.access_key_id == KEY_ID


@pytest.mark.parametrize("spelling", ["a=%c3%a9&b=%41", "a=%C3%A9&b=A"])
def test_every_spelling_of_a_query_verifies_alike(spelling: str) -> None:
    request = signed(with_query(REQUEST, "b=A&a=%C3%A9"))

    caller = check(with_query(request, spelling))

    assert caller.access_key_id == KEY_ID


@pytest.mark.parametrize("path", ["/a/./b//c/d/..", "/../a/b/c", "/a/b/c"])
def test_every_spelling_of_a_path_verifies_alike(path: str) -> None:
    request = signed(SignedRequest("POST", "/a/b/c", "", REQUEST.headers, b""))

    caller = check(SignedRequest("POST", path, "", request.headers, b""))

    assert caller == CALLER


def test_bytes_in_a_header_that_are_no_text_are_signed_as_they_are() -> None:
    request = with_headers(REQUEST, x_tag=b"caf\xe9".decode("utf-8", "surrogateescape"))

    caller = check(signed(request))

    assert caller == CALLER


def test_a_header_that_no_wire_can_carry_is_refused() -> None:
    request = signed(with_headers(REQUEST, x_tag="a"))

    assert sentence_of(SignatureMismatch, with_headers(request, x_tag="\ud800")) == MISMATCH


def test_a_service_may_be_one_of_those_expected() -> None:
    request = signed(service="lambda")

    caller = check(request, services={"lambda"})

    assert caller == Caller(KEY_ID, "us-east-1", "lambda")


def test_signatures_are_compared_in_constant_time() -> None:
    assert vars(sigv4)["compare_digest"] is hmac.compare_digest
    assert "compare_digest" in sigv4._check_signature.__code__.co_names


def test_the_cache_of_signing_keys_is_bounded_and_keeps_the_latest() -> None:
    cache = SigningKeyCache(count_max=2)

    # Each request signs another header: claims that were verified before would need no signing key.
    for number, region in enumerate("abac"):
        check(signed(with_headers(REQUEST, **{f"x_{number}": "1"}), region=region), signing_keys=cache)

    assert len(cache) == 2
    assert cached_regions(cache, "abc") == "ac"


def test_a_wrong_signature_leaves_nothing_in_the_cache() -> None:
    cache = SigningKeyCache()

    with pytest.raises(SignatureMismatch):
        check(signed(credentials=Credentials(KEY_ID, "wrong")), signing_keys=cache)

    assert len(cache) == 0


def test_a_cached_key_does_not_outlive_its_secret() -> None:
    cache = SigningKeyCache()
    request = signed()
    check(request, signing_keys=cache)

    with pytest.raises(SignatureMismatch):
        verify(request, secret_of=lambda _: "replaced", signing_keys=cache, now_ms=NOW_MS)


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_makes_verification_raise_anything_else(authorization: str, date: str, query: str, path: str) -> None:
    request = SignedRequest("POST", path, query, {"authorization": authorization, "x-amz-date": date}, b"")

    with pytest.raises(AuthenticationError) as caught:
        check(request)

    assert isinstance(
        caught.value, MissingAuthenticationToken | IncompleteSignature | InvalidSignature | UnrecognizedClient
    )
    str(caught.value).encode()
    claimed_scope(request.headers, request.query)


@given(st.data())
def test_no_damage_to_a_signed_request_gets_through(data: st.DataObject) -> None:
    request = data.draw(st.sampled_from([signed(), presigned()]))
    whole = request.query or request.headers["authorization"]
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 12)))
    damaged = whole[:start] + data.draw(st.text(st.characters(), max_size=4)) + whole[end:]
    changed = with_query(request, damaged) if request.query else with_headers(request, authorization=damaged)

    try:
        caller = check(changed)
    except AuthenticationError as error:
        str(error).encode()
    else:
        # Some damage is only another spelling of the same request.
        assert caller == CALLER


def test_a_claimed_scope_is_read_from_header_and_query() -> None:
    in_header, in_query = signed(region="eu-west-1"), presigned()

    scopes = [claimed_scope(request.headers, request.query) for request in (in_header, in_query)]

    assert [(scope.access_key_id, scope.region, scope.service) for scope in scopes if scope is not None] == [
        (KEY_ID, "eu-west-1", "kinesis"),
        (KEY_ID, "us-east-1", "kinesis"),
    ]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "X",
        "AWS4-HMAC-SHA256 Credential=a/b/c",
        "AWS4-HMAC-SHA256 Credential=a/20150122/e:vil/kinesis/aws4_request",
    ],
)
def test_a_claim_that_cannot_be_real_is_none(authorization: str) -> None:
    assert claimed_scope({"authorization": authorization}, "") is None
    assert claimed_scope({}, "") is None


@given(st.integers(0, 253_402_300_799))
def test_times_are_read_back_as_written(seconds: int) -> None:
    assert time_ms_of(timestamp_of(seconds * 1000)) == seconds * 1000


def test_secrets_are_in_no_representation_and_no_traceback() -> None:
    request = signed(credentials=Credentials(KEY_ID, SECRET.lower(), "the-token"))

    with pytest.raises(SignatureMismatch) as caught:
        check(request)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    shown += repr(CREDENTIALS) + repr(SigningKeyCache()) + repr(Credentials(KEY_ID, SECRET, "the-token"))

    assert SECRET not in shown
    assert SECRET.lower() not in shown
    assert "the-token" not in shown
