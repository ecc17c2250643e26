"""A real daemon under broken bytes, watched: what must not have happened is looked for at its end."""

import contextlib
import re
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.daemons import Daemon, start_daemon
from tests.kinesis.calls import records_of
from tests.server.connections import dial, read_answer, whole_request

__all__ = ["SERVER_FAULT", "Watched", "all_of", "watched_daemon"]

SERVER_FAULT = re.compile(rb"HTTP/1\.[01] 5\d\d|\x07:status\x035\d\d")
_BUG = re.compile(r"Traceback|bug in streamd")
_INTERNAL_FAILURE = re.compile(r'^streamd_requests_total\{[^}]*error="InternalFail[^}]*\} [1-9]', re.MULTILINE)
_GROWTH_BYTE_COUNT_MAX = 48 << 20
_PATIENCE_S = 30
# Some requests are whole and some will never be: who is silent for this long is taken to wait for more. Too short a
# silence would only hide an answer, never fail a test.
_SILENCE_S = 0.02
_KEPT = "kept"


@dataclass
class Watched:
    """A daemon, and what it has acknowledged to us of a stream that nobody else uses."""

    daemon: Daemon
    acknowledged: list[str] = field(default_factory=list)

    def assert_serves(self) -> None:
        """Put a record over a fresh connection."""
        body = orjson.dumps({"StreamName": _KEPT, "PartitionKey": "k", "Data": "ZGF0YQ=="})
        with dial(self.daemon) as connection:
            connection.sendall(whole_request("PutRecord", body))
            answer = read_answer(connection)
        assert answer.status == 200, answer
        self.acknowledged.append(answer.json()["SequenceNumber"])


@contextmanager
def watched_daemon(folder: Path, *flags: str, warm_up: Sequence[bytes] = ()) -> Iterator[Watched]:
    """Give a daemon with the streams kept and fuzzed; at its end nothing may have been lost, grown, or gone wrong."""
    daemon = start_daemon(folder / "data", *flags)
    client = daemon.client()
    for name in (_KEPT, "fuzzed"):
        client.create_stream(StreamName=name, ShardCount=1)
    watched = Watched(daemon)
    for request in warm_up:
        all_of(daemon, [request])
    before = _own_byte_count(daemon)
    yield watched
    page = daemon.page("/metrics").body.decode()
    grown = _own_byte_count(daemon) - before
    found = [record["SequenceNumber"] for record in records_of(client, _KEPT)]
    assert daemon.stop() == 0
    assert not _BUG.search(daemon.log.read_text()), daemon.log.read_text()[-4_000:]
    assert not _INTERNAL_FAILURE.search(page)
    assert found == watched.acknowledged
    assert grown < _GROWTH_BYTE_COUNT_MAX


def all_of(daemon: Daemon, pieces: list[bytes], *, is_closed_by_server: bool = False) -> bytes:
    """Send pieces, read what is answered, then say that nothing follows and read to the end.

    With ``is_closed_by_server`` nothing is said, since what was sent makes the server close when all is answered.
    Raises TimeoutError when the connection neither answers nor ends.
    """
    received = bytearray()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=_PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _but_for_hang_ups():
            for piece in pieces:
                connection.sendall(piece)
            is_open = not is_closed_by_server
            # At the end of what is said at all aiohttp gives up on answers that are still under way.
            while is_open and select.select([connection], [], [], _SILENCE_S)[0]:
                piece = connection.recv(1 << 16)
                received += piece
                is_open = bool(piece)
            if not is_closed_by_server:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                received += piece
    return bytes(received)


@contextmanager
def _but_for_hang_ups() -> Iterator[None]:
    """Let a server hang up, which is an answer too; one that has already leaves ENOTCONN, no ConnectionError."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError:
        pass


def _own_byte_count(daemon: Daemon) -> int:
    for line in Path(f"/proc/{daemon.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError
