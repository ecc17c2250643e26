"""Short ways beside the general ones: whatever a short way takes, the general way reads to the same."""

from base64 import b64encode
from typing import Any

import cbor2
import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from streamd.core.sigv4 import AccessKeyId, Caller, Credentials, SignedRequest, sign
from streamd.errors_auth import AuthenticationError
from streamd.kinesis.codecs import CBOR, JSON
from streamd.kinesis.plain_puts import read_plain_put
from streamd.kinesis.validation import check
from streamd.server.auth import AccessKeys, Authenticator
from tests.fuzz.mutations import examples, mutated

__all__: list[str] = []

_NOW_MS = 1_790_000_000_000
_PUTS: list[dict[str, Any]] = [
    {"StreamName": "s", "PartitionKey": "k", "Data": b"data"},
    {"Data": b"\xff" * 4, "PartitionKey": "é😀", "StreamName": "a.b_c-9"},
    {"StreamName": "s", "PartitionKey": "k", "Data": b"", "StreamId": None},
    {"StreamName": "s", "PartitionKey": "k", "Data": b"d", "ExplicitHashKey": "0"},
]
_IN_JSON = [orjson.dumps(put | {"Data": b64encode(put["Data"]).decode()}) for put in _PUTS]
_IN_CBOR = [cbor2.dumps(put) for put in _PUTS]
_JSON_WORDS = [
    b'"StreamName":"t",',
    b'"Data":"",',
    b"=",
    b"==",
    b"\\u006b",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b" ",
    b"{}",
]
_CBOR_WORDS = [
    b"\x64Data\x40",
    b"\x64Data\x5f\x41a\xff",
    b"\x6aStreamName\x61t",
    b"\xf6",
    b"\xa0",
    b"\xc1\x00",
    b"\xff",
]


def _assert_both_ways_read_the_same(body: bytes, content_type: str) -> None:
    headers = {"content-type": content_type, "x-amz-target": "Kinesis_20131202.PutRecord"}

    put = read_plain_put(SignedRequest("POST", "/", "", headers, body))

    if put is not None:
        codec = CBOR if content_type == CBOR.content_type else JSON
        members = check("PutRecord", codec.decode(body))
        assert members == {"StreamName": put.stream_name, "PartitionKey": put.key.decode(), "Data": put.data}


@given(mutated(_IN_JSON, words=_JSON_WORDS))
@example(_IN_JSON[0])
@examples(500)
def test_a_plain_put_in_json_is_what_the_general_way_reads(body: bytes) -> None:
    _assert_both_ways_read_the_same(body, JSON.content_type)


@given(mutated(_IN_CBOR, words=_CBOR_WORDS))
@example(_IN_CBOR[0])
@examples(500)
def test_a_plain_put_in_cbor_is_what_the_general_way_reads(body: bytes) -> None:
    _assert_both_ways_read_the_same(body, CBOR.content_type)


_KEYS = Credentials("AKIDFUZZ", "a-secret-of-some-length")
_KEY_FILE = f'[[key]]\nid = "{_KEYS.access_key_id}"\nsecret = "{_KEYS.secret}"\n'
_HEADERS = {"host": "localhost", "x-amz-target": "Kinesis_20131202.ListStreams", "content-type": "application/json"}
_REQUEST = SignedRequest("POST", "/", "", _HEADERS, b"{}")
_SIGNED = _HEADERS | sign(_REQUEST, _KEYS, region="us-east-1", service="kinesis", now_ms=_NOW_MS)
_SIGN_WORDS = [b"Credential=", b"SignedHeaders=", b"Signature=", b"Signature", b"host;", b",", b" ", b"/", b"\xe9"]


def _verdict(authenticator: Authenticator, request: SignedRequest) -> Caller | str:
    try:
        return authenticator.authenticate(request)
    except AuthenticationError as refusal:
        return f"{type(refusal).__name__}: {refusal}"


@given(
    name=st.sampled_from([*_SIGNED, "x-amz-content-sha256", "x-amz-security-token", "date"]),
    data=st.data(),
    query=st.sampled_from(["", "", "", "a", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "Signature=0"]),
    body=st.sampled_from([b"{}", b"{}", b"{}", b"", b"[]"]),
    age_ms=st.sampled_from([0, 0, 0, 299_999, 300_000, -300_000, -300_001]),
)
@examples(500)
def test_a_signature_of_known_claims_is_worth_what_it_is_worth_to_strangers(
    name: str, data: st.DataObject, query: str, body: bytes, age_ms: int
) -> None:
    moment_ms = [_NOW_MS]
    knowing, cold = [
        Authenticator(AccessKeys.parse(_KEY_FILE), lambda: moment_ms[0], region="us-east-1") for _ in range(2)
    ]
    assert _verdict(knowing, _REQUEST._replace(headers=_SIGNED)) == Caller(
        AccessKeyId(_KEYS.access_key_id), "us-east-1", "kinesis"
    )
    value = data.draw(mutated([_SIGNED.get(name, "").encode()], words=_SIGN_WORDS))
    headers = _SIGNED | {name: value.decode("utf-8", "surrogateescape")}
    moment_ms[0] += age_ms

    request = SignedRequest("POST", "/", query, headers, body)

    assert _verdict(knowing, request) == _verdict(cold, request)
