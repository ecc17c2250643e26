"""Each fault of a signature, with the sentence AWS answers."""

import hashlib

import pytest

from streamd.core.sigv4 import Credentials, SignedRequest
from streamd.errors_auth import (
    AccessKeyUnknown,
    AlgorithmUnsupported,
    AuthorizationMalformed,
    CredentialMalformed,
    DateMalformed,
    ExpiryMalformed,
    HeaderNotSigned,
    HeaderPartsMissing,
    MissingAuthenticationToken,
    QueryPartsMissing,
    ScopeMismatch,
    SecurityTokenUnexpected,
    SignatureDoubled,
    SignatureExpired,
    SignatureMismatch,
    SignatureNotYetCurrent,
)
from tests.core.signed_requests import (
    KEY_ID,
    MISMATCH,
    NOW_MS,
    REQUEST,
    SECRET,
    check,
    presigned,
    sentence_of,
    signed,
    with_headers,
    with_query,
)


def test_a_request_without_any_signature_is_missing_its_token() -> None:
    sentence = sentence_of(MissingAuthenticationToken, REQUEST)

    assert sentence == "Missing Authentication Token"


def test_query_parameters_without_an_algorithm_are_no_signature() -> None:
    request = with_query(REQUEST, "X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-SignedHeaders=c&X-Amz-Date=d")

    sentence = sentence_of(MissingAuthenticationToken, request)

    assert sentence == "Missing Authentication Token"


def test_a_request_signed_in_both_places_is_refused() -> None:
    request = with_query(with_headers(REQUEST, authorization="X"), "X-Amz-Algorithm")

    sentence = sentence_of(SignatureDoubled, request)

    assert sentence == "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."


def test_each_missing_part_of_the_header_is_named() -> None:
    request = with_headers(REQUEST, authorization="X")

    sentence = sentence_of(HeaderPartsMissing, request)

    assert sentence == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "(Hashed with SHA-256 and encoded with Base64) "
        "Authorization=S2irOEf+2n1sYsH7y+6/o16rc1HtXnj03a3qXfZLgBU="
    )


@pytest.mark.parametrize("between", [" ", ",", ", "])
def test_parts_of_the_header_may_be_parted_by_commas_or_blanks(between: str) -> None:
    request = with_headers(REQUEST, authorization=f"AWS4- Signature=b{between}Credential=a", date="a")

    sentence = sentence_of(HeaderPartsMissing, request)

    assert sentence.startswith("Authorization header requires 'SignedHeaders' parameter. (Hashed")


def test_a_part_without_equal_sign_is_malformed() -> None:
    request = with_headers(REQUEST, authorization="AWS4-HMAC-SHA256 Credential")

    sentence = sentence_of(AuthorizationMalformed, request)

    assert sentence == (
        "Invalid key=value pair (missing equal-sign) in Authorization header "
        "(hashed with SHA-256 and encoded with Base64): 'KfSoC26UaBDGXxo5AUFS45c1cmAbyLKDOxOTKcZYWt4='."
    )


def test_each_missing_part_of_the_query_is_named() -> None:
    request = with_query(REQUEST, "X-Amz-Algorithm")

    sentence = sentence_of(QueryPartsMissing, request)

    assert sentence == (
        "AWS query-string parameters must include 'X-Amz-Algorithm'. "
        "AWS query-string parameters must include 'X-Amz-Credential'. "
        "AWS query-string parameters must include 'X-Amz-Signature'. "
        "AWS query-string parameters must include 'X-Amz-SignedHeaders'. "
        "AWS query-string parameters must include 'X-Amz-Date'. "
        "Re-examine the query-string parameters."
    )


@pytest.mark.parametrize(
    "date",
    ["201", "20151301T000000Z", "20150122 010822Z", "2015\u0966122T010822Z", "Thu, 22 Foo 2015 01:08:22 GMT"],
)
def test_a_date_of_another_form_is_refused(date: str) -> None:
    request = with_headers(signed(), x_amz_date=date)

    sentence = sentence_of(DateMalformed, request)

    assert sentence == (
        f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def test_an_expired_signature_is_refused() -> None:
    request = signed()

    sentence = sentence_of(SignatureExpired, request, now_ms=NOW_MS + 301_000)

    assert sentence == (
        "Signature expired: 20150122T010822Z is now earlier than 20150122T010823Z (20150122T011323Z - 5 min.)"
    )


def test_a_signature_from_the_future_is_refused() -> None:
    request = signed()

    sentence = sentence_of(SignatureNotYetCurrent, request, now_ms=NOW_MS - 301_000)

    assert sentence == (
        "Signature not yet current: 20150122T010822Z is still later than 20150122T010821Z (20150122T010321Z + 5 min.)"
    )


@pytest.mark.parametrize("late_ms", [-300_000, 0, 300_999])
def test_five_minutes_of_skew_are_forgiven(late_ms: int) -> None:
    request = signed()

    caller = check(request, now_ms=NOW_MS + late_ms)

    assert caller.access_key_id == KEY_ID


def test_a_presigned_request_holds_until_its_own_expiry() -> None:
    request = presigned(expires_s=3601)

    caller = check(request, now_ms=NOW_MS + 3_601_999)
    sentence = sentence_of(SignatureExpired, request, now_ms=NOW_MS + 3_602_000)

    assert caller.access_key_id == KEY_ID
    assert sentence == (
        "Signature expired: 20150122T010822Z is now earlier than 20150122T010823Z (20150122T020824Z - 3601 sec.)"
    )


@pytest.mark.parametrize(
    ("expires", "sentence"),
    [
        ("soon", "X-Amz-Expires should be a number"),
        ("-1", "X-Amz-Expires should be a number"),
        ("9" * 5000, "X-Amz-Expires should be a number"),
        ("0", "X-Amz-Expires must be at least 1 second"),
        (
            "604801",
            (
                "X-Amz-Expires must be less than a week (in seconds); that is, "
                "the given X-Amz-Expires must be less than 604800 seconds"
            ),
        ),
    ],
)
def test_an_expiry_out_of_bounds_is_refused(expires: str, sentence: str) -> None:
    request = presigned(expires_s=600)
    changed = with_query(request, request.query.replace("X-Amz-Expires=600", f"X-Amz-Expires={expires}"))

    assert sentence_of(ExpiryMalformed, changed) == sentence


def test_an_expiry_of_a_week_is_accepted() -> None:
    request = presigned(expires_s=604_800)

    caller = check(request, now_ms=NOW_MS + 604_800_000)

    assert caller.access_key_id == KEY_ID


def test_the_host_must_be_signed() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace(";host", "")

    sentence = sentence_of(HeaderNotSigned, with_headers(request, authorization=authorization))

    assert sentence == "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."


def test_a_presigned_request_cannot_be_turned_into_another_operation() -> None:
    request = presigned(SignedRequest("POST", "/", "", {"host": "a.example"}, b"{}"))

    turned = with_headers(request, x_amz_target="Kinesis_20131202.DeleteStream")

    assert sentence_of(HeaderNotSigned, turned) == ("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")


def test_another_algorithm_is_refused() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace("SHA256", "SHA25")

    sentence = sentence_of(AlgorithmUnsupported, with_headers(request, authorization=authorization))

    assert sentence == "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). "


def test_a_credential_of_four_parts_is_refused() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace("/kinesis/", "/")

    sentence = sentence_of(CredentialMalformed, with_headers(request, authorization=authorization))

    assert sentence == (
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
        "got 'AKIDEXAMPLE/20150122/us-east-1/aws4_request'"
    )


def test_every_fault_of_the_scope_is_named() -> None:
    request = signed()
    authorization = request.headers["authorization"].replace(
        "AKIDEXAMPLE/20150122/us-east-1/kinesis/aws4_request", "a/b/c!/d/e"
    )

    sentence = sentence_of(ScopeMismatch, with_headers(request, authorization=authorization))

    assert sentence == (
        "Credential should be scoped to a valid region, not 'c!'. "
        "Credential should be scoped to correct service: 'kinesis'. "
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        "'b' != '20150122', from '20150122T010822Z'."
    )


def test_a_key_for_another_service_is_refused() -> None:
    request = signed(service="dynamodb")

    sentence = sentence_of(ScopeMismatch, request)

    assert sentence == "Credential should be scoped to correct service: 'kinesis'. "


def test_an_unknown_key_is_refused() -> None:
    request = signed(credentials=Credentials("AKIDOTHER", SECRET))

    sentence = sentence_of(AccessKeyUnknown, request)

    assert sentence == "The security token included in the request is invalid."


def test_a_wrong_secret_is_refused() -> None:
    request = signed(credentials=Credentials(KEY_ID, SECRET.lower()))

    assert sentence_of(SignatureMismatch, request) == MISMATCH


def test_a_session_token_is_refused_after_the_signature() -> None:
    session = Credentials(KEY_ID, SECRET, "token")

    in_header, in_query = signed(credentials=session), presigned(credentials=session)

    for request in (in_header, in_query):
        assert sentence_of(SecurityTokenUnexpected, request) == (
            "The security token included in the request is invalid"
        )
    assert sentence_of(SignatureMismatch, with_headers(in_header, x_amz_security_token="other")) == MISMATCH


@pytest.mark.parametrize("stated", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "0" * 64])
def test_a_stated_body_hash_that_is_not_the_bodys_is_refused(stated: str) -> None:
    request = signed(with_headers(REQUEST, x_amz_content_sha256=stated))

    assert sentence_of(SignatureMismatch, request) == MISMATCH


def test_a_stated_body_hash_that_is_the_bodys_is_accepted() -> None:
    stated = hashlib.sha256(REQUEST.body).hexdigest()

    caller = check(signed(with_headers(REQUEST, x_amz_content_sha256=stated)))

    assert caller.access_key_id == KEY_ID


@pytest.mark.parametrize("signature", ["é", chr(0xDCFF), chr(0xD800), "0" * 63, "0" * 65])
def test_a_signature_that_is_no_signature_is_refused(signature: str) -> None:
    request = signed()
    authorization = request.headers["authorization"].rpartition("=")[0] + "=" + signature

    assert sentence_of(SignatureMismatch, with_headers(request, authorization=authorization)) == MISMATCH
