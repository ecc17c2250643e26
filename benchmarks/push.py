"""Push: from a put to the event that brings its record, and what idle subscriptions cost.

``python -m benchmarks.push`` puts at a steady rate into one shard while a registered consumer is pushed to: over
HTTP/1.1 and HTTP/2 on streamd, and on kinesis-local, in turn in the same run. Then it opens many subscriptions that
have nothing to read, and tells the processor time of the server meanwhile.
"""

import http.client
import shutil
import socket
import sys
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.http2.frames import Http2Request, pushed_pieces
from benchmarks.kinesis_calls import KinesisCaller, request_bytes
from benchmarks.load import Latency
from benchmarks.machine import machine_of
from benchmarks.peers.kinesis_systems import KinesisLocal, KinesisSystem, Streamd
from benchmarks.report import Report
from benchmarks.results import Measurement, rows_of
from streamd.core.event_stream import PRELUDE_BYTE_COUNT, decode, whole_byte_count

__all__ = ["main"]

_NPM_FOLDER = Path.home() / ".cache" / "streamd-benchmarks"
_STREAM = "pushed"
_OPERATION = "SubscribeToShard"
_TARGET = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", f"Kinesis_20131202.{_OPERATION}")]
_PATIENCE_S = 60.0
_CONSUMER_COUNT = 20
_SETTLE_S = 6.0


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10.0, help="Length of one measurement.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="Times that each is measured.")
@click.option("--puts-per-second", type=click.FloatRange(1, 10_000), default=100.0, help="Rate of puts.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, help="Workers of streamd.")
@click.option("--subscriptions", type=click.IntRange(0, 20_000), default=1000, help="Idle subscriptions; 0 for none.")
@click.option("--idle-seconds", type=click.FloatRange(0.1, 600), default=30.0, help="How long they are looked at.")
@click.option("--npm-dir", type=click.Path(path_type=Path), default=_NPM_FOLDER, help="Folder of the npm packages.")
@click.option("--directory", "--dir", type=click.Path(path_type=Path), default=None, help="Where data goes: a disk.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-results"), help="Where results go.")
def main(
    *,
    seconds: float,
    rounds: int,
    puts_per_second: float,
    workers: int,
    subscriptions: int,
    idle_seconds: float,
    npm_dir: Path,
    directory: Path | None,
    out: Path,
) -> None:
    """Measure put to event, and idle subscriptions."""
    folder = Path(tempfile.mkdtemp(prefix="streamd-push-", dir=directory))
    ours, peer = Streamd(worker_count=workers, is_signed=False), KinesisLocal(npm_dir)
    absence = peer.absence()
    cases: list[tuple[KinesisSystem, str]] = [(ours, "HTTP/1.1"), (ours, "HTTP/2")]
    cases += [] if absence else [(peer, "HTTP/1.1")]
    measurements: list[Measurement] = []
    try:
        machine = machine_of(folder)
        for number in range(rounds):
            for place, (system, transport) in enumerate(cases):
                run_folder = folder / f"{number}-{place}"
                measurements.append(
                    _latency(system, transport, run_folder, seconds=seconds, puts_per_second=puts_per_second)
                )
        if subscriptions:
            measurements += _idle(ours, folder / "idle", count=subscriptions, seconds=idle_seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    reference = f"{ours.name}, HTTP/1.1"
    report = Report(
        title="Push",
        machine=machine,
        reference=reference,
        rows=rows_of(measurements, reference=reference),
        version_by_system={ours.name: ours.version()} | ({} if absence else {peer.name: peer.version()}),
        install_by_absent={peer.name: absence} if absence else {},
    )
    report.write(out, "push")
    print(report.markdown())


def _latency(
    system: KinesisSystem, transport: str, folder: Path, *, seconds: float, puts_per_second: float
) -> Measurement:
    """Put at a steady rate on one thread while this one reads what is pushed."""
    system.start(folder)
    try:
        system.create(_STREAM, shard_count=1)
        (consumer,) = _registered(system, _STREAM, ["c"])
        count = max(1, int(seconds * puts_per_second))
        with closing(socket.create_connection(("127.0.0.1", system.port), timeout=_PATIENCE_S)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            events = _events(connection, system, consumer, transport)
            # The subscription stands once its first message is here.
            next(events)
            producer = threading.Thread(
                target=_put, args=(system, count, 1 / puts_per_second), name="producer", daemon=True
            )
            producer.start()
            durations_s: list[float] = []
            while len(durations_s) < count:
                records = next(events).get("Records", [])
                now_ns = time.perf_counter_ns()
                durations_s += [(now_ns - int(b64decode(record["Data"])[:20])) / 1e9 for record in records]
            producer.join()
    finally:
        system.stop()
    latency = Latency.of(durations_s)
    measurement = Measurement(
        work="put to event",
        case=f"{puts_per_second:g} puts/s of 100 B into one shard, median",
        system=f"{system.name}, {transport}",
        value=latency.p50_ms,
        unit="ms",
        is_more_better=False,
        durability=system.durability,
        latency=latency,
    )
    _say(measurement)
    return measurement


def _put(system: KinesisSystem, count: int, pause_s: float) -> None:
    caller = KinesisCaller(system.port, is_signed=not system.is_ours)
    waiting = threading.Event()
    due_s = time.perf_counter()
    for _ in range(count):
        due_s += pause_s
        waiting.wait(max(0.0, due_s - time.perf_counter()))
        data = b"%020d" % time.perf_counter_ns() + b"." * 80
        record = {"StreamName": _STREAM, "PartitionKey": "k", "Data": b64encode(data).decode()}
        caller.call("PutRecord", record)
    caller.close()


def _idle(system: KinesisSystem, folder: Path, *, count: int, seconds: float) -> list[Measurement]:
    """Open subscriptions that have nothing to read; the cores that the server was busy on with and without them."""
    system.start(folder)
    connections: list[socket.socket] = []
    try:
        shard_count = -(-count // _CONSUMER_COUNT)
        system.create(_STREAM, shard_count=shard_count)
        consumers = _registered(system, _STREAM, [f"c-{number}" for number in range(_CONSUMER_COUNT)])
        before = _cores(system, seconds)
        for number in range(count):
            connection = socket.create_connection(("127.0.0.1", system.port), timeout=_PATIENCE_S)
            connections.append(connection)
            asked = _asked(consumers[number % _CONSUMER_COUNT], shard=number // _CONSUMER_COUNT)
            connection.sendall(request_bytes(system.port, _OPERATION, asked, is_signed=False, now_ms=0))
            if not connection.recv(1 << 16).startswith(b"HTTP/1.1 200 "):
                raise RuntimeError("a subscription was refused")
        # What opening them cost is over once each has said for the first time that there is nothing.
        threading.Event().wait(min(_SETTLE_S, seconds))
        during = _cores(system, seconds)
    finally:
        for connection in connections:
            connection.close()
        system.stop()
    found = [
        Measurement(
            work="idle subscriptions",
            case=f"processor time over {seconds:g} s",
            system=label,
            value=cores * 100,
            unit="% of a core",
            is_more_better=False,
            is_compared=False,
        )
        for label, cores in (("none", before), (f"{count:,}, an empty event every 5 s each", during))
    ]
    for measurement in found:
        _say(measurement)
    return found


def _cores(system: KinesisSystem, seconds: float) -> float:
    assert system.program is not None, "it was started"
    used_s = system.program.cpu_s()
    threading.Event().wait(seconds)
    return (system.program.cpu_s() - used_s) / seconds


def _registered(system: KinesisSystem, stream: str, names: list[str]) -> list[str]:
    """Register consumers and wait until they are active; their ARNs."""
    caller = KinesisCaller(system.port, is_signed=not system.is_ours)
    with closing(caller):
        arn = caller.call("DescribeStreamSummary", {"StreamName": stream})["StreamDescriptionSummary"]["StreamARN"]
        found = []
        for name in names:
            asked = {"StreamARN": arn, "ConsumerName": name}
            found.append(caller.call("RegisterStreamConsumer", asked)["Consumer"]["ConsumerARN"])
        pause = threading.Event()
        for consumer in found:
            while _status(caller, consumer) != "ACTIVE":
                pause.wait(0.05)
    return found


def _status(caller: KinesisCaller, consumer: str) -> str:
    described = caller.call("DescribeStreamConsumer", {"ConsumerARN": consumer})["ConsumerDescription"]
    return str(described["ConsumerStatus"])


def _asked(consumer: str, *, shard: int) -> bytes:
    return orjson.dumps(
        {"ConsumerARN": consumer, "ShardId": f"shardId-{shard:012d}", "StartingPosition": {"Type": "LATEST"}}
    )


def _events(
    connection: socket.socket, system: KinesisSystem, consumer: str, transport: str
) -> Iterator[dict[str, Any]]:
    """Subscribe, and give the payload of each message as it comes."""
    body = _asked(consumer, shard=0)
    if transport == "HTTP/2":
        headers = [(":authority", f"127.0.0.1:{system.port}"), *_TARGET]
        yield from _payloads(_reader(pushed_pieces(connection, Http2Request.of("POST", headers, body))))
        return
    now_ms = time.time_ns() // 1_000_000
    connection.sendall(request_bytes(system.port, _OPERATION, body, is_signed=not system.is_ours, now_ms=now_ms))
    response = http.client.HTTPResponse(connection, method="POST")
    response.begin()
    if response.status != 200:
        raise RuntimeError(f"{response.status} {response.read()!r}")
    yield from _payloads(response.read)


def _payloads(read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    while prelude := read(PRELUDE_BYTE_COUNT):
        payload: dict[str, Any] = orjson.loads(decode(prelude + read(whole_byte_count(prelude) - len(prelude))).payload)
        yield payload


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """Make a function that reads so many bytes out of pieces."""
    held = b""

    def read(count: int) -> bytes:
        nonlocal held
        while len(held) < count:
            held += next(pieces)
        taken, held = held[:count], held[count:]
        return taken

    return read


def _say(measurement: Measurement) -> None:
    tail = f", p99 {measurement.latency.p99_ms:.2f}" if measurement.latency else ""
    line = f"{measurement.work}: {measurement.system}: {measurement.value:.2f} {measurement.unit}{tail}"
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
