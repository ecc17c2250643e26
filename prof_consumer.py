import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Consumer
from streamd.sdk.testing.memory_leases import MemoryLeases
from tests.daemons import start_daemon


async def main(url, n, shards):
    async with KinesisClient(url, region="us-east-1") as c:
        await c.create_stream("s", shard_count=shards)
        await c.wait_until_active("s")
        data = b"x" * 100

        async def putter(k):
            for i in range(n // 500 // 8):
                await c.put_records("s", [{"Data": data, "PartitionKey": f"{k}-{i}-{j}"} for j in range(500)])

        t = time.time()
        async with asyncio.TaskGroup() as g:
            for k in range(8):
                g.create_task(putter(k))
        total = n // 500 // 8 * 8 * 500
        print("put", total, time.time() - t)
        for push in (None, "pp"):
            if push:
                a = (await c.describe_stream_summary("s"))["StreamARN"]
                await c.register_stream_consumer(a, push)
            got = 0
            batches = 0
            pr = cProfile.Profile() if "-p" in sys.argv else None
            t = time.time()
            ct = time.process_time()
            if pr:
                pr.enable()
            async with Consumer("s", group="g", client=c, leases=MemoryLeases(), consumer_name=push) as con:
                async for b in con:
                    got += len(b.records)
                    batches += 1
                    if got >= total:
                        break
            if pr:
                pr.disable()
                pstats.Stats(pr).sort_stats("tottime").print_stats(18)
            dt = time.time() - t
            print(
                "push" if push else "poll",
                "shards",
                shards,
                "rate",
                round(got / dt),
                "cpu share",
                (time.process_time() - ct) / dt,
                "batches",
                batches,
            )


d = start_daemon(Path(tempfile.mkdtemp()) / "d", *sys.argv[3:4] if len(sys.argv) > 3 and sys.argv[3] != "-p" else ())
try:
    uvloop.run(main(d.url, int(sys.argv[1]), int(sys.argv[2])))
finally:
    d.stop()
