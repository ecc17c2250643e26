"""Heads by the short way, beside llhttp: whatever the short way reads, llhttp reads in the same way."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from streamd.server.heads import Head, HeadReader, read_head

__all__: list[str] = []

_BOTO_HEAD = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:4567\r\nAccept-Encoding: identity\r\n"
    b"X-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Type: application/x-amz-json-1.1\r\n"
    b"User-Agent: Boto3/1.44 md/Botocore#1.44 ua/2.1\r\nX-Amz-Date: 20261126T164545Z\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=A/20261126/us-east-1/kinesis/aws4_request, SignedHeaders=host, "
    b"Signature=00\r\namz-sdk-invocation-id: 01234567\r\namz-sdk-request: attempt=1\r\nContent-Length: 53\r\n\r\n"
)
_NAMES = st.sampled_from(
    ["Host", "host", "X-Amz-Target", "content-length", "Content-Length", "Transfer-Encoding", "Connection", "Expect"]
) | st.text(st.characters(codec="latin-1"), max_size=6)
_USUAL_VALUES = ["5", "05", "+5", "5, 5", "", " ", "close", "keep-alive", "chunked", "a  b", "a\tb"]
_VALUES = st.sampled_from(_USUAL_VALUES) | st.text(st.characters(codec="latin-1"), max_size=8)
_FIELDS = st.lists(st.tuples(_NAMES, st.sampled_from([":", ": ", " :", ":\t", ""]), _VALUES), max_size=5)
_STARTS = st.sampled_from(["POST / HTTP/1.1", "POST / HTTP/1.0", "POST /a?b=c HTTP/1.1", "PUT / HTTP/1.1", "POST /"])


def _head(start: str, fields: list[tuple[str, str, str]]) -> bytes:
    lines = [start, *(f"{name}{colon}{value}" for name, colon, value in (("Host", ": ", "a"), *fields)), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@given(_STARTS, _FIELDS)
@example("POST / HTTP/1.1", [("content-length", ": ", "5"), ("content-length", ": ", "5")])
@example("POST / HTTP/1.1", [("content-length", ": ", "5"), ("transfer-encoding", ": ", "chunked")])
@example("POST / HTTP/1.1", [("a", ": ", "b\r\n c")])
@example("POST / HTTP/1.1", [("a", ": ", "b\nc: d")])
@example("POST / HTTP/1.1", [("content-length", ": ", "5 ")])
@example("POST / HTTP/1.1", [("host", ": ", "b")])
@example("POST / HTTP/1.1", [("upgrade", ": ", "h2c"), ("connection", ": ", "upgrade")])
def test_the_short_way_reads_nothing_that_llhttp_reads_in_another_way(
    start: str, fields: list[tuple[str, str, str]]
) -> None:
    head = _head(start, fields)
    reader = HeadReader()

    first, second = reader.read(head), reader.read(head)

    assert first == second == read_head(head)


@given(st.integers(0, len(_BOTO_HEAD) - 5), st.binary(max_size=3), st.integers(0, 3))
def test_no_damage_to_a_head_is_read_in_another_way(start: int, damage: bytes, gone_count: int) -> None:
    reader = HeadReader()
    reader.read(_BOTO_HEAD)
    head = _BOTO_HEAD[:start] + damage + _BOTO_HEAD[start + gone_count :]
    # The door cuts a head behind its first empty line.
    assume(head.find(b"\r\n\r\n") == len(head) - 4)

    found = reader.read(head)

    assert found == read_head(head)


def test_a_head_as_sdks_send_it_is_read_by_the_short_way() -> None:
    head = HeadReader()._read_usual(_BOTO_HEAD)

    assert head is not None
    assert head == read_head(_BOTO_HEAD)
    assert head.headers["x-amz-target"] == "Kinesis_20131202.PutRecord"
    assert (head.body_byte_count, head.keeps_alive) == (53, True)


def test_lines_that_are_kept_are_bounded_in_number_and_size() -> None:
    reader = HeadReader()

    for number in range(5_000):
        reader.read(b"POST / HTTP/1.1\r\nHost: a\r\nx-number: %d\r\nx-large: %b\r\n\r\n" % (number, b"a" * 1_000))

    assert len(reader._field_by_line) <= 2_000
    assert max(map(len, reader._field_by_line)) <= 512


@pytest.mark.parametrize("name", ["Authorization", "amz-sdk-invocation-id"])
def test_lines_that_never_come_again_are_not_kept(name: str) -> None:
    reader = HeadReader()

    head = reader.read(f"POST / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n\r\n".encode())

    assert head == Head("/", "", {"host": "a", name.lower(): "1"}, 0, keeps_alive=True)
    assert list(reader._field_by_line) == [b"Host: a"]
