"""A client of HTTP/2 that costs next to nothing: prebuilt frames on raw sockets, and answers told by their flags.

Header blocks are literal fields without indexing, so they can be sent again and again in any order. Rooms that the
server grants are counted for each connection and stream; the room that the server may use is made large at once, and
given back in large steps. One thread waits on all connections.
"""

import resource
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.load import Latency
from streamd.server.http2_heads import LiteralEncoder

__all__ = ["Http2Load", "Http2Outcome", "Http2Request", "drive_http2", "pushed_pieces"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = struct.Struct(">HBBBI")
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW, _ENABLE_PUSH = 4, 2
_ROOM = (1 << 31) - 1
_ROOM_AT_FIRST = 65_535
_FRAME_BYTE_COUNT_MAX = 16_384
_GIVEN_BACK = 1 << 24
_DRAIN_S_MAX = 30.0
_NUMBER_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Http2Request:
    """A header block and a body; ``unit_count`` is what one of it counts for."""

    block: bytes
    body: bytes
    unit_count: int = 1

    @classmethod
    def of(cls, method: str, headers: Sequence[tuple[str, str]], body: bytes, *, unit_count: int = 1) -> "Http2Request":
        """Write the header block of a request to ``/``."""
        fields = [(":method", method), (":scheme", "http"), (":path", "/"), *headers]
        block = LiteralEncoder().encode([(name.encode(), value.encode()) for name, value in fields])
        return cls(block, body, unit_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Load:
    """Requests over and over, so many at a time on so many connections, for so long."""

    port: int
    requests: Sequence[Http2Request]
    connection_count: int
    stream_count: int
    duration_s: float


@dataclass(slots=True)
class Http2Outcome:
    """What came of a load: requests answered whole, units of them, and bytes of bodies that came back."""

    elapsed_s: float = 0.0
    request_count: int = 0
    unit_count: int = 0
    received_byte_count: int = 0
    generator_cpu_s: float = 0.0
    failure: str = ""
    latency: Latency = field(default_factory=Latency)


class _Connection:
    def __init__(self, load: Http2Load) -> None:
        self.socket = socket.create_connection(("127.0.0.1", load.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.next_number = 1
        self.room = self.stream_room = _ROOM_AT_FIRST
        self.room_by_number: dict[int, int] = {}
        self.unsent: deque[tuple[int, memoryview]] = deque()
        self.started_by_number: dict[int, tuple[float, int]] = {}
        self.received = b""
        self.owed_byte_count = 0
        settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW, _ROOM)
        self.outbox = bytearray(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _update(0, _ROOM - _ROOM_AT_FIRST))


def pushed_pieces(connection: socket.socket, request: Http2Request) -> Iterator[bytes]:
    """Ask for one thing over a fresh connection; the answer's pieces as they come. Raises ConnectionError."""
    settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW, _ROOM)
    hello = _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _update(0, _ROOM - _ROOM_AT_FIRST)
    head, body = _frame(_HEADERS, _END_HEADERS, 1, request.block), _frame(_DATA, _END_STREAM, 1, request.body)
    connection.sendall(hello + head + body)
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
        at = 0
        while at + 9 <= len(data):
            high, low, kind, flags, _ = _HEAD.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if end > len(data):
                break
            if kind == _SETTINGS and not flags & _ACK:
                connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            if kind in (_RESET, _GOAWAY):
                raise ConnectionError(f"frame {kind}: {data[at + 9 : end]!r}")
            if kind == _DATA:
                yield data[at + 9 : end]
            at = end
        data = data[at:]


def drive_http2(load: Http2Load) -> Http2Outcome:
    """Send a load's requests until its time is over, and wait for the answers under way."""
    return _Drive(load).run()


class _Drive:
    def __init__(self, load: Http2Load) -> None:
        self._load = load
        self._outcome = Http2Outcome()
        self._durations_s: list[float] = []
        self._place = 0
        self._deadline_s = 0.0

    def run(self) -> Http2Outcome:
        """Drive the load."""
        load, outcome = self._load, self._outcome
        connections = [_Connection(load) for _ in range(load.connection_count)]
        poll = select.epoll()
        connection_by_number = {}
        for connection in connections:
            connection.socket.setblocking(False)
            connection_by_number[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
        used_s, start_s = _cpu_s(), time.perf_counter()
        self._deadline_s = start_s + load.duration_s
        for connection in connections:
            for _ in range(load.stream_count):
                self._open(connection, start_s)
            self._flush(connection, poll)
        while any(connection.started_by_number for connection in connections) and not outcome.failure:
            for number, event in poll.poll(1.0):
                connection = connection_by_number[number]
                if event & ~select.EPOLLOUT:
                    self._receive(connection)
                self._flush(connection, poll)
            if time.perf_counter() > self._deadline_s + _DRAIN_S_MAX:
                outcome.failure = "answers did not come"
        outcome.elapsed_s = time.perf_counter() - start_s
        outcome.generator_cpu_s = _cpu_s() - used_s
        outcome.latency = Latency.of(self._durations_s)
        for connection in connections:
            connection.socket.close()
        poll.close()
        return outcome

    def _open(self, connection: _Connection, now_s: float) -> None:
        request = self._load.requests[self._place % len(self._load.requests)]
        self._place += 1
        number = connection.next_number
        connection.next_number += 2
        connection.started_by_number[number] = (now_s, request.unit_count)
        flags = _END_HEADERS if request.body else _END_HEADERS | _END_STREAM
        connection.outbox += _frame(_HEADERS, flags, number, request.block)
        if request.body:
            connection.room_by_number[number] = connection.stream_room
            connection.unsent.append((number, memoryview(request.body)))

    def _flush(self, connection: _Connection, poll: select.epoll) -> None:
        self._fill(connection)
        try:
            while connection.outbox:
                del connection.outbox[: connection.socket.send(connection.outbox)]
                self._fill(connection)
        except BlockingIOError:
            pass
        except ConnectionError as error:
            self._outcome.failure = self._outcome.failure or str(error)
            return
        wanted = select.EPOLLIN | (select.EPOLLOUT if connection.outbox else 0)
        poll.modify(connection.socket, wanted)

    def _fill(self, connection: _Connection) -> None:
        """Write down what of the bodies has room."""
        for _ in range(len(connection.unsent)):
            number, body = connection.unsent.popleft()
            while body and len(connection.outbox) < 1 << 20:
                room = min(connection.room, connection.room_by_number[number], _FRAME_BYTE_COUNT_MAX)
                if room <= 0:
                    break
                piece, body = body[:room], body[room:]
                connection.outbox += _frame(_DATA, 0 if body else _END_STREAM, number, piece)
                connection.room -= len(piece)
                connection.room_by_number[number] -= len(piece)
            if body:
                connection.unsent.append((number, body))
            else:
                del connection.room_by_number[number]

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.received + connection.socket.recv(1 << 20)
        except BlockingIOError:
            return
        if len(data) == len(connection.received):
            self._outcome.failure = self._outcome.failure or "the server hung up"
            return
        now_s, at = time.perf_counter(), 0
        while at + 9 <= len(data):
            high, low, kind, flags, number = _HEAD.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if end > len(data):
                break
            self._heed(connection, kind, flags, number, data[at + 9 : end], now_s=now_s)
            at = end
        connection.received = data[at:]

    def _heed(
        self, connection: _Connection, kind: int, flags: int, number: int, payload: bytes, *, now_s: float
    ) -> None:
        if kind == _DATA:
            self._outcome.received_byte_count += len(payload)
            connection.owed_byte_count += len(payload)
            if connection.owed_byte_count > _GIVEN_BACK:
                connection.outbox += _update(0, connection.owed_byte_count)
                connection.owed_byte_count = 0
        elif kind == _SETTINGS and not flags & _ACK:
            connection.outbox += _frame(_SETTINGS, _ACK, 0, b"")
            self._take_settings(connection, payload)
        elif kind == _WINDOW_UPDATE:
            (room,) = struct.unpack(">I", payload)
            if number == 0:
                connection.room += room
            elif number in connection.room_by_number:
                connection.room_by_number[number] += room
        elif kind == _PING and not flags & _ACK:
            connection.outbox += _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY or (kind == _RESET and number in connection.started_by_number):
            self._outcome.failure = self._outcome.failure or f"frame {kind}: {payload!r}"
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self._end(connection, number, now_s)

    def _take_settings(self, connection: _Connection, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                for number in connection.room_by_number:
                    connection.room_by_number[number] += value - connection.stream_room
                connection.stream_room = value

    def _end(self, connection: _Connection, number: int, now_s: float) -> None:
        found = connection.started_by_number.pop(number, None)
        if found is None:
            return
        started_s, unit_count = found
        self._outcome.request_count += 1
        self._outcome.unit_count += unit_count
        self._durations_s.append(now_s - started_s)
        if now_s < self._deadline_s and connection.next_number < _NUMBER_MAX:
            self._open(connection, now_s)


def _frame(kind: int, flags: int, number: int, payload: bytes | memoryview) -> bytes:
    length = len(payload)
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, number) + payload


def _update(number: int, room: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, number, struct.pack(">I", room))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
