"""The consumer: records a second of 100 B that one process reads, its processor time, and its memory at the most.

A stream is filled first; each case then reads all of it in a process of its own, as a new group, from the horizon.
async-kinesis reads the same stream where a Python that has it is given.
"""

import asyncio
import gc
import resource
import subprocess
import sys
import time
from pathlib import Path

import click
import orjson

from benchmarks.functions.server import Server, served
from benchmarks.results import Measurement
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.producer import Producer

__all__ = ["PEER_SCRIPT", "REFERENCE", "measure"]

REFERENCE = "Consumer"
PEER_SCRIPT = Path(__file__).with_name("async_kinesis_reader.py")
_STREAM = "consumed"
_PUSHED = "pushed"
_SHARD_COUNT = 4
_DATA = b"x" * 100
_FLAGS_BY_CASE: dict[str, list[str]] = {
    REFERENCE: [],
    "Consumer on uvloop": ["--uvloop"],
    "Consumer, by push": ["--push"],
}


def measure(
    folder: Path, *, record_count: int, worker_count: int, peer_python: Path | None = None
) -> list[Measurement]:
    """Measure every case once."""
    found: list[Measurement] = []
    with served(folder / "consumer", "--workers", str(worker_count)) as server:
        url = f"http://127.0.0.1:{server.port}"
        server.create_stream(_STREAM, shard_count=_SHARD_COUNT)
        asyncio.run(_fill(url, record_count))
        for case, flags in _FLAGS_BY_CASE.items():
            command = [sys.executable, "-m", "benchmarks.sdk.consumer", url, str(record_count), *flags]
            found += _measured(server, case, command, record_count=record_count)
        if peer_python is not None:
            command = [str(peer_python), str(PEER_SCRIPT), url, _STREAM, "--count", str(record_count)]
            found += _measured(server, "async-kinesis", command, record_count=record_count)
    return found


async def _fill(url: str, record_count: int) -> None:
    async with KinesisClient(url, region="us-east-1") as client:
        async with Producer(_STREAM, client=client) as producer:
            for number in range(record_count):
                await producer.put(_DATA, f"key-{number}")
        summary = await client.describe_stream_summary(_STREAM)
        await client.register_stream_consumer(summary["StreamARN"], _PUSHED)


def _measured(server: Server, case: str, command: list[str], *, record_count: int) -> list[Measurement]:
    before_s = server.program.cpu_s()
    # The command is written in this module; the interpreter is the caller's own choice.
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603
    told = orjson.loads(ended.stdout)
    server_s = server.program.cpu_s() - before_s
    figures = [
        ("records read", record_count / told["seconds"], "records/s", True),
        ("processor time of the consumer", told["cpu_s"] / record_count * 1e6, "us/record", False),
        ("processor time of the daemon", server_s / record_count * 1e6, "us/record", False),
        ("memory of the consumer at the most", told["peak_mib"], "MiB", False),
    ]
    return [
        Measurement(
            work=work,
            case=f"{record_count} records of 100 B, {_SHARD_COUNT} shards",
            system=case,
            value=value,
            unit=unit,
            is_more_better=is_more_better,
            server_cores=server_s / told["seconds"],
            generator_cores=told["cpu_s"] / told["seconds"],
        )
        for work, value, unit, is_more_better in figures
    ]


@click.command()
@click.argument("url")
@click.argument("record_count", type=int)
@click.option("--uvloop", "with_uvloop", is_flag=True)
@click.option("--push", is_flag=True)
def _main(*, url: str, record_count: int, with_uvloop: bool, push: bool) -> None:
    """Read records and tell what it took, as JSON."""
    # As a program does that reads at such a rate: else each full collection walks through all that was imported.
    gc.freeze()
    reading = _read(url, record_count, push=push, group=f"group-{time.monotonic_ns()}")
    if with_uvloop:
        import uvloop  # noqa: PLC0415 - measured beside asyncio's own loop

        seconds, cpu_s = uvloop.run(reading)
    else:
        seconds, cpu_s = asyncio.run(reading)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.buffer.write(orjson.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak_mib}))


async def _read(url: str, record_count: int, *, push: bool, group: str) -> tuple[float, float]:
    async with KinesisClient(url, region="us-east-1") as client:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        count = 0
        async with Consumer(_STREAM, group=group, client=client, consumer_name=_PUSHED if push else None) as consumer:
            async for batch in consumer:
                count += len(batch.records)
                if count >= record_count:
                    break
        assert count == record_count
        return time.perf_counter() - started_s, time.process_time() - cpu_s


if __name__ == "__main__":
    _main()
