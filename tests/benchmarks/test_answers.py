"""The generator counts only answers that are whole and say yes."""

import socket
import threading
from dataclasses import dataclass

import pytest

from benchmarks.answers import GeneratorFault, reader_of
from benchmarks.generator import drive
from benchmarks.load import Load, Request, Wire

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


class _Babbler(threading.Thread):
    """A server that answers one request and goes on talking, as a NATS server that pings does."""

    def __init__(self) -> None:
        super().__init__(name="babbler")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            while connection.recv(1024):
                connection.sendall(b'MSG inbox.0000 1 7\r\n{"seq":1}\r\n')
                connection.sendall(b"PING\r\n")


@dataclass(frozen=True, slots=True)
class _One:
    """The same request over and over."""

    def build(self, _: int) -> list[Request]:
        """Build it."""
        return [Request(content=b"PUB records inbox.0000 0\r\n\r\n", record_count=1, byte_count=1)]


def test_words_that_nobody_asked_for_are_no_answer() -> None:
    babbler = _Babbler()
    babbler.start()

    outcome = drive(Load(port=babbler.port, wire=Wire.NATS, source=_One(), connection_count=1, duration_s=0.2))

    babbler.join()
    assert outcome.failure_count == 0
    assert outcome.put_count == outcome.put_request_count > 0
