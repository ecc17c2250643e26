"""Redis Streams: XADD to one key, with the append-only file synced before each answer or once a second."""

import random
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.kinesis_calls import PutShape
from benchmarks.load import Interleaved, Load, Request, Wire
from benchmarks.peers.systems import LoadSettings, Stored
from benchmarks.programs import Program, free_port, started_program, wait_until

__all__ = ["RedisStreams"]

Reply: TypeAlias = "int | bytes | list[Reply] | None"

_MIXED_PUT_COUNT = 4
_PATIENCE_S = 60.0
_ENTRIES_PER_READ = 10_000
_DURABILITY_BY_SYNC = {"always": "synced before each answer", "everysec": "synced once a second"}


class RedisStreams:
    """One Redis server."""

    speaks_kinesis = False
    is_ours = False

    def __init__(self, sync: str) -> None:
        self.name = f"Redis Streams, {sync}"
        self.durability = _DURABILITY_BY_SYNC[sync]
        self.program: Program | None = None
        self._sync = sync
        self._port = 0
        self._caller: RedisCaller | None = None

    def absence(self) -> str | None:
        """Look for the server."""
        return None if shutil.which("redis-server") else "apt-get install redis-server"

    def version(self) -> str:
        """Ask the server's program."""
        command = ["redis-server", "--version"]
        # The command is a constant; the path is the user's own.
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        return shown.partition("v=")[2].split()[0]

    def start(self, folder: Path) -> float:
        """Start it; the seconds until its first answer."""
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        words = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", self._sync, "--protected-mode", "no"]
        self.program = started_program(words, folder=folder)

        def answers() -> bool:
            self._caller = RedisCaller(self._port)
            return self._caller.call(b"PING") == b"PONG"

        return wait_until(answers, program=self.program)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._caller is not None:
            self._caller.close()
        if self.program is not None:
            self.program.stop()
        self._caller = self.program = None

    def create(self, stream: str, *, shard_count: int) -> None:
        """Do nothing: the first XADD makes the key, and there are no shards."""

    def drop(self, stream: str) -> None:
        """Remove the key."""
        self._call(b"DEL", stream.encode())

    def put_load(self, stream: str, shape: PutShape, settings: LoadSettings) -> Load:
        """Give the load of XADD, so many in a pipeline."""
        return self._load(_Adds(stream, shape.record_byte_count, settings.pipeline), settings)

    def stored(self, stream: str) -> Stored:
        """Read the whole stream."""
        record_count = byte_count = 0
        start = b"-"
        while True:
            entries = self._call(b"XRANGE", stream.encode(), start, b"+", b"COUNT", b"%d" % _ENTRIES_PER_READ)
            data = _data_of(entries)
            record_count += len(data)
            byte_count += sum(map(len, data))
            if len(data) < _ENTRIES_PER_READ:
                return Stored(record_count, byte_count)
            start = b"(" + _last_id(entries)

    def read_load(self, stream: str, settings: LoadSettings, *, limit: int, codec: str) -> Load | None:
        """Give the load of XRANGE at every place that gives as much as was asked for; there is only one codec."""
        if codec != "json":
            return None
        requests: list[Request] = []
        start = b"-"
        while (request := self._read_request(stream, start, limit)).record_count > 0:
            requests.append(request)
            start = b"(" + _last_id(self._call(b"XRANGE", stream.encode(), start, b"+", b"COUNT", b"%d" % limit))
        most = max(request.record_count for request in requests)
        return self._load(_Fixed([request for request in requests if request.record_count == most]), settings)

    def mixed_load(self, stream: str, shape: PutShape, settings: LoadSettings, *, limit: int) -> Load | None:
        """Give the load of four XADD to one XRANGE of the oldest entries."""
        read = self._read_request(stream, b"-", limit)
        adds = _Adds(stream, shape.record_byte_count, 1)
        return self._load(Interleaved(adds, _Fixed([read]), _MIXED_PUT_COUNT), settings)

    def poller(self, stream: str) -> "RedisPoller":
        """Give a producer and a consumer."""
        return RedisPoller(self._port, stream.encode())

    def _read_request(self, stream: str, start: bytes, limit: int) -> Request:
        words = (b"XRANGE", stream.encode(), start, b"+", b"COUNT", b"%d" % limit)
        assert self._caller is not None, "only a system that was started is called"
        before = self._caller.received_byte_count
        data = _data_of(self._caller.call(*words))
        return Request(
            content=_command(*words),
            record_count=len(data),
            byte_count=sum(map(len, data)),
            is_read=True,
            answer_byte_count=self._caller.received_byte_count - before,
        )

    def _call(self, *words: bytes) -> Reply:
        assert self._caller is not None, "only a system that was started is called"
        return self._caller.call(*words)

    def _load(self, source: "_Adds | _Fixed | Interleaved", settings: LoadSettings) -> Load:
        return Load(
            port=self._port,
            wire=Wire.REDIS,
            source=source,
            connection_count=settings.connection_count,
            duration_s=settings.duration_s,
        )


@dataclass(frozen=True, slots=True)
class _Adds:
    """XADD of a key and random data, so many in each pipeline."""

    stream: str
    record_byte_count: int
    pipeline: int

    def build(self, _: int) -> Sequence[Request]:
        """Build different ones."""
        chance = random.Random(0)
        return [
            Request(
                content=b"".join(self._one(chance) for _ in range(self.pipeline)),
                record_count=self.pipeline,
                byte_count=self.pipeline * self.record_byte_count,
                answer_count=self.pipeline,
            )
            for _ in range(256 if self.pipeline == 1 else 20)
        ]

    def _one(self, chance: random.Random) -> bytes:
        key = b"%08x" % chance.getrandbits(32)
        # Base64 is cut to the size: the bytes are what Kinesis clients hand over after decoding, and cost the same.
        data = b64encode(chance.randbytes(self.record_byte_count))[: self.record_byte_count]
        return _command(b"XADD", self.stream.encode(), b"*", b"k", key, b"d", data)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Requests that are known beforehand."""

    requests: Sequence[Request]

    def build(self, _: int) -> Sequence[Request]:
        """Give them."""
        return self.requests


class RedisPoller:
    """Adds with one connection and reads with another."""

    def __init__(self, port: int, stream: bytes) -> None:
        self._stream = stream
        self._producer = RedisCaller(port)
        self._consumer = RedisCaller(port)
        self._last_id = b"0"

    def put(self, data: bytes) -> None:
        """Add one entry."""
        self._producer.call(b"XADD", self._stream, b"*", b"k", b"k", b"d", data)

    def poll(self) -> list[bytes]:
        """Call XRANGE once."""
        entries = self._consumer.call(b"XRANGE", self._stream, b"(" + self._last_id, b"+", b"COUNT", b"1000")
        data = _data_of(entries)
        if data:
            self._last_id = _last_id(entries)
        return data

    def close(self) -> None:
        """Hang up."""
        self._producer.close()
        self._consumer.close()


class RedisCaller:
    """Sends one command at a time and reads its reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")
        self.received_byte_count = 0

    def call(self, *words: bytes) -> Reply:
        """Send a command. Raises RuntimeError when it is refused, ConnectionError when the server is gone."""
        self._socket.sendall(_command(*words))
        return self._reply()

    def close(self) -> None:
        """Hang up."""
        self._reader.close()
        self._socket.close()

    def _reply(self) -> Reply:
        line = self._reader.readline()
        if not line:
            raise ConnectionError("the server hung up")
        self.received_byte_count += len(line)
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"-":
                raise RuntimeError(rest.decode())
            case b"$" if int(rest) >= 0:
                text = self._reader.read(int(rest) + 2)
                self.received_byte_count += len(text)
                return text[:-2]
            case b"*" if int(rest) >= 0:
                return [self._reply() for _ in range(int(rest))]
            case _:
                return None


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _data_of(entries: Reply) -> list[bytes]:
    """Give the data of entries, each an id and the list k, key, d, data."""
    assert isinstance(entries, list)
    found = []
    for entry in entries:
        assert isinstance(entry, list)
        fields = entry[1]
        assert isinstance(fields, list)
        assert isinstance(fields[3], bytes)
        found.append(fields[3])
    return found


def _last_id(entries: Reply) -> bytes:
    assert isinstance(entries, list)
    last = entries[-1]
    assert isinstance(last, list)
    assert isinstance(last[0], bytes)
    return last[0]
