"""While the room for answers is full, whoever takes nothing is given up, and whoever takes slowly is not.

What a client has taken is not seen from what the daemon has left to write: the kernel holds megabytes of it, and takes
more only once it has got rid of much. The daemon's clocks are moved, so that it looks when the test says so.
"""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest

from streamd.core.limits import ANSWER_ROOM_BYTE_COUNT_MAX, SMALL_ANSWER_BYTE_COUNT_MAX
from tests.audit.load_watch import sample_of
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.durability.wall_clock import WallClock
from tests.server.answer_clients import ask_in_chunks, ask_with_length, filled, starer
from tests.server.http2_client import Http2Client
from tests.server.tls_daemons import served_over_tls

__all__: list[str] = []

_ANSWER_BYTE_COUNT = 12 << 20
# So many starers fill the room.
_STARER_COUNT = ANSWER_ROOM_BYTE_COUNT_MAX // _ANSWER_BYTE_COUNT + 2
_ROUND_COUNT = 2
# Less than a daemon waits for whoever takes nothing, and twice it is more.
_STEP_S = 3
_TAKEN_BYTE_COUNT = 2 * SMALL_ANSWER_BYTE_COUNT_MAX


_Dial = Callable[[], AbstractContextManager[socket.socket]]


@pytest.fixture(params=["plain", "TLS"])
def served(
    request: pytest.FixtureRequest, daemon_factory: DaemonFactory, tmp_path: Path, clock: WallClock
) -> tuple[Daemon, _Dial]:
    """Give a daemon, and how to connect so that the kernel takes little ahead."""
    if request.param == "TLS":
        found = served_over_tls(daemon_factory, tmp_path / "tls", environment=clock.environment)
        return found.daemon, partial(found.dial, byte_count=_TAKEN_BYTE_COUNT)
    daemon = daemon_factory(environment=clock.environment)
    return daemon, partial(starer, daemon, byte_count=_TAKEN_BYTE_COUNT)


@pytest.mark.parametrize("ask", [ask_with_length, ask_in_chunks], ids=["length", "chunks"])
def test_a_client_that_takes_slowly_keeps_its_answer_while_the_room_is_full(
    served: tuple[Daemon, _Dial], clock: WallClock, ask: Callable[[socket.socket, str], None]
) -> None:
    daemon, dial = served
    iterator, _ = filled(daemon)
    with dial() as connection:
        ask(connection, iterator)
        taken = len(_read(connection, 1))

        def take() -> None:
            nonlocal taken
            taken += len(_read(connection, _TAKEN_BYTE_COUNT))

        for _ in range(_ROUND_COUNT):
            _have_starers_given_up(daemon, clock, iterator, take)
        while taken < _ANSWER_BYTE_COUNT:
            taken += len(_read(connection, min(1 << 20, _ANSWER_BYTE_COUNT - taken)))


def test_a_client_that_takes_slowly_by_http2_keeps_its_connection_while_the_room_is_full(
    served: tuple[Daemon, _Dial], clock: WallClock
) -> None:
    daemon, dial = served
    iterator, _ = filled(daemon)
    with dial() as connection:
        client = Http2Client(connection, window=2 * _ANSWER_BYTE_COUNT)
        client.give_room(2 * _ANSWER_BYTE_COUNT)
        number = client.ask("GetRecords", {"ShardIterator": iterator})
        pieces = client.answers[number].pieces
        while not pieces:
            assert client.receive()

        def take() -> None:
            before = sum(map(len, pieces))
            while sum(map(len, pieces)) - before < _TAKEN_BYTE_COUNT:
                assert client.receive()

        for _ in range(_ROUND_COUNT):
            _have_starers_given_up(daemon, clock, iterator, take)

        assert client.answer(number).status == 200


def _have_starers_given_up(daemon: Daemon, clock: WallClock, iterator: str, take: Callable[[], None]) -> None:
    """Fill the room by clients that take nothing, and have the daemon look, while somebody takes something."""
    with ExitStack() as stack:
        starers = [stack.enter_context(starer(daemon)) for _ in range(_STARER_COUNT)]
        for each in starers:
            ask_with_length(each, iterator)
        for each in starers:
            assert each.recv(1, socket.MSG_PEEK)
        left = _descriptor_count(daemon) - _STARER_COUNT
        while _descriptor_count(daemon) > left:
            take()
            clock.let_pass(_STEP_S)


def _descriptor_count(daemon: Daemon) -> int:
    # Asking wakes the daemon, so that it meets the timers that are due.
    assert raw(daemon.url, "ListStreams", {}).status == 200
    return sample_of(daemon).descriptor_count


def _read(connection: socket.socket, byte_count: int) -> bytes:
    received = b""
    while len(received) < byte_count:
        piece = connection.recv(byte_count - len(received))
        assert piece, "the connection was closed"
        received += piece
    return received
