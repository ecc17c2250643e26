"""What is measured, each as figures beside the aims that were set for two cores."""

import json
import math
import re
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from benchmarks.functions.poller import polled_rate
from benchmarks.functions.server import CLAIM, FUNCTIONS, Server, served
from benchmarks.generator import Generator
from benchmarks.kinesis_calls import KinesisCaller
from benchmarks.load import Load, Request, Wire

__all__ = ["Figure", "Size", "cold_starts", "idle_mappings", "invocations", "mapping_throughput", "put_to_handler"]

_NOTHING = "def handler(event, context):\n    return None\n"
_DECODES = """
import base64, json
def handler(event, context):
    for record in event["Records"]:
        json.loads(base64.b64decode(record["kinesis"]["data"]))
"""
_NOTES_TIME = """
import base64, time
def handler(event, context):
    now = time.time()
    print("AGES", *[now - float(base64.b64decode(r["kinesis"]["data"])[:20]) for r in event["Records"]])
"""
_CONNECTION_COUNT = 32
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure; ``aim`` is what was asked of it, as words, empty where nothing was."""

    name: str
    value: float
    unit: str
    aim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is done."""

    seconds: float
    record_count: int
    cold_start_count: int
    idle_mapping_count: int
    idle_shard_count: int
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class _Invocations:
    port: int

    def build(self, now_ms: int) -> Sequence[Request]:
        """Build the one request that is sent over and over."""
        del now_ms
        head = (
            f"POST {FUNCTIONS}/nothing/invocations HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            f"authorization: {CLAIM}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"
        )
        return [Request(content=head.encode() + b"{}", record_count=1, byte_count=2)]


def invocations(folder: Path, size: Size, generator: Generator) -> list[Figure]:
    """Invoke a function that does nothing, on many connections."""
    with served(folder, "--function-concurrency", "40") as server:
        server.deploy("nothing", _NOTHING)
        load = Load(
            port=server.port,
            wire=Wire.HTTP,
            source=_Invocations(server.port),
            connection_count=_CONNECTION_COUNT,
            duration_s=size.seconds,
        )
        # The first run meets the cold starts.
        generator.run(load)
        used_s = _own_cpu_s(server)
        outcome = generator.run(load)
        used_s = _own_cpu_s(server) - used_s
    rate = outcome.put_request_count / outcome.elapsed_s
    return [
        Figure(name="no-op Invoke, 32 connections", value=rate, unit="/s", aim="1,500"),
        Figure(name="no-op Invoke, p50", value=outcome.put_latency.p50_ms, unit="ms"),
        Figure(name="no-op Invoke, p99", value=outcome.put_latency.p99_ms, unit="ms"),
        Figure(
            name="no-op Invoke, processor time of the server",
            value=used_s / max(1, outcome.put_request_count) * 1e6,
            unit="us",
        ),
        Figure(name="no-op Invoke, generator's share of a core", value=outcome.generator_cores * 100, unit="%"),
        Figure(name="no-op Invoke, refused", value=outcome.failure_count, unit=""),
    ]


def mapping_throughput(folder: Path, size: Size, _: Generator) -> list[Figure]:
    """Feed stored records to a function in batches of 100; beside it a poller such as emulators have."""
    with served(folder, "--function-concurrency", "3") as server:
        server.deploy("decodes", _DECODES, MemorySize=256)
        server.call("PUT", "/2017-10-31/functions/decodes/concurrency", {"ReservedConcurrentExecutions": 2})
        arn = server.create_stream("posts", shard_count=2)
        _fill(server, "posts", size.record_count)
        mapping = server.map(arn, "decodes", BatchSize=100, ParallelizationFactor=4)
        rate = _rate(server, mapping, size.record_count)
        server.call("DELETE", f"/2015-03-31/event-source-mappings/{mapping}")
        plain = polled_rate(server, "posts", "decodes", duration_s=size.seconds / 2)
    return [
        Figure(name="mapping, 100 records of 1 KiB, two environments", value=rate, unit="records/s", aim="40,000"),
        Figure(name="a poller that looks once a second, same function", value=plain, unit="records/s"),
    ]


def put_to_handler(folder: Path, size: Size, _: Generator) -> list[Figure]:
    """Put at a steady rate, and see how old a record is when the warm handler starts on it."""
    with served(folder) as server:
        server.deploy("notes", _NOTES_TIME)
        arn = server.create_stream("posts", shard_count=1)
        server.map(arn, "notes", BatchSize=100)
        count = max(20, int(size.seconds * 100))
        _put_steadily(server, "posts", count)
        ages = _ages(server, count)
    # The first ones met the cold start.
    warm_ms = [age * 1000 for age in ages[len(ages) // 10 :]]
    return [
        Figure(name="put to handler start, p50", value=_quantile(warm_ms, 0.5), unit="ms", aim="under 10"),
        Figure(name="put to handler start, p99", value=_quantile(warm_ms, 0.99), unit="ms"),
    ]


def cold_starts(folder: Path, size: Size, _: Generator) -> list[Figure]:
    """Invoke functions that have no environment yet."""
    with served(folder) as server:
        server.deploy("first", _NOTHING)
        _invoke(server, "first")
        durations_ms, init_durations_ms = [], []
        for number in range(size.cold_start_count):
            server.deploy(f"cold-{number}", _NOTHING)
            started_s = time.perf_counter()
            log = _invoke(server, f"cold-{number}")
            durations_ms.append((time.perf_counter() - started_s) * 1000)
            init_durations_ms.append(_init_ms(log))
        sandbox = server.call("GET", "/readyz")["functions"]["sandbox"]
    what = f"first Invoke of a function, sandbox {sandbox}"
    return [
        Figure(name=f"{what}, p50", value=_quantile(durations_ms, 0.5), unit="ms", aim="under 100"),
        Figure(name=f"{what}, p90", value=_quantile(durations_ms, 0.9), unit="ms"),
        Figure(name=f"{what}, slowest", value=max(durations_ms), unit="ms"),
        Figure(name="its Init Duration, p50", value=_quantile(init_durations_ms, 0.5), unit="ms"),
        Figure(name="its Init Duration, p90", value=_quantile(init_durations_ms, 0.9), unit="ms"),
    ]


def idle_mappings(folder: Path, size: Size, _: Generator) -> list[Figure]:
    """Have many functions mapped to streams that nothing comes to."""
    with served(folder) as server:
        shards_each = size.idle_shard_count // size.idle_mapping_count
        for number in range(size.idle_mapping_count):
            server.deploy(f"f-{number}", _NOTHING)
            arn = server.create_stream(f"s-{number}", shard_count=shards_each)
            server.map(arn, f"f-{number}", StartingPosition="LATEST")
        pause = threading.Event()
        pause.wait(min(3.0, size.idle_seconds))
        used_s = server.program.cpu_s()
        pause.wait(size.idle_seconds)
        share = (server.program.cpu_s() - used_s) / size.idle_seconds
        memory = server.program.memory()
    what = f"{size.idle_mapping_count} idle mappings on {size.idle_shard_count:,} shards"
    return [
        Figure(name=f"{what}, of one core", value=share * 100, unit="%", aim="under 2"),
        Figure(name=f"{what}, memory", value=memory.proportional / (1 << 20), unit="MiB", aim="under 400"),
    ]


def _own_cpu_s(server: Server) -> float:
    """Give the processor time of the server alone, without its functions."""
    fields = Path(f"/proc/{server.program.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _fill(server: Server, stream: str, count: int) -> None:
    padding = "x" * 960

    def put(first: int) -> None:
        caller = KinesisCaller(server.port, is_signed=False)
        entries = [
            {
                "PartitionKey": str(number),
                "Data": b64encode(json.dumps({"number": number, "text": padding}).encode()).decode(),
            }
            for number in range(first, min(count, first + 500))
        ]
        caller.call("PutRecords", {"StreamName": stream, "Records": entries})
        caller.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(0, count, 500)))


def _rate(server: Server, mapping: str, count: int) -> float:
    """Wait until a mapping has done all records; the rate between a tenth and the end, past the cold starts.

    Where so few are done before anybody looks, it is the rate of them all.
    """
    pause = threading.Event()
    deadline_s = time.monotonic() + _PATIENCE_S
    first_s, first_count = time.perf_counter(), 0
    while time.monotonic() < deadline_s:
        done = server.counters(mapping)["invoked"]
        now_s = time.perf_counter()
        if done >= count:
            return (done - first_count) / (now_s - first_s)
        if first_count == 0 and done >= count // 10:
            first_s, first_count = now_s, done
        pause.wait(0.05)
    raise RuntimeError(f"a mapping did not come to the end of {count} records")


def _put_steadily(server: Server, stream: str, count: int) -> None:
    pause = threading.Event()
    due_s = time.perf_counter()
    for _ in range(count):
        due_s += 0.01
        pause.wait(max(0.0, due_s - time.perf_counter()))
        data = b64encode(f"{time.time():020.6f}".encode()).decode()
        server.kinesis.call("PutRecord", {"StreamName": stream, "PartitionKey": "k", "Data": data})


def _ages(server: Server, count: int) -> list[float]:
    """Read from the function's log how old records were."""
    pause = threading.Event()
    for _ in range(200):
        page = server.call("GET", "/_streamd/functions/notes/logs", start="0", limit="10000", filter="AGES")
        ages = [float(word) for line in page["lines"] for word in line["message"].split()[1:]]
        if len(ages) >= count:
            return ages
        pause.wait(0.1)
    raise RuntimeError("the function did not see all records")


def _invoke(server: Server, name: str) -> str:
    """Invoke a function with nothing; the end of its log. Raises RuntimeError when it failed."""
    request = HttpRequest(
        f"http://127.0.0.1:{server.port}{FUNCTIONS}/{name}/invocations",
        data=b"{}",
        headers={"Authorization": CLAIM, "X-Amz-Log-Type": "Tail"},
    )
    with urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310 - our own server
        if "X-Amz-Function-Error" in answer.headers:
            raise RuntimeError(answer.read().decode())
        answer.read()
        return b64decode(answer.headers["X-Amz-Log-Result"]).decode()


def _init_ms(log: str) -> float:
    """Read from a log's REPORT what starting took. Raises RuntimeError when nothing was started."""
    found = re.search(r"Init Duration: ([\d.]+) ms", log)
    if found is None:
        raise RuntimeError(f"an invocation met no cold start: {log}")
    return float(found[1])


def _quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
