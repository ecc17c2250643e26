"""A small client that costs little, so that many producers fit into one test process; and where its calls end up.

Workers share one port, so which of them a connection reaches is the kernel's choice: `pinned` opens connections until
it has one to each, and tells whose they are by the sockets that each process holds.
"""

import select
import threading
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from tests.daemons import Daemon

__all__ = ["Answered", "Listening", "Wire", "count_of", "pinned", "until"]

_TIMEOUT_S = 60
_PAUSE_S = 0.02
_CONNECTION_COUNT_MAX = 400


class Answered(Exception):
    """An answer that said no: its code and its sentence."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(status, document)
        self.status = status
        self.code = str(document.get("__type"))


class Listening(Protocol):
    """Whatever listens on a port of this machine: a daemon, or what is known of one in another process."""

    @property
    def port(self) -> int:
        """The port."""


class Wire:
    """One connection, used by one thread."""

    def __init__(self, daemon: Listening) -> None:
        self._connection = HTTPConnection("127.0.0.1", daemon.port, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another one, perhaps to another worker."""
        self._connection.close()

    def ask(self, operation: str, *, wait_ms: int = 0, **members: Any) -> Any:
        """Call an operation. Raises Answered for an answer that says no."""
        self.begin(operation, wait_ms=wait_ms, **members)
        return self.finish()

    def begin(self, operation: str, *, wait_ms: int = 0, **members: Any) -> None:
        """Send a call; its answer is awaited by `finish`. An empty read may be held for a while."""
        headers = {
            "X-Amz-Target": f"Kinesis_20131202.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        }
        if wait_ms:
            headers["x-streamd-wait-ms"] = str(wait_ms)
        self._connection.request("POST", "/", orjson.dumps(members), headers)

    def finish(self) -> Any:
        """Await the answer of the call that was begun. Raises Answered for an answer that says no."""
        response = self._connection.getresponse()
        body = response.read()
        document = orjson.loads(body) if body else {}
        if response.status != 200:
            raise Answered(response.status, document)
        return document

    def iterator(self, stream: str, shard: str, kind: str) -> str:
        """Ask for an iterator that needs no more than its kind."""
        answer = self.ask("GetShardIterator", StreamName=stream, ShardId=shard, ShardIteratorType=kind)
        return str(answer["ShardIterator"])

    def has_answer(self) -> bool:
        """Tell whether an answer has begun to come."""
        return bool(select.select([self._connection.sock], [], [], 0)[0])

    def put(self, stream: str, *payloads: tuple[str, bytes]) -> list[tuple[str, str]]:
        """Put records given as key and data, by PutRecord when there is one; shard and sequence number of each."""
        rows: list[dict[str, Any]] = [{"PartitionKey": key, "Data": b64encode(data).decode()} for key, data in payloads]
        if len(rows) == 1:
            answer = self.ask("PutRecord", StreamName=stream, **rows[0])
            return [(answer["ShardId"], answer["SequenceNumber"])]
        answer = self.ask("PutRecords", StreamName=stream, Records=rows)
        assert answer["FailedRecordCount"] == 0
        return [(row["ShardId"], row["SequenceNumber"]) for row in answer["Records"]]

    def local_port(self) -> int:
        """Tell this end's port, once a call was made."""
        return int(self._connection.sock.getsockname()[1])


def pinned(daemon: Daemon) -> dict[int, Wire]:
    """Open a connection to each worker, by the worker's process id."""
    awaited = set(daemon.worker_pids())
    wire_by_pid: dict[int, Wire] = {}
    for _ in range(_CONNECTION_COUNT_MAX):
        wire = Wire(daemon)
        wire.ask("ListStreams", Limit=1)
        pid = _holder_of(daemon, wire.local_port(), awaited)
        if pid in wire_by_pid:
            wire.close()
            continue
        wire_by_pid[pid] = wire
        if wire_by_pid.keys() == awaited:
            return wire_by_pid
    raise AssertionError(f"no connection reached the workers {awaited - wire_by_pid.keys()}")


def until(is_so: Callable[[], bool], *, patience_s: float = 30) -> None:
    """Look again and again until something is so; bounded, and looking costs little."""
    pause = threading.Event()
    for _ in range(int(patience_s / _PAUSE_S)):
        if is_so():
            return
        pause.wait(_PAUSE_S)
    raise AssertionError("what was awaited did not happen")


def count_of(daemon: Daemon, name: str, **labels: str) -> float:
    """Sum a metric over the series that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    total = 0.0
    for line in daemon.page("/metrics").body.decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(text in series for text in wanted):
            total += float(value)
    return total


def _holder_of(daemon: Daemon, client_port: int, pids: set[int]) -> int:
    """Find the process that holds the server's end of a connection."""
    ends = f":{daemon.port:04X}", f":{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if not (fields[1].endswith(ends[0]) and fields[2].endswith(ends[1])):
            continue
        name = f"socket:[{fields[9]}]"
        for pid in pids:
            if name in _links(Path(f"/proc/{pid}/fd")):
                return pid
    raise AssertionError(f"nobody holds the connection from port {client_port}")


def _links(folder: Path) -> set[str]:
    found = set()
    for path in folder.iterdir():
        try:
            found.add(str(path.readlink()))
        except FileNotFoundError:
            # Closed between the listing and the look.
            continue
    return found
