"""What bodies hold at the door: large ones wait for each other, small ones for nobody, and who stalls is given up."""

import asyncio
import select
import socket
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import Queue

import orjson

from streamd.core.limits import DOOR_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.answer_room import AnswerRoom
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.door_budget import DoorBudget, Seat
from streamd.server.lean import LeanConnection
from streamd.server.lean_hall import LeanHall
from tests.conftest import DaemonFactory
from tests.server.connections import JSON, dial, exchange, head_of, read_answer, whole_request
from tests.server.http2_client import Http2Client, dial_http2

__all__: list[str] = []

_KIB = 1024
_PATIENCE_S = 30
# Nothing was taken for so long: the server reads no more.
_TAKEN_S = 0.5
_BODY_BYTE_COUNT = 13 * 1024 * _KIB
_PIECE = bytes(64 * _KIB)


class _Body:
    """A body that comes when it is told to."""

    def __init__(self, budget: DoorBudget, byte_count: int) -> None:
        self.go_on_count = 0
        self.seat = Seat(budget, byte_count, self._go_on)

    def _go_on(self) -> None:
        self.go_on_count += 1

    def bring(self, byte_count: int) -> bool:
        """Bring bytes; tells whether it waits now."""
        if self.seat.take(byte_count):
            self.seat.wait()
        return self.seat.is_waiting


def test_bodies_that_came_in_part_never_wait_for_each_other_for_ever() -> None:
    budget = DoorBudget(100 * _KIB)
    bodies = [_Body(budget, 200 * _KIB) for _ in range(10)]

    held = 0
    waiting = list(bodies)
    for body in bodies:
        body.bring(70 * _KIB)
    while waiting:
        (moving, *_) = [body for body in waiting if not body.seat.is_waiting]
        held = max(held, budget.byte_count)
        if moving.bring(min(70 * _KIB, moving.seat.missing_byte_count)):
            continue
        if not moving.seat.missing_byte_count:
            moving.seat.leave()
            waiting.remove(moving)

    assert budget.byte_count == 0
    assert not budget.is_awaited
    # What each had brought when it was told to wait, and the rest of the one that is read on all the same.
    assert held <= 10 * 70 * _KIB + 200 * _KIB


def test_a_small_body_never_waits() -> None:
    budget = DoorBudget(100 * _KIB)
    large, other, small = _Body(budget, 500 * _KIB), _Body(budget, 500 * _KIB), _Body(budget, 64 * _KIB)

    large.bring(200 * _KIB)

    assert other.bring(70 * _KIB)
    assert not small.bring(64 * _KIB)


def test_a_body_that_leaves_while_it_waits_is_let_on_no_more() -> None:
    budget = DoorBudget(100 * _KIB)
    first, second, third = (_Body(budget, 500 * _KIB) for _ in range(3))
    first.bring(200 * _KIB)
    second.bring(70 * _KIB)
    third.bring(70 * _KIB)

    second.seat.leave()
    first.seat.leave()

    assert (first.go_on_count, second.go_on_count, third.go_on_count) == (1, 0, 1)
    assert budget.byte_count == 70 * _KIB


def test_a_connection_that_goes_while_it_is_read_on_lets_the_next_one_on() -> None:
    budget = DoorBudget(100 * _KIB)
    first, second, third = (_Body(budget, 0) for _ in range(3))
    for connection, kib in ((first, 200), (second, 70), (third, 70)):
        connection.bring(kib * _KIB)

    first.seat.give_back(200 * _KIB)
    counts = [connection.go_on_count for connection in (first, second, third)]
    second.seat.stop_waiting()

    assert counts == [1, 1, 0]
    assert third.go_on_count == 1
    assert budget.byte_count == 140 * _KIB
    second.seat.give_back(70 * _KIB)
    assert budget.byte_count == 70 * _KIB


def test_behind_stalled_bodies_small_puts_are_served_and_large_ones_once_the_stalled_are_given_up(
    daemon_factory: DaemonFactory,
) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    small = {"StreamName": "s", "PartitionKey": "k", "Data": b64encode(b"small").decode()}
    large = small | {"Data": b64encode(bytes(1_000_000)).decode()}

    with ExitStack() as stack:
        stalled = [stack.enter_context(dial(daemon)) for _ in range(DOOR_BYTE_COUNT_MAX // _BODY_BYTE_COUNT + 4)]
        for connection in stalled:
            connection.sendall(head_of("PutRecords", {"Content-Type": JSON, "Content-Length": str(_BODY_BYTE_COUNT)}))
        _send_and_stall(stalled)
        answers = [
            exchange(daemon, whole_request("PutRecord", orjson.dumps(document))).status for document in (small, large)
        ]
        given_up = [connection for connection in stalled if select.select([connection], [], [], 0)[0]]
        statuses = {read_answer(connection).status for connection in given_up}

    assert answers == [200, 200]
    assert statuses == {408}


def test_over_http2_stalled_bodies_are_given_up_too_and_small_puts_never_wait(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="s", ShardCount=1)
    small = {"StreamName": "s", "PartitionKey": "k", "Data": b64encode(b"small").decode()}
    large = small | {"Data": b64encode(bytes(1_000_000)).decode()}
    stalled_count = DOOR_BYTE_COUNT_MAX // _BODY_BYTE_COUNT + 4
    given_up: Queue[int] = Queue()

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(stalled_count))
        for _ in range(stalled_count):
            stalled = stack.enter_context(dial_http2(daemon.port))
            # Wakes a thread that still waits there.
            stack.callback(stalled.socket.shutdown, socket.SHUT_RDWR)
            threads.submit(_stall_over_http2, stalled, given_up)
        first = given_up.get(timeout=_PATIENCE_S)
        connection = stack.enter_context(dial_http2(daemon.port))
        answers = [connection.call("PutRecord", document).status for document in (small, large)]

    assert first == 408
    assert answers == [200, 200]


async def test_a_connection_accepted_while_the_door_closes_is_ended() -> None:
    hall = LeanHall(_NoDialect(), lambda _begun: None, AnswerRoom())
    server = await asyncio.get_running_loop().create_server(lambda: LeanConnection(hall), "127.0.0.1", 0)
    await hall.drain(patience_s=0)

    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(_PATIENCE_S):
        rest = await reader.read()
    writer.close()
    server.close()

    assert rest == b""


class _NoDialect:
    """Is never asked."""

    async def answer(self, request: SignedRequest) -> Reply:
        raise AssertionError(request)

    def read_plain_put(self, request: SignedRequest) -> PlainPut | None:
        raise AssertionError(request)

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        raise AssertionError(puts)


def _send_and_stall(connections: Sequence[socket.socket]) -> None:
    """Send of each body all but a byte, as far as the server reads on."""
    unsent = dict.fromkeys(connections, _BODY_BYTE_COUNT - 1)
    while unsent and (writable := select.select([], list(unsent), [], _TAKEN_S)[1]):
        for connection in writable:
            unsent[connection] -= connection.send(_PIECE[: unsent[connection]])
            if not unsent[connection]:
                del unsent[connection]


def _stall_over_http2(connection: Http2Client, given_up: Queue[int]) -> None:
    """Send all of a body but a byte; tells what is answered. Ends with the connection."""
    head = {"x-amz-target": "Kinesis_20131202.PutRecords", "content-type": JSON}
    number = connection.open(head | {"content-length": str(_BODY_BYTE_COUNT)})
    connection.send_body(number, bytes(_BODY_BYTE_COUNT - 1), end_stream=False)
    given_up.put(connection.answer(number).status)
