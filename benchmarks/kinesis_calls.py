"""Kinesis calls of the benchmarks: single ones that wait for their answer, and the bytes of many.

Made of http.client and of bytes, so that every server of the Kinesis API is driven by the same code, and nothing of a
client's cost is in a figure. Requests are signed for the pair of keys that the benchmark starts streamd with; the
other servers want a signature and believe any.
"""

import http.client
import random
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cbor2
import orjson

from benchmarks.load import Request
from streamd.core.sigv4 import Credentials, SignedRequest, sign

__all__ = [
    "CREDENTIALS",
    "Codec",
    "KinesisCaller",
    "KinesisPuts",
    "KinesisReads",
    "PutShape",
    "ReadPlace",
    "request_bytes",
]

CREDENTIALS = Credentials("AKIDBENCHMARK", "a-secret-that-opens-nothing")
_REGION = "us-east-1"
_PATIENCE_S = 60.0
_KEY_BYTE_COUNT = 8


@dataclass(frozen=True, slots=True)
class Codec:
    """JSON or CBOR."""

    name: str

    @property
    def content_type(self) -> str:
        """The media type."""
        return f"application/x-amz-{self.name}-1.1"

    def encode(self, document: dict[str, Any]) -> bytes:
        """Write a document."""
        return orjson.dumps(document) if self.name == "json" else cbor2.dumps(document)

    def decode(self, body: bytes) -> Any:
        """Read a document; an empty body is an empty one."""
        if not body:
            return {}
        return orjson.loads(body) if self.name == "json" else cbor2.loads(body)


_JSON = Codec("json")


@dataclass(frozen=True, slots=True)
class PutShape:
    """So many records of so many bytes of data, in one request."""

    record_count: int
    record_byte_count: int

    def __str__(self) -> str:
        size = self.record_byte_count
        named = f"{size // 1024} KiB" if size >= 1024 else f"{size} B"
        return named if self.record_count == 1 else f"{self.record_count} x {named}"


def request_bytes(
    port: int, operation: str, body: bytes, *, is_signed: bool, now_ms: int, codec: Codec = _JSON
) -> bytes:
    """Write a whole HTTP request."""
    headers = {
        "host": f"127.0.0.1:{port}",
        "content-type": codec.content_type,
        "x-amz-target": f"Kinesis_20131202.{operation}",
    }
    if is_signed:
        request = SignedRequest(method="POST", path="/", query="", headers=headers, body=body)
        headers |= sign(request, CREDENTIALS, region=_REGION, service="kinesis", now_ms=now_ms)
    headers["content-length"] = str(len(body))
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisPuts:
    """PutRecord or PutRecords requests with random data and random keys."""

    port: int
    stream: str
    shape: PutShape
    is_signed: bool
    seed: int = 0

    def build(self, now_ms: int) -> Sequence[Request]:
        """Build the requests: enough different ones that no cache of a processor holds them all."""
        chance = random.Random(self.seed)
        return [self._one(chance, now_ms) for _ in range(256 if self.shape.record_count == 1 else 20)]

    def bodies(self) -> list[bytes]:
        """Give the bodies alone."""
        return [request.content.partition(b"\r\n\r\n")[2] for request in self.build(0)]

    def _one(self, chance: random.Random, now_ms: int) -> Request:
        shape = self.shape
        records = [
            {
                "PartitionKey": f"{chance.getrandbits(32):0{_KEY_BYTE_COUNT}x}",
                "Data": b64encode(chance.randbytes(shape.record_byte_count)).decode(),
            }
            for _ in range(shape.record_count)
        ]
        document: dict[str, Any] = {"StreamName": self.stream}
        if shape.record_count == 1:
            operation = "PutRecord"
            document |= records[0]
        else:
            operation = "PutRecords"
            document["Records"] = records
        body = orjson.dumps(document)
        return Request(
            content=request_bytes(self.port, operation, body, is_signed=self.is_signed, now_ms=now_ms),
            record_count=shape.record_count,
            byte_count=shape.record_count * shape.record_byte_count,
        )


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """An iterator, and how many records and bytes of data it is known to give."""

    iterator: str
    record_count: int
    byte_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisReads:
    """GetRecords requests at places whose answers are known."""

    port: int
    places: Sequence[ReadPlace]
    is_signed: bool
    codec: Codec = _JSON

    def build(self, now_ms: int) -> Sequence[Request]:
        """Build one request for each place."""
        return [self._one(place, now_ms) for place in self.places]

    def _one(self, place: ReadPlace, now_ms: int) -> Request:
        body = self.codec.encode({"ShardIterator": place.iterator, "Limit": place.record_count})
        return Request(
            content=request_bytes(
                self.port, "GetRecords", body, is_signed=self.is_signed, now_ms=now_ms, codec=self.codec
            ),
            record_count=place.record_count,
            byte_count=place.byte_count,
            is_read=True,
            answer_byte_count=place.byte_count,
        )


class KinesisCaller:
    """Calls operations one at a time, over one connection."""

    def __init__(self, port: int, *, is_signed: bool) -> None:
        self._port = port
        self._is_signed = is_signed
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)

    def call(self, operation: str, document: dict[str, Any], *, codec: Codec = _JSON) -> Any:
        """Call an operation and give its answer. Raises RuntimeError when it is refused."""
        try:
            status, body = self._ask(operation, document, codec)
        except (ConnectionError, http.client.HTTPException):
            # A server that closes idle connections: the same once more on a fresh one.
            self._connection.close()
            status, body = self._ask(operation, document, codec)
        if status != 200:
            raise RuntimeError(f"{operation}: {status} {body[:300]!r}")
        return codec.decode(body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self, operation: str, document: dict[str, Any], codec: Codec) -> tuple[int, bytes]:
        body = codec.encode(document)
        headers = {
            "host": f"127.0.0.1:{self._port}",
            "content-type": codec.content_type,
            "x-amz-target": f"Kinesis_20131202.{operation}",
        }
        if self._is_signed:
            request = SignedRequest(method="POST", path="/", query="", headers=headers, body=body)
            now_ms = time.time_ns() // 1_000_000
            headers |= sign(request, CREDENTIALS, region=_REGION, service="kinesis", now_ms=now_ms)
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
