"""Clients of a load audit, many in one process: what each was answered is counted by status and type.

A request that was sent whole, or is still being sent, is answered or its connection is closed with an answer; a
connection that ends without one is counted as such, and is a fault.
"""

import asyncio
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from tests.server.connections import whole_request

__all__ = ["CUT", "STREAM", "Bystander", "Line", "Tally", "get_of", "iterator_of", "pause", "put_of", "puts_of"]

CUT = "closed without an answer"
STREAM = "load"
_PATIENCE_S = 120.0
_PAUSE_S = 0.01
_LITTLE_BYTE_COUNT = 4_096


@dataclass(slots=True)
class Tally:
    """What clients were answered."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def faults(self, name: str, *, allowed: frozenset[str]) -> list[str]:
        """Name the answers that nobody may be given."""
        return [f"{name}: {count:,} x {what}" for what, count in self.answers.items() if what not in allowed]


class Line:
    """One connection."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, *, takes_little: bool = False) -> asyncio.StreamWriter:
        """Connect, unless that was done; with ``takes_little`` the kernel takes little on the reader's behalf."""
        if self._writer is None:
            line = socket.socket()
            line.setblocking(False)
            if takes_little:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE_BYTE_COUNT)
            await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", self._port))
            limit = _LITTLE_BYTE_COUNT if takes_little else 1 << 16
            self._reader, self._writer = await asyncio.open_connection(sock=line, limit=limit)
        return self._writer

    def close(self, *, rudely: bool = False) -> None:
        """Hang up; rudely, with a reset."""
        if self._writer is not None:
            if rudely:
                self._writer.transport.abort()
            self._writer.close()
        self._reader = self._writer = None

    async def ask(self, request: bytes) -> bytes:
        """Send a request and count what comes; the body of the answer."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                writer = await self.open()
                writer.write(request)
                what, body = await self.answer()
        except (OSError, asyncio.IncompleteReadError):
            what, body = CUT, b""
            self.close()
        except TimeoutError:
            what, body = f"no answer in {_PATIENCE_S:g} s", b""
            self.close()
        self._tally.answers[what] += 1
        self._tally.slowest_s = max(self._tally.slowest_s, time.monotonic() - began_s)
        return body

    async def settle(self, *, unless: str) -> None:
        """Take the answer that was left lying, and count it, or that the connection ended ``unless`` it came."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                what, _ = await self.answer()
        except (OSError, asyncio.IncompleteReadError):
            what = unless
        except TimeoutError:
            what = f"no answer in {_PATIENCE_S:g} s"
        self._tally.answers[what] += 1

    async def answer(self) -> tuple[str, bytes]:
        """Read an answer: its status and type, and its body. Raises IncompleteReadError at the end of the line."""
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.split(" ", 2)[1]
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await self._reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            self.close()
        if status == "200":
            failed = orjson.loads(body).get("FailedRecordCount", 0) if body else 0
            return ("200" if not failed else "200 with failed records"), body
        kind = orjson.loads(body).get("__type", "") if body else ""
        return f"{status} {kind}".strip(), body


class Bystander:
    """A well-behaved client beside the others: one small put after another, each of which must succeed."""

    def __init__(self, port: int) -> None:
        self.tally = Tally()
        self._line = Line(port, self.tally)

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Put until the scene is over, and at least once."""
        while True:
            await self._line.ask(put_of(100))
            if is_over():
                break
            await pause(_PAUSE_S)
        self._line.close()


async def pause(seconds: float) -> None:
    """Pace a client: a load is so many requests a second, and nothing is awaited."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def put_of(byte_count: int, key: str = "k") -> bytes:
    """Write a PutRecord."""
    document = {"StreamName": STREAM, "PartitionKey": key, "Data": b64encode(bytes(byte_count)).decode()}
    return whole_request("PutRecord", orjson.dumps(document))


def puts_of(count: int, byte_count: int) -> bytes:
    """Write a PutRecords."""
    data = b64encode(bytes(byte_count)).decode()
    records = [{"PartitionKey": str(number), "Data": data} for number in range(count)]
    return whole_request("PutRecords", orjson.dumps({"StreamName": STREAM, "Records": records}))


def iterator_of(shard_index: int) -> bytes:
    """Write a GetShardIterator for all of a shard."""
    document = {"StreamName": STREAM, "ShardId": f"shardId-{shard_index:012d}", "ShardIteratorType": "TRIM_HORIZON"}
    return whole_request("GetShardIterator", orjson.dumps(document))


def get_of(iterator: str) -> bytes:
    """Write a GetRecords."""
    return whole_request("GetRecords", orjson.dumps({"ShardIterator": iterator}))
