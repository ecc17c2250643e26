"""Every decoder by itself: it reads what it is given or says in its own words that it cannot."""

import contextlib
import struct
from hashlib import md5, sha256
from typing import Any
from zlib import crc32

import cbor2
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamd.core import event_stream
from streamd.core.aggregation import deaggregate
from streamd.core.blocks import BlockHeader, RecordColumns, body_of, decode, encode, header_of, is_intact, sealed_body
from streamd.core.event_stream import Message
from streamd.core.sequence_numbers import parse
from streamd.core.sigv4 import Credentials, SignedRequest, sign
from streamd.core.sigv4_claims import claimed_scope
from streamd.core.tokens import PageToken, ShardIterator, TokenMint
from streamd.errors import ConfigInvalid, FormatUnknown, IteratorExpired, MessageDamaged, TokenExpired, TokenInvalid
from streamd.errors_auth import AuthenticationError
from streamd.kinesis.codecs import CBOR, JSON
from streamd.kinesis.faults import SerializationFailed, ValidationFailed
from streamd.kinesis.operations import HANDLER_BY_OPERATION
from streamd.kinesis.validation import check, check_entries
from streamd.server.auth import AccessKeys, Authenticator
from tests.fuzz.mutations import examples, mutated

__all__: list[str] = []

_NOW_MS = 1_790_000_000_000
_KEYS = Credentials("AKIDFUZZ", "a-secret-of-some-length")
_PUT = {"StreamName": "s", "PartitionKey": "k", "Data": "ZGF0YQ==", "ExplicitHashKey": "0"}
_BATCH = {"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": "ZGF0YQ=="}, {"PartitionKey": "é", "Data": ""}]}
_READ = {"StreamName": "s", "ShardId": "x", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1.5e9}
_DOCUMENTS = [_PUT, _BATCH, _READ, {"StreamNames": [None, True, -1, 1e300, {"a": [[]]}]}]
_JSON_WORDS = [b"[" * 300, b'{"a":' * 300, b"9" * 5000, b"NaN", b"1e999999", b'"\\ud800"', b"\xff", b"\x00", b"null"]
_CBOR_WORDS = [
    b"\x9f" * 200,
    b"\xbf" * 200,
    b"\x81" * 2000,
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xc2\x5a\x00\xff\xff\xff",
    b"\xd8\x1c",
    b"\xd8\x1d\x00",
    b"\xf9\x7e\x00",
    b"\xc1\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x5f\x41a\xff",
    b"\xf8\x01",
]


def _check_all(document: object) -> None:
    """Hold a document against the shape of every operation."""
    for operation in HANDLER_BY_OPERATION:
        with contextlib.suppress(SerializationFailed, ValidationFailed):
            check(operation, document)
    with contextlib.suppress(SerializationFailed, ValidationFailed):
        check_entries(document)


@example(b"[" * 1_000_000)
@example(b"1" * 1_000_000)
@example(b'{"a":' * 100_000)
@given(mutated([orjson.dumps(document) for document in _DOCUMENTS], words=_JSON_WORDS))
@examples(300)
def test_json_is_read_or_refused(body: bytes) -> None:
    try:
        document = JSON.decode(body)
    except SerializationFailed:
        return
    _check_all(document)


@example(b"\x9f" * 1_000_000)
@example(b"\x81" * 1_000_000)
@example(b"\xc1" * 1_000_000)
@example(b"\x5f" + b"\x40" * 1_000_000)
@given(mutated([cbor2.dumps(document) for document in _DOCUMENTS], words=_CBOR_WORDS))
@examples(300)
def test_cbor_is_read_or_refused(body: bytes) -> None:
    try:
        document = CBOR.decode(body)
    except SerializationFailed:
        return
    _check_all(document)


def _signed() -> dict[str, str]:
    headers = {"host": "localhost", "x-amz-target": "Kinesis_20131202.ListStreams"}
    request = SignedRequest(method="POST", path="/", query="", headers=headers, body=b"{}")
    return headers | sign(request, _KEYS, region="us-east-1", service="kinesis", now_ms=_NOW_MS)


_QUERY = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDFUZZ%2F20260921%2Fus-east-1%2Fkinesis%2Faws4_request"
    b"&X-Amz-Date=20260921T000000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=" + b"0" * 64
)
_SIGN_WORDS = [
    b"Credential=",
    b"SignedHeaders=",
    b"Signature=",
    b",",
    b"/",
    b";",
    b"%",
    b"%zz",
    b"&",
    b"=" * 50,
    b"\xe9",
]


@given(
    authorization=mutated([_signed()["authorization"].encode()], words=_SIGN_WORDS),
    date=mutated([_signed()["x-amz-date"].encode()]),
    query=mutated([b"", _QUERY], words=_SIGN_WORDS),
    digest=st.sampled_from([sha256(b"{}").hexdigest(), "UNSIGNED-PAYLOAD", "", "x"]),
)
@examples(400)
def test_a_signature_is_verified_or_refused(authorization: bytes, date: bytes, query: bytes, digest: str) -> None:
    secret = f'[[key]]\nid = "{_KEYS.access_key_id}"\nsecret = "{_KEYS.secret}"\n'
    authenticator = Authenticator(AccessKeys.parse(secret), lambda: _NOW_MS, region="us-east-1")
    headers = _signed() | {
        "authorization": authorization.decode("utf-8", "surrogateescape"),
        "x-amz-date": date.decode("utf-8", "surrogateescape"),
        "x-amz-content-sha256": digest,
    }
    text = query.decode("utf-8", "surrogateescape")
    request = SignedRequest(method="POST", path="/", query=text, headers=headers, body=b"{}")

    for ask in (authenticator.authenticate, authenticator.admit):
        with contextlib.suppress(AuthenticationError):
            ask(request)
    claimed_scope(headers, text)


_MINT = TokenMint(b"s" * 32)
_PLACE = ShardIterator(stream_name="s", stream_number=1, shard_index=2, after=3, created_ms=_NOW_MS)
_PAGE = PageToken(scope="ListStreams", after="s", created_ms=_NOW_MS)


@given(mutated([_MINT.iterator(_PLACE).encode(), _MINT.page(_PAGE).encode()], words=[b"=", b"A" * 40, b"\xff"]))
@examples(400)
def test_a_token_is_the_one_that_was_made_or_none(token: bytes) -> None:
    text = token.decode("utf-8", "replace")

    with contextlib.suppress(TokenInvalid, IteratorExpired):
        assert _MINT.read_iterator(text, now_ms=_NOW_MS) == _PLACE
    with contextlib.suppress(TokenInvalid, TokenExpired):
        assert _MINT.read_page(text, scope="ListStreams", now_ms=_NOW_MS) == _PAGE


@given(st.from_regex(r"\A(0|[1-9][0-9]{0,128})\Z") | st.integers(0, 1 << 190).map(str))
@examples(300)
def test_a_sequence_number_reads_back_as_it_was_or_is_none(text: str) -> None:
    number = parse(text)

    assert number is None or str(number) == text


_RECORDS = RecordColumns([b"key", None, b""], [b"data", b"", b"x" * 100])
_BLOCK = encode(BlockHeader(record_count=3, arrival_ms=_NOW_MS), body_of(_RECORDS), key=b"place")


@given(mutated([_BLOCK]))
@examples(400)
def test_a_block_is_whole_or_known_not_to_be(block: bytes) -> None:
    if not is_intact(block, key=b"place"):
        return
    with contextlib.suppress(FormatUnknown):
        found: Any = decode(sealed_body(block), record_count=header_of(block).record_count)
        assert found == _RECORDS


_MESSAGES = [
    event_stream.encode(Message({":message-type": "event", ":event-type": "SubscribeToShardEvent"}, b'{"Records":[]}')),
    event_stream.encode(Message({}, b"")),
]


@given(mutated(_MESSAGES))
@examples(400)
def test_a_message_of_an_event_stream_is_whole_or_refused(message: bytes) -> None:
    with contextlib.suppress(MessageDamaged):
        found = event_stream.decode(message)
        assert event_stream.encode(found) == message


_HEADER_WORDS = [
    b"\x05:kind\x07\x00\x01a",
    b"\x00\x07\xff\xff",
    b"\x01a\x06\x00\x00",
    b"\x01a\x0a",
    b"\xff" * 5,
    b"\x01\xff\x00",
]


@given(mutated([_MESSAGES[0][12:-4]], words=_HEADER_WORDS), st.integers(0, 300))
@examples(400)
def test_a_message_whose_checksums_are_right_is_still_read_with_care(rest: bytes, headers_byte_count: int) -> None:
    lengths = struct.pack(">II", len(rest) + 16, headers_byte_count)
    head = lengths + struct.pack(">I", crc32(lengths)) + rest

    with contextlib.suppress(MessageDamaged):
        event_stream.decode(head + struct.pack(">I", crc32(head)))


_PACKED = b"\x0a\x03key\x12\x010\x1a\x0a\x08\x00\x10\x00\x1a\x04data\x1a\x08\x08\x00\x1a\x04more"
_PACKED_WORDS = [
    b"\x1a\x00",
    b"\xff" * 10,
    b"\x08\xff\xff\xff\xff\x0f",
    b"\x1a\xff\xff\xff\x7f",
    b"\x0b\x0c",
    b"\x0a\x01\xff",
]


@given(mutated([_PACKED], words=_PACKED_WORDS))
@example(_PACKED)
@examples(400)
def test_an_aggregated_record_is_unpacked_or_taken_as_it_is(packed: bytes) -> None:
    digest = md5(packed, usedforsecurity=False).digest()

    found = list(deaggregate(b"\xf3\x89\x9a\xc2" + packed + digest) or [])

    assert sum(len(record.data) for record in found) <= len(packed)


_KEY_FILE = b'[[key]]\nid = "AKIDFUZZ"\nsecret = "a-secret-of-some-length"\nname = "one"\n'
_TOML_WORDS = [
    b"[[key]]\n",
    b"[" * 2_000,
    b"x = 1979-99-99\n",
    b"x = " + b"9" * 5_000,
    b'"\\ud800"',
    b"\0",
    b"id = []\n",
    b"inf",
]


@given(mutated([_KEY_FILE], words=_TOML_WORDS))
@examples(300)
def test_a_key_file_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(ConfigInvalid):
        AccessKeys.parse(text.decode("utf-8", "replace"))


@pytest.mark.parametrize("prelude", [b"", b"\0" * 12, b"\xff" * 12, _MESSAGES[0][:11]])
def test_the_lengths_of_a_message_are_true_or_refused(prelude: bytes) -> None:
    with pytest.raises(MessageDamaged):
        event_stream.whole_byte_count(prelude)
