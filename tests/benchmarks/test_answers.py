"""The generator counts only answers that are whole and say yes."""

import pytest

from benchmarks.answers import GeneratorFault, reader_of
from benchmarks.load import Request, Wire

__all__: list[str] = []

_BATCH = Request(content=b"", record_count=2, byte_count=2)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 20, 45, 60])
def test_an_http_answer_is_whole_only_with_its_last_byte(cut: int) -> None:
    body = b'{"FailedRecordCount": 0,"Records":[]}'
    answer = _HEAD % len(body) + body
    reader = reader_of(Wire.HTTP)
    reader.expect(_BATCH)

    is_whole_before = reader.feed(answer[:cut])
    is_whole = reader.feed(answer[cut:])

    assert (is_whole_before, is_whole, reader.failure) == (False, True, "")


@pytest.mark.parametrize(
    "answer",
    [
        _HEAD % 25 + b'{"FailedRecordCount": 12}',
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_an_http_answer_that_refuses_does_not_count(answer: bytes) -> None:
    reader = reader_of(Wire.HTTP)
    reader.expect(_BATCH)

    is_whole = reader.feed(answer)

    assert is_whole
    assert reader.failure


def test_a_read_that_gives_less_than_its_records_does_not_count() -> None:
    reader = reader_of(Wire.HTTP)
    reader.expect(Request(content=b"", record_count=2, byte_count=9, is_read=True, answer_byte_count=9))

    is_whole = reader.feed(_HEAD % 2 + b"{}")

    assert is_whole
    assert reader.failure


def test_an_answer_without_a_length_stops_the_generator() -> None:
    reader = reader_of(Wire.HTTP)
    reader.expect(_BATCH)

    with pytest.raises(GeneratorFault):
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")


@pytest.mark.parametrize(
    ("wire", "yes", "no"),
    [
        (Wire.REDIS, b"$3\r\n1-0\r\n", b"-ERR full\r\n"),
        (
            Wire.NATS,
            b'MSG inbox.0000 1 23\r\n{"stream":"s","seq":12}\r\n',
            b'MSG inbox.0000 1 23\r\n{"error":{"code":503}}\r\n',
        ),
    ],
)
def test_a_pipeline_is_answered_when_every_part_of_it_is(wire: Wire, yes: bytes, no: bytes) -> None:
    pipeline = Request(content=b"", record_count=2, byte_count=2, answer_count=2)
    reader = reader_of(wire)

    reader.expect(pipeline)
    after_one, after_half, after_two = reader.feed(yes), reader.feed(yes[:-3]), reader.feed(yes[-3:])
    failure = reader.failure
    reader.expect(pipeline)
    after_refusal = reader.feed(yes + no)

    assert (after_one, after_half, after_two, failure) == (False, False, True, "")
    assert after_refusal
    assert reader.failure
