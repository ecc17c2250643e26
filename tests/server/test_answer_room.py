"""What answers hold that clients do not take: it is bounded over every door, and whoever takes nothing is given up."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import orjson
import pytest

from streamd.core.limits import ANSWER_ROOM_BYTE_COUNT_MAX, GET_RECORDS_BYTE_COUNT_MAX, SMALL_ANSWER_BYTE_COUNT_MAX
from streamd.engine.answer_room import AnswerRoom
from tests.audit.load_watch import sample_of, watching
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.server.answer_clients import ask_by_http2, ask_in_chunks, ask_with_length, filled, starer
from tests.server.connections import whole_request
from tests.workers.wire import count_of, until

__all__: list[str] = []

_Ask = Callable[[Daemon, socket.socket, int, list[str]], None]

_MIB = 1 << 20
_STARER_COUNT = 40
_CONSUMER_COUNT = 20
_PATIENCE_S = 60
# Twice the room, what takes it there, and what two that are being made take as blocks, records and text, and leave:
# less than all of the answers take together.
_MEMORY_MIB_MAX = (2 * ANSWER_ROOM_BYTE_COUNT_MAX + 28 * GET_RECORDS_BYTE_COUNT_MAX) / _MIB


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


def _of_one(ask: Callable[[socket.socket, str], None]) -> _Ask:
    return lambda _, connection, number, iterators: ask(connection, iterators[number % 2])


@pytest.mark.parametrize(
    "ask",
    [_of_one(ask_with_length), _of_one(ask_in_chunks), _of_one(ask_by_http2), _push],
    ids=["length", "chunks", "HTTP/2", "push"],
)
def test_answers_that_nobody_takes_hold_no_more_than_their_room(daemon_factory: DaemonFactory, ask: _Ask) -> None:
    daemon = daemon_factory()
    iterators = filled(daemon)
    idle = sample_of(daemon)
    with watching(daemon, pause_s=0.05) as watch, ExitStack() as stack:
        for number in range(_STARER_COUNT):
            ask(daemon, stack.enter_context(starer(daemon)), number, iterators)
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


def _has_read(daemon: Daemon, iterators: list[str]) -> bool:
    answer = raw(daemon.url, "GetRecords", {"ShardIterator": iterators[0]})
    document: dict[str, Any] = orjson.loads(answer.body)
    if answer.status != 200:
        assert document["__type"] == "ProvisionedThroughputExceededException"
        return False
    assert len(document["Records"]) == 1
    return True
