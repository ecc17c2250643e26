"""How the server carries many streams and many shards: latencies of the calls that could grow with them, and memory.

For each number of workers a daemon of its own gets ``--streams`` streams of one shard, and one stream of ``--shards``
shards that is then scaled to twice as many. Every call is timed alone, on one connection, by a client that costs
little, so the figures are latencies and not rates. Memory is read from the kernel: what each worker holds right after
the start, when all is loaded, and after a restart, idle and once everything was listed through it. Resident memory
counts pages of the store's file that are only mapped and that all workers share; "own" leaves those out.

It leaves out rates under load, real disks that are busy, and clients of the AWS SDKs. Default: about a minute.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from typing import Any

__all__ = ["main"]

_BIG = "big"
_BATCH = 500
_CALL_COUNT = 300
_BATCH_COUNT = 40
_TIMEOUT_S = 120
_VISIT_COUNT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency:
    """How long one kind of call took."""

    workers: int
    call: str
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """What the workers held at one moment: the largest of them."""

    workers: int
    moment: str
    resident_mib: float
    own_mib: float


@dataclass(slots=True)
class _Report:
    """Everything that was measured."""

    latencies: list[_Latency] = field(default_factory=list)
    memories: list[_Memory] = field(default_factory=list)


class _Server:
    """A daemon in a process of its own, and one connection to it."""

    def __init__(self, data: Path, *, workers: int) -> None:
        self.workers = workers
        command = [sys.executable, "-m", "streamd", "serve", "--port", "0", "--workers", str(workers)]
        self._daemon = subprocess.Popen(  # noqa: S603 - our own server, with arguments from here
            [*command, "--data", str(data), "--log-level", "error"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._daemon.stdout is not None
        self._port = int(self._daemon.stdout.readline().strip().rpartition(":")[2])
        self._connection = self._connect()

    def stop(self) -> None:
        """End the daemon gently."""
        self._connection.close()
        self._daemon.send_signal(signal.SIGTERM)
        self._daemon.communicate(timeout=_TIMEOUT_S)

    def reconnect(self) -> None:
        """Take another connection, which the kernel may give to another worker."""
        self._connection.close()
        self._connection = self._connect()

    def ask(self, operation: str, **members: Any) -> Any:
        """Call an operation."""
        return self.send(operation, json.dumps(members).encode())

    def send(self, operation: str, body: bytes) -> Any:
        """Call an operation with a body that is written already."""
        headers = {"X-Amz-Target": f"Kinesis_20131202.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        self._connection.request("POST", "/", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{operation}: {content.decode(errors='replace')}")
        return json.loads(content) if content else None

    def scrape(self) -> bytes:
        """Read the metrics page."""
        self._connection.request("GET", "/metrics")
        return self._connection.getresponse().read()

    def memory(self, moment: str) -> _Memory:
        """Read the memory of the worker that holds most."""
        pids = [self._daemon.pid] if self.workers == 1 else self._worker_pids()
        figures = [_status_of(pid) for pid in pids]
        return _Memory(
            workers=self.workers,
            moment=moment,
            resident_mib=max(figure["VmRSS"] for figure in figures) / 1024,
            own_mib=max(figure["RssAnon"] for figure in figures) / 1024,
        )

    def _worker_pids(self) -> list[int]:
        pid = self._daemon.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit status."""
    options = _options(arguments)
    report = _Report()
    for workers in options.workers:
        _measure(report, workers=workers, stream_count=options.streams, shard_count=options.shards)
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        print(_markdown(report, options))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=2000, help="streams of one shard (default: 2000)")
    parser.add_argument("--shards", type=int, default=1000, help="shards of the large stream (default: 1000)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(arguments)


def _measure(report: _Report, *, workers: int, stream_count: int, shard_count: int) -> None:
    with _folder() as folder:
        server = _Server(folder / "data", workers=workers)
        try:
            _load(report, server, stream_count=stream_count, shard_count=shard_count)
            _call(report, server, stream_count=stream_count)
            _scale_up(report, server, shard_count=shard_count)
            _visit(server)
            report.memories.append(server.memory("loaded, after all calls"))
        finally:
            server.stop()
        server = _Server(folder / "data", workers=workers)
        try:
            report.memories.append(server.memory("restarted, idle"))
            _visit(server)
            report.memories.append(server.memory("restarted, all listed by each worker"))
        finally:
            server.stop()


def _load(report: _Report, server: _Server, *, stream_count: int, shard_count: int) -> None:
    """Make the streams."""
    report.memories.append(server.memory("empty"))
    names = iter([_name(number) for number in range(stream_count)])
    _time(report, server, "CreateStream, 1 shard", stream_count, lambda: ("CreateStream", _stream(next(names))))
    body = {"StreamName": _BIG, "ShardCount": shard_count}
    _time(report, server, f"CreateStream, {shard_count} shards", 1, lambda: ("CreateStream", body))


def _call(report: _Report, server: _Server, *, stream_count: int) -> None:
    """Time the calls that could grow with the number of streams and shards."""
    chance = random.Random(1)

    def any_stream() -> str:
        return _name(chance.randrange(stream_count))

    def page() -> tuple[str, dict[str, Any]]:
        return "ListStreams", {"Limit": 100, "ExclusiveStartStreamName": any_stream()}

    def records(name: str) -> tuple[str, dict[str, Any]]:
        rows = [_record(chance) for _ in range(_BATCH)]
        return "PutRecords", {"StreamName": name, "Records": rows}

    calls: list[tuple[str, int, Callable[[], tuple[str, dict[str, Any]]]]] = [
        ("ListStreams, page of 100", _CALL_COUNT, page),
        ("DescribeStreamSummary", _CALL_COUNT, lambda: ("DescribeStreamSummary", _of(any_stream()))),
        ("DescribeStreamSummary, large stream", _CALL_COUNT, lambda: ("DescribeStreamSummary", _of(_BIG))),
        ("DescribeStream, page of 100 of the large stream", _CALL_COUNT, lambda: ("DescribeStream", _of(_BIG))),
        ("ListShards, page of 1,000 of the large stream", _BATCH_COUNT, lambda: ("ListShards", _of(_BIG))),
        ("PutRecord, any stream", _CALL_COUNT, lambda: ("PutRecord", _of(any_stream()) | _record(chance))),
        ("PutRecord, large stream", _CALL_COUNT, lambda: ("PutRecord", _of(_BIG) | _record(chance))),
        (f"PutRecords of {_BATCH}, any stream", _BATCH_COUNT, lambda: records(any_stream())),
        (f"PutRecords of {_BATCH}, large stream", _BATCH_COUNT, lambda: records(_BIG)),
    ]
    for label, count, make in calls:
        _time(report, server, label, count, make)


def _scale_up(report: _Report, server: _Server, *, shard_count: int) -> None:
    target = 2 * shard_count
    body = _of(_BIG) | {"TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"}
    _time(report, server, f"UpdateShardCount to {target}", 1, lambda: ("UpdateShardCount", body))
    chance = random.Random(2)
    put = f"PutRecord, large stream of {target}"
    _time(report, server, put, _CALL_COUNT, lambda: ("PutRecord", _of(_BIG) | _record(chance)))


def _visit(server: _Server) -> None:
    """Have every worker load every stream: by pages, on so many connections that each of them gets some."""
    for _ in range(_VISIT_COUNT if server.workers > 1 else 1):
        server.reconnect()
        after = ""
        for name in ("DescribeStreamSummary", "ListShards"):
            server.ask(name, StreamName=_BIG)
        for _ in range(3 if server.workers > 1 else 1_000_000):
            answer = server.ask("ListStreams", Limit=100, **({"ExclusiveStartStreamName": after} if after else {}))
            if not answer["HasMoreStreams"]:
                break
            after = answer["StreamNames"][-1]
        server.scrape()


def _time(
    report: _Report, server: _Server, label: str, count: int, make: Callable[[], tuple[str, dict[str, Any]]]
) -> None:
    durations_ms = []
    for _ in range(count):
        operation, members = make()
        body = json.dumps(members).encode()
        started = time.perf_counter()
        server.send(operation, body)
        durations_ms.append((time.perf_counter() - started) * 1000)
    cuts = quantiles(durations_ms, n=100, method="inclusive") if count > 1 else durations_ms * 99
    report.latencies.append(
        _Latency(
            workers=server.workers,
            call=label,
            count=count,
            p50_ms=cuts[49],
            p99_ms=cuts[98],
            max_ms=max(durations_ms),
        )
    )


def _markdown(report: _Report, options: argparse.Namespace) -> str:
    lines = [
        f"{options.streams:,} streams of one shard and one of {options.shards:,} shards; {os.cpu_count()} cores.",
        "",
        "| workers | call | calls | p50 ms | p99 ms | max ms |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.workers} | {row.call} | {row.count} | {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.max_ms:.2f} |"
        for row in report.latencies
    ]
    lines += ["", "| workers | moment | resident MiB a worker | own MiB |", "|--:|---|--:|--:|"]
    lines += [f"| {m.workers} | {m.moment} | {m.resident_mib:.1f} | {m.own_mib:.1f} |" for m in report.memories]
    return "\n".join(lines)


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="streamd-scale-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _status_of(pid: int) -> dict[str, int]:
    """Read a process's memory figures, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("VmRSS", "RssAnon")
    }


def _name(number: int) -> str:
    return f"stream-{number:05d}"


def _of(name: str) -> dict[str, Any]:
    return {"StreamName": name}


def _stream(name: str) -> dict[str, Any]:
    return {"StreamName": name, "ShardCount": 1}


def _record(chance: random.Random) -> dict[str, Any]:
    return {"PartitionKey": f"key-{chance.getrandbits(40):x}", "Data": b64encode(chance.randbytes(200)).decode()}


if __name__ == "__main__":
    sys.exit(main())
