"""The load generator: prebuilt bytes on raw sockets, in a process of its own.

One thread waits on all connections with epoll, so that a request costs little more than its two system calls. It
measures itself: `Outcome.generator_cores` says how busy it was, and a result of a generator that was busy all the
time is marked. At the end of its time it sends nothing more and waits for the answers under way, so that what was
acknowledged is known exactly.
"""

import contextlib
import gc
import multiprocessing
import resource
import select
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.answers import GeneratorFault, reader_of
from benchmarks.load import INBOX_MARK, Latency, Load, Outcome, Request

__all__ = ["Generator", "drive", "generator_process"]

_PIECE_BYTE_COUNT = 1 << 20
# Signatures hold for five minutes; a new set is built well before.
_REQUESTS_AGE_S_MAX = 200.0
_DRAIN_S_MAX = 60.0
_CONNECT_S_MAX = 10.0


class Generator:
    """Hands loads to the generator's process."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def run(self, load: Load) -> Outcome:
        """Drive a load in the other process and wait for what came of it. Raises GeneratorFault."""
        return self._executor.submit(drive, load).result()


@contextlib.contextmanager
def generator_process() -> Iterator[Generator]:
    """Keep a process for the generator."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
        yield Generator(executor)


def drive(load: Load) -> Outcome:
    """Send a load's requests until its time is over. Raises GeneratorFault when an answer cannot be read."""
    gc.collect()
    gc.disable()
    try:
        return _Drive(load).run()
    finally:
        gc.enable()


class _Connection:
    __slots__ = ("number", "outbox", "place", "reader", "request", "socket", "started_s")

    def __init__(self, load: Load, number: int) -> None:
        self.number = number
        self.place = number
        self.reader = reader_of(load.wire)
        self.request: Request | None = None
        self.outbox = memoryview(b"")
        self.started_s = 0.0
        self.socket = _connected(load, number)


class _Drive:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._outcome = Outcome()
        self._put_durations_s: list[float] = []
        self._read_durations_s: list[float] = []
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._busy_count = 0
        self._piece = memoryview(bytearray(_PIECE_BYTE_COUNT))
        self._deadline_s = 0.0
        self._requests: Sequence[Request] = ()
        self._rebuild_s = 0.0

    def run(self) -> Outcome:
        """Drive the load."""
        load = self._load
        self._build()
        connections = [_Connection(load, number) for number in range(load.connection_count)]
        for connection in connections:
            self._watch(connection)
        used_s = _cpu_s()
        start_s = time.perf_counter()
        self._deadline_s = start_s + load.duration_s
        for connection in connections:
            self._send_next(connection, start_s)
        self._answer_until_drained()
        outcome = self._outcome
        outcome.elapsed_s = time.perf_counter() - start_s
        outcome.generator_cpu_s = _cpu_s() - used_s
        outcome.put_latency = Latency.of(self._put_durations_s)
        outcome.read_latency = Latency.of(self._read_durations_s)
        for connection in self._connections.values():
            connection.socket.close()
        self._poll.close()
        return outcome

    def _build(self) -> None:
        self._requests = self._load.source.build(time.time_ns() // 1_000_000)
        self._rebuild_s = time.perf_counter() + _REQUESTS_AGE_S_MAX

    def _watch(self, connection: _Connection) -> None:
        self._connections[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)

    def _answer_until_drained(self) -> None:
        give_up_s = self._deadline_s + _DRAIN_S_MAX
        while self._busy_count:
            events = self._poll.poll(1.0)
            now_s = time.perf_counter()
            if now_s > give_up_s:
                self._fail(f"{self._busy_count} answers did not come within {_DRAIN_S_MAX:.0f} s", self._busy_count)
                return
            if now_s > self._rebuild_s and now_s < self._deadline_s:
                self._build()
            for number, event in events:
                connection = self._connections[number]
                if event & select.EPOLLOUT:
                    self._send_rest(connection)
                if event & ~select.EPOLLOUT:
                    self._receive(connection)

    def _send_next(self, connection: _Connection, now_s: float) -> None:
        request = self._requests[connection.place % len(self._requests)]
        connection.place += 1
        connection.request = request
        connection.reader.expect(request)
        connection.started_s = now_s
        self._busy_count += 1
        if not request.is_read:
            self._outcome.sent_put_count += request.record_count
        content = request.content
        if INBOX_MARK in content[:200]:
            content = content.replace(INBOX_MARK, b"%04d" % connection.number)
        sent = _send(connection.socket, content)
        if sent < len(content):
            connection.outbox = memoryview(content)[sent:]
            self._poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _send_rest(self, connection: _Connection) -> None:
        connection.outbox = connection.outbox[_send(connection.socket, connection.outbox) :]
        if not connection.outbox:
            self._poll.modify(connection.socket, select.EPOLLIN)

    def _receive(self, connection: _Connection) -> None:
        try:
            count = connection.socket.recv_into(self._piece)
        except BlockingIOError:
            return
        except ConnectionResetError:
            count = 0
        if count == 0:
            self._lose(connection)
            return
        if connection.request is None:
            # Nobody asked: NATS pings a client two seconds after it came, which may be after its last answer.
            return
        if not connection.reader.feed(self._piece[:count]):
            return
        now_s = time.perf_counter()
        self._note(connection, now_s)
        if connection.reader.ends_connection:
            self._reconnect(connection)
        if now_s < self._deadline_s:
            self._send_next(connection, now_s)

    def _note(self, connection: _Connection, now_s: float) -> None:
        request = connection.request
        assert request is not None
        connection.request = None
        self._busy_count -= 1
        outcome = self._outcome
        if connection.reader.failure:
            self._fail(connection.reader.failure, 1)
        elif request.is_read:
            self._read_durations_s.append(now_s - connection.started_s)
            outcome.read_request_count += 1
            outcome.read_count += request.record_count
            outcome.read_byte_count += request.byte_count
        else:
            self._put_durations_s.append(now_s - connection.started_s)
            outcome.put_request_count += 1
            outcome.put_count += request.record_count
            outcome.put_byte_count += request.byte_count

    def _lose(self, connection: _Connection) -> None:
        """Go on after the system hung up; a request without its answer counts as failed."""
        is_lost = connection.request is not None
        self._reconnect(connection)
        if not is_lost:
            return
        connection.request = None
        self._busy_count -= 1
        self._fail("the system hung up before it had answered", 1)
        now_s = time.perf_counter()
        if now_s < self._deadline_s:
            self._send_next(connection, now_s)

    def _reconnect(self, connection: _Connection) -> None:
        self._poll.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        connection.socket = _connected(self._load, connection.number)
        connection.reader = reader_of(self._load.wire)
        connection.outbox = memoryview(b"")
        self._watch(connection)

    def _fail(self, reason: str, count: int) -> None:
        self._outcome.failure_count += count
        self._outcome.first_failure = self._outcome.first_failure or reason


def _send(connected: socket.socket, content: bytes | memoryview) -> int:
    try:
        return connected.send(content)
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        # The next receive sees the end of the connection and deals with it.
        return len(content)


def _connected(load: Load, number: int) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", load.port), timeout=_CONNECT_S_MAX)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if load.greeting:
        connected.sendall(load.greeting.replace(INBOX_MARK, b"%04d" % number))
        greeted = b""
        while not greeted.endswith(load.greeting_end):
            piece = connected.recv(_PIECE_BYTE_COUNT)
            if not piece:
                raise GeneratorFault(f"no greeting: {greeted!r}")
            greeted += piece
    connected.setblocking(False)
    return connected


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
