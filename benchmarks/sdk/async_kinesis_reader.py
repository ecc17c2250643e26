"""async-kinesis as a reader: until a count is reached, or as a member of a group, noting what it gave out and when.

It runs in an environment of its own, because of its botocore, and so imports nothing of streamd's. Its leases and
checkpoints are in Redis when it is a member, else in memory.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import time
from typing import Any

from aiobotocore.session import AioSession
from kinesis import Consumer, MemoryCheckPointer, RedisCheckPointer
from kinesis.processors import StringProcessor

__all__: list[str] = []


def _consumer(options: argparse.Namespace) -> Any:
    session = AioSession()
    session.set_credentials("x", "x")
    checkpointer = MemoryCheckPointer(name="bench")
    if options.log is not None:
        checkpointer = RedisCheckPointer(
            name=options.stream,
            id=options.member,
            session_timeout=options.timeout,
            heartbeat_frequency=max(1, options.timeout // 4),
        )
    return Consumer(
        options.stream,
        session=session,
        endpoint_url=options.url,
        region_name="us-east-1",
        checkpointer=checkpointer,
        processor=StringProcessor(),
        max_shard_consumers=options.shards,
        # As quick as its limits of five calls a second let it be.
        sleep_time_no_records=0.2,
        shard_fetch_rate=5,
        max_queue_size=100_000,
    )


async def _count(options: argparse.Namespace) -> None:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    count = 0
    async with _consumer(options) as consumer:
        while count < options.count:
            async for _ in consumer:
                count += 1
                if count == options.count:
                    break
    told = {
        "seconds": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(told), flush=True)


async def _note(options: argparse.Namespace) -> None:
    log = os.open(options.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    reading = asyncio.current_task()
    assert reading is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, reading.cancel)
    # Its way to leave is the end of this block, which gives its shards back.
    with contextlib.suppress(asyncio.CancelledError):
        async with _consumer(options) as consumer:
            while True:
                async for text in consumer:
                    os.write(log, f"{time.monotonic_ns()} {text}\n".encode())


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("stream")
    parser.add_argument("--count", type=int)
    parser.add_argument("--log")
    parser.add_argument("--member")
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--shards", type=int)
    options = parser.parse_args()
    asyncio.run(_count(options) if options.log is None else _note(options))


if __name__ == "__main__":
    _main()
