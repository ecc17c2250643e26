"""A small HTTP/2 client over a socket, by h2: what a test sends is sent, what comes back is kept."""

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import orjson
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame

from tests.daemons import RawReply
from tests.server.connections import JSON

__all__ = ["Answer", "Http2Client", "dial_http2"]

_PATIENCE_S = 30
_FRAME_BYTE_COUNT_MAX = 16_384


@dataclass
class Answer:
    """What has come of an answer."""

    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    has_ended: bool = False
    reset_code: int | None = None

    def raw(self) -> RawReply:
        """Give it as an answer of HTTP/1.1 would be given."""
        return RawReply(int(self.headers[":status"]), self.headers, b"".join(self.pieces))


class _State(H2Connection):
    """h2's connection that hears on after a GOAWAY, as clients do that wait for answers."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        frames, events = super()._receive_goaway_frame(frame)
        self.state_machine.state = ConnectionState.CLIENT_OPEN
        return frames, events


class Http2Client:
    """One connection."""

    def __init__(self, connection: socket.socket, *, window: int | None = None, gives_room: bool = True) -> None:
        self.socket = connection
        # Head, body and end are sent one after another: none shall wait for the others to be confirmed.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state = _State(
            H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.answers: dict[int, Answer] = {}
        self.goaway_code: int | None = None
        self.informed: list[int] = []
        """Streams that were told to go on."""
        self.gives_room = gives_room
        self._scheme = "https" if isinstance(connection, ssl.SSLSocket) else "http"
        self._authority = f"localhost:{connection.getpeername()[1]}"
        if window is not None:
            self.state.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
            self.state.local_settings.acknowledge()
        self.state.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what h2 has ready."""
        if data := self.state.data_to_send():
            self.socket.sendall(data)

    def open(
        self,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        path: str = "/",
        authority: str | None = None,
        end_stream: bool = False,
    ) -> int:
        """Send a request's head; the stream's number."""
        number = self.state.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": self._scheme, ":path": path}
        pseudo[":authority"] = authority or self._authority
        self.state.send_headers(number, [*pseudo.items(), *headers.items()], end_stream=end_stream)
        self.answers[number] = Answer()
        self.flush()
        return number

    def open_as_given(self, fields: Sequence[tuple[str, str]]) -> int:
        """Send a head exactly as it is, without a body; the stream's number."""
        number = self.state.get_next_available_stream_id()
        self.state.send_headers(number, fields, end_stream=True)
        self.answers[number] = Answer()
        self.flush()
        return number

    def ask_as_given(self, fields: Mapping[str, str | bytes], body: bytes) -> int:
        """Send a head exactly as it is, and a body; the stream's number."""
        number = self.state.get_next_available_stream_id()
        self.state.send_headers(number, list(fields.items()), end_stream=not body)
        self.answers[number] = Answer()
        self.flush()
        if body:
            self.send_body(number, body)
        return number

    def send_body(self, number: int, body: bytes, *, end_stream: bool = True) -> None:
        """Send a body as the server lets it in."""
        sent = 0
        while sent < len(body):
            room = min(self.state.local_flow_control_window(number), _FRAME_BYTE_COUNT_MAX)
            if self.answers[number].has_ended or self.answers[number].reset_code is not None:
                return
            if room == 0:
                self.receive()
                continue
            self.state.send_data(number, body[sent : sent + room])
            sent += room
            self.flush()
        if end_stream:
            self.state.end_stream(number)
            self.flush()

    def ask(self, operation: str, body: bytes | object, **headers: str) -> int:
        """Send a request of Kinesis; the stream's number."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {"x-amz-target": f"Kinesis_20131202.{operation}", "content-type": JSON}
        number = self.open(fields | named | {"content-length": str(len(content))})
        self.send_body(number, content)
        return number

    def call(self, operation: str, body: bytes | object, **headers: str) -> RawReply:
        """Send a request of Kinesis and wait for its answer."""
        return self.answer(self.ask(operation, body, **headers))

    def get(self, path: str, *, method: str = "GET") -> RawReply:
        """Get a page."""
        return self.answer(self.open({}, method=method, path=path, end_stream=True))

    def answer(self, number: int) -> RawReply:
        """Wait for a whole answer."""
        found = self.answers[number]
        while not found.has_ended:
            assert found.reset_code is None, f"stream {number} was reset with {found.reset_code}"
            assert self.receive(), f"the connection ended, GOAWAY {self.goaway_code}"
        return found.raw()

    def receive(self) -> bool:
        """Read once, whatever comes; False when the server has closed the connection."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        if not data:
            return False
        for event in self.state.receive_data(data):
            self._note(event)
        self.flush()
        return True

    def until_closed(self) -> int | None:
        """Read to the end; the code of the GOAWAY that came before it."""
        try:
            while self.receive():
                pass
        except ConnectionError:
            pass
        return self.goaway_code

    def until_reset(self, number: int) -> int:
        """Wait until the server breaks a stream off; the code."""
        while (code := self.answers[number].reset_code) is None:
            assert self.receive(), f"the connection ended, GOAWAY {self.goaway_code}"
        return code

    def sync(self) -> None:
        """Wait until the server has read all that was sent."""
        assert self.get("/healthz").status == 200

    def give_room(self, byte_count: int, number: int | None = None) -> None:
        """Let the server send more."""
        self.state.increment_flow_control_window(byte_count, number)
        self.flush()

    def _note(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                headers = {name.decode(): value.decode() for name, value in event.headers or []}
                self.answers[event.stream_id].headers = headers
            case DataReceived():
                self.answers[event.stream_id].pieces.append(event.data or b"")
                if self.gives_room and event.flow_controlled_length:
                    self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self.answers[event.stream_id].has_ended = True
            case StreamReset():
                # A server that does not want the rest of a request says NO_ERROR after its whole answer.
                if not (self.answers[event.stream_id].has_ended and event.error_code == ErrorCodes.NO_ERROR):
                    self.answers[event.stream_id].reset_code = int(event.error_code or 0)
            case InformationalResponseReceived():
                self.informed.append(event.stream_id)
            case ConnectionTerminated():
                self.goaway_code = int(event.error_code or 0)
            case _:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@contextmanager
def dial_http2(port: int, *, window: int | None = None, gives_room: bool = True) -> Iterator[Http2Client]:
    """Open a connection by prior knowledge."""
    with Http2Client(
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S), window=window, gives_room=gives_room
    ) as client:
        yield client
