"""The consumer: records a second of 100 B that one process reads, its processor time, and its memory at the most.

A stream is filled first; each case then reads all of it in a process of its own, as a new group, from the horizon.
async-kinesis reads the same stream where a Python that has it is given.
"""

import asyncio
import gc
import resource
import sys
import time
from pathlib import Path

import click
import orjson

from benchmarks.functions.server import served
from benchmarks.results import Measurement
from benchmarks.sdk.one_process import SHARD_COUNT, measured
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.producer import Producer

__all__ = ["PEER_SCRIPT", "REFERENCE", "measure"]

REFERENCE = "Consumer"
PEER_SCRIPT = Path(__file__).with_name("async_kinesis_reader.py")
_STREAM = "consumed"
_PUSHED = "pushed"
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
        server.create_stream(_STREAM, shard_count=SHARD_COUNT)
        asyncio.run(_fill(url, record_count))
        for case, flags in _FLAGS_BY_CASE.items():
            command = [sys.executable, "-m", "benchmarks.sdk.consumer", url, str(record_count), *flags]
            found += measured(server, command, side="consumer", verb="read", system=case, record_count=record_count)
        if peer_python is not None:
            command = [str(peer_python), str(PEER_SCRIPT), url, _STREAM, "--count", str(record_count)]
            peer = "async-kinesis"
            found += measured(server, command, side="consumer", verb="read", system=peer, record_count=record_count)
    return found


async def _fill(url: str, record_count: int) -> None:
    async with KinesisClient(url, region="us-east-1") as client:
        async with Producer(_STREAM, client=client) as producer:
            for number in range(record_count):
                await producer.put(_DATA, f"key-{number}")
        summary = await client.describe_stream_summary(_STREAM)
        await client.register_stream_consumer(summary["StreamARN"], _PUSHED)


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
