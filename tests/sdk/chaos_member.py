"""One process of the chaos run: a consumer that writes down what it was given and which checkpoints were accepted.

``python -m tests.sdk.chaos_member URL STREAM MEMBER LOG TIMEOUT_S``. Each line of the log is written before anything
else is done, so that a process that is killed has told all that it did. SIGTERM makes it leave.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from streamd.errors import LeaseLost
from streamd.sdk.client import KinesisClient
from streamd.sdk.consumer import Batch, Consumer

__all__: list[str] = []

# Small batches, so that many are in hand when something happens.
_BATCH_RECORD_COUNT = 50


async def _read(url: str, stream: str, member_id: str, log: int, timeout_s: float) -> None:
    async with (
        KinesisClient(url, region="us-east-1") as client,
        Consumer(
            stream,
            group="chaos",
            client=client,
            member_id=member_id,
            checkpoint="manual",
            member_timeout_s=timeout_s,
            batch_record_count_max=_BATCH_RECORD_COUNT,
        ) as consumer,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(_work(consumer, log))


async def _work(consumer: Consumer, log: int) -> None:
    async for batch in consumer:
        _write(log, _delivery(batch))
        await asyncio.sleep(0)
        began_ns = time.monotonic_ns()
        try:
            await batch.checkpoint()
        except LeaseLost:
            continue
        accepted = {"kind": "accepted", "shard": batch.shard_id, "epoch": batch.epoch, "place": batch.place}
        _write(log, accepted | {"began": began_ns, "ended": time.monotonic_ns()})


def _delivery(batch: Batch) -> dict[str, Any]:
    return {
        "kind": "delivered",
        "shard": batch.shard_id,
        "epoch": batch.epoch,
        "records": [[record.sequence_number, record.data.decode()] for record in batch.records],
    }


def _write(log: int, row: dict[str, Any]) -> None:
    os.write(log, orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    _url, _stream, _member_id, _log, _timeout_s = sys.argv[1:]
    _file = os.open(Path(_log), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    asyncio.run(_read(_url, _stream, _member_id, _file, float(_timeout_s)))
