"""The producer: records a second of 100 B that one process puts, its processor time, and its memory at the most.

Each case runs in a process of its own, against a daemon of its own on the same machine. boto3's ``put_records`` with
500 records a call, one call after another, is what a user would write without a producer. "Server" and "load" tell
the cores that the daemon and the producer were busy on.
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
from streamd.sdk.producer import Producer

__all__ = ["REFERENCE", "measure"]

REFERENCE = "Producer"
_STREAM = "produced"
_KEY_COUNT = 100_000
_DATA = b"x" * 100
_FLAGS_BY_CASE = {
    REFERENCE: [],
    "Producer on uvloop": ["--uvloop"],
    "Producer, ordered": ["--ordered"],
    "Producer, aggregating": ["--aggregate"],
    "Producer, put_many of 500": ["--many"],
    "boto3, put_records in turn": ["--boto3"],
}


def measure(folder: Path, *, record_count: int, worker_count: int) -> list[Measurement]:
    """Measure every case once."""
    found: list[Measurement] = []
    for number, (case, flags) in enumerate(_FLAGS_BY_CASE.items()):
        with served(folder / str(number), "--workers", str(worker_count)) as server:
            server.create_stream(_STREAM, shard_count=SHARD_COUNT)
            command = [sys.executable, "-m", "benchmarks.sdk.producer", str(server.port), str(record_count), *flags]
            found += measured(server, command, side="producer", verb="put", system=case, record_count=record_count)
    return found


@click.command()
@click.argument("port", type=int)
@click.argument("record_count", type=int)
@click.option("--uvloop", "with_uvloop", is_flag=True)
@click.option("--ordered", is_flag=True)
@click.option("--aggregate", is_flag=True)
@click.option("--many", is_flag=True)
@click.option("--boto3", "with_boto3", is_flag=True)
def _main(
    *, port: int, record_count: int, with_uvloop: bool, ordered: bool, aggregate: bool, many: bool, with_boto3: bool
) -> None:
    """Put records and tell what it took, as JSON."""
    url = f"http://127.0.0.1:{port}"
    # As a program does that puts at such a rate: else each full collection walks through all that was imported.
    gc.freeze()
    if with_boto3:
        seconds, cpu_s = _put_by_boto3(url, record_count)
    elif many:
        seconds, cpu_s = asyncio.run(_put_many(url, record_count))
    elif with_uvloop:
        import uvloop  # noqa: PLC0415 - measured beside asyncio's own loop

        seconds, cpu_s = uvloop.run(_put(url, record_count, ordered=ordered, aggregate=aggregate))
    else:
        seconds, cpu_s = asyncio.run(_put(url, record_count, ordered=ordered, aggregate=aggregate))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.buffer.write(orjson.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak_mib}))


async def _put(url: str, record_count: int, *, ordered: bool, aggregate: bool) -> tuple[float, float]:
    async with KinesisClient(url) as client:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        async with Producer(_STREAM, client=client, ordered=ordered, aggregate=aggregate) as producer:
            for number in range(record_count):
                await producer.put(_DATA, f"key-{number % _KEY_COUNT}")
        counters = producer.counters()
        assert counters.record_count == record_count, counters
        return time.perf_counter() - started_s, time.process_time() - cpu_s


async def _put_many(url: str, record_count: int) -> tuple[float, float]:
    async with KinesisClient(url) as client:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        async with Producer(_STREAM, client=client) as producer:
            for first in range(0, record_count, 500):
                numbers = range(first, min(first + 500, record_count))
                await producer.put_many([(_DATA, f"key-{number % _KEY_COUNT}") for number in numbers])
        counters = producer.counters()
        assert counters.record_count == record_count, counters
        return time.perf_counter() - started_s, time.process_time() - cpu_s


def _put_by_boto3(url: str, record_count: int) -> tuple[float, float]:
    import boto3  # noqa: PLC0415 - of the `bench` extra

    client = boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - any signature is accepted without --auth
    )
    started_s, cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, record_count, 500):
        records = [
            {"Data": _DATA, "PartitionKey": f"key-{number % _KEY_COUNT}"}
            for number in range(first, min(first + 500, record_count))
        ]
        answer = client.put_records(StreamName=_STREAM, Records=records)
        assert not answer["FailedRecordCount"]
    return time.perf_counter() - started_s, time.process_time() - cpu_s


if __name__ == "__main__":
    _main()
