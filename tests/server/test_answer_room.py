"""What answers hold that clients do not take: it is bounded over every door, and whoever takes nothing is given up."""

import asyncio
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson
import pytest

from streamd.core.limits import ANSWER_ROOM_BYTE_COUNT_MAX, GET_RECORDS_BYTE_COUNT_MAX, SMALL_ANSWER_BYTE_COUNT_MAX
from streamd.engine.answer_room import AnswerRoom
from tests.audit.load_watch import sample_of, watching
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.server.connections import JSON, head_of, whole_request
from tests.server.http2_client import Http2Client
from tests.workers.wire import count_of, until

__all__: list[str] = []

_MIB = 1 << 20
_STARER_COUNT = 40
_CONSUMER_COUNT = 20
_RECORD_BYTE_COUNT = 9 * _MIB
_PATIENCE_S = 60
# Twice the room, what takes it there, and what two that are being made take as blocks, records and text, and leave:
# less than all of the answers take together.
_MEMORY_MIB_MAX = (2 * ANSWER_ROOM_BYTE_COUNT_MAX + 28 * GET_RECORDS_BYTE_COUNT_MAX) / _MIB


def _lean(_: Daemon, connection: socket.socket, number: int, iterators: list[str]) -> None:
    connection.sendall(whole_request("GetRecords", orjson.dumps({"ShardIterator": iterators[number % 2]})))


def _web(_: Daemon, connection: socket.socket, number: int, iterators: list[str]) -> None:
    body = orjson.dumps({"ShardIterator": iterators[number % 2]})
    head = head_of("GetRecords", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


def _http2(_: Daemon, connection: socket.socket, number: int, iterators: list[str]) -> None:
    client = Http2Client(connection)
    headers = {"x-amz-target": "Kinesis_20131202.GetRecords", "content-type": JSON}
    stream = client.open(headers)
    client.send_body(stream, orjson.dumps({"ShardIterator": iterators[number % 2]}))


def _push(daemon: Daemon, connection: socket.socket, number: int, _: list[str]) -> None:
    client = daemon.client()
    arn = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    name = f"consumer-{number % _CONSUMER_COUNT}"
    try:
        consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName=name)["Consumer"]["ConsumerARN"]
    except client.exceptions.ResourceInUseException:
        told = client.describe_stream_consumer(StreamARN=arn, ConsumerName=name)["ConsumerDescription"]
        consumer = told["ConsumerARN"]
    asked = {
        "ConsumerARN": consumer,
        "ShardId": f"shardId-{number // _CONSUMER_COUNT:012d}",
        "StartingPosition": {"Type": "TRIM_HORIZON"},
    }
    connection.sendall(whole_request("SubscribeToShard", orjson.dumps(asked)))


@pytest.mark.parametrize("ask", [_lean, _web, _http2, _push])
def test_answers_that_nobody_takes_hold_no_more_than_their_room(
    daemon_factory: DaemonFactory, ask: Callable[[Daemon, socket.socket, int, list[str]], None]
) -> None:
    daemon = daemon_factory()
    iterators = _fill(daemon)
    idle = sample_of(daemon)
    with watching(daemon, pause_s=0.05) as watch, ExitStack() as stack:
        for number in range(_STARER_COUNT):
            ask(daemon, stack.enter_context(_starer(daemon)), number, iterators)
        until(lambda: count_of(daemon, "streamd_worker_answer_bytes") > ANSWER_ROOM_BYTE_COUNT_MAX)
        # Whoever takes nothing is given up, so there is room again for one who does.
        until(lambda: _has_read(daemon, iterators), patience_s=_PATIENCE_S)

    assert watch.most.memory_mib - idle.memory_mib < _MEMORY_MIB_MAX
    until(lambda: count_of(daemon, "streamd_worker_answer_bytes") == 0)
    assert "Traceback" not in daemon.log.read_text()


async def test_a_full_room_gives_little_and_an_overfull_one_nothing() -> None:
    room = AnswerRoom(1_000_000)
    async with room.share(10 * _MIB) as byte_count_max:
        assert byte_count_max == 10 * _MIB

    room.hold(1_000_001)
    async with room.share(10 * _MIB) as byte_count_max:
        assert byte_count_max == SMALL_ANSWER_BYTE_COUNT_MAX
    assert (room.is_full, room.is_overfull) == (True, False)
    assert await room.until_room(timeout_s=0)

    room.hold(1_000_000)
    assert room.is_overfull
    assert not await room.until_room(timeout_s=0)
    waiting = asyncio.ensure_future(room.until_room(timeout_s=_PATIENCE_S))
    await asyncio.sleep(0)
    room.give_back(1)
    assert await waiting


def _fill(daemon: Daemon) -> list[str]:
    """Make a stream of two shards, each with one large record; an iterator for each."""
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=2)
    arn = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10_240)
    data = b64encode(bytes(_RECORD_BYTE_COUNT)).decode()
    for hash_key in (0, 1 << 127):
        members = {"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": str(hash_key), "Data": data}
        assert raw(daemon.url, "PutRecord", members).status == 200
    return [
        client.get_shard_iterator(StreamName="s", ShardId=f"shardId-{index:012d}", ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        for index in range(2)
    ]


@contextmanager
def _starer(daemon: Daemon) -> Iterator[socket.socket]:
    """Open a connection on which the kernel takes little for a client that takes nothing."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(_PATIENCE_S)
        connection.connect(("127.0.0.1", daemon.port))
        yield connection


def _has_read(daemon: Daemon, iterators: list[str]) -> bool:
    answer = raw(daemon.url, "GetRecords", {"ShardIterator": iterators[0]})
    document: dict[str, Any] = orjson.loads(answer.body)
    if answer.status != 200:
        assert document["__type"] == "ProvisionedThroughputExceededException"
        return False
    assert len(document["Records"]) == 1
    return True
