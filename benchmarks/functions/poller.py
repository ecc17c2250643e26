"""A poller as emulators have it, for comparison: once a second it looks at each shard in turn, and invokes by boto3.

It is what streamd's mappings are not: nothing wakes it, and no two batches are under way at once.
"""

import threading
import time
from base64 import b64encode
from typing import Any

import boto3
import orjson
from botocore.config import Config

from benchmarks.functions.server import Server

__all__ = ["polled_rate"]

_PAUSE_S = 1.0
_BATCH_SIZE = 100


def polled_rate(server: Server, stream: str, function: str, *, duration_s: float) -> float:
    """Poll a stream from its beginning and feed a function, for a few rounds; records a second."""
    kinesis, lambda_ = _client(server, "kinesis"), _client(server, "lambda")
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    place_by_shard = {
        shard["ShardId"]: kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for shard in shards
    }
    pause = threading.Event()
    done, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < duration_s:
        for shard_id, place in place_by_shard.items():
            answer = kinesis.get_records(ShardIterator=place, Limit=_BATCH_SIZE)
            place_by_shard[shard_id] = answer["NextShardIterator"]
            if answer["Records"]:
                done += _invoked(lambda_, function, shard_id, answer["Records"])
        pause.wait(_PAUSE_S)
    return done / (time.perf_counter() - started_s)


def _client(server: Server, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - any key will do
        config=Config(retries={"total_max_attempts": 1}),
    )


def _invoked(client: Any, function: str, shard_id: str, records: list[dict[str, Any]]) -> int:
    """Invoke a function with a batch; its size. Raises RuntimeError when the function failed."""
    event = {
        "Records": [
            {
                "eventSource": "aws:kinesis",
                "eventID": f"{shard_id}:{record['SequenceNumber']}",
                "kinesis": {
                    "partitionKey": record["PartitionKey"],
                    "sequenceNumber": record["SequenceNumber"],
                    "data": b64encode(record["Data"]).decode(),
                },
            }
            for record in records
        ]
    }
    answer = client.invoke(FunctionName=function, Payload=orjson.dumps(event))
    if "FunctionError" in answer:
        raise RuntimeError(answer["Payload"].read().decode())
    return len(records)
