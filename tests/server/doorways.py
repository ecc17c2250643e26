"""The ways in: a request over each of the doors, on a connection that is kept, and its answer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from tests.daemons import Daemon, RawReply
from tests.server.connections import dial, read_answer
from tests.server.http2_client import dial_http2

__all__ = ["DOORWAYS", "Doorway"]

Text = str | bytes


class Doorway(Protocol):
    """Sends a request and gives its answer. Text is sent as it is, bytes that are no text too."""

    def __call__(self, method: str, path: Text, headers: Mapping[str, Text], body: bytes) -> RawReply:
        """Send a request."""
        ...


@contextmanager
def _by_length(daemon: Daemon) -> Iterator[Doorway]:
    """Over HTTP/1.1 with a length: what is posted is the lean door's, all else aiohttp's."""
    with dial(daemon) as connection:

        def ask(method: str, path: Text, headers: Mapping[str, Text], body: bytes) -> RawReply:
            connection.sendall(_head(method, path, {**headers, "content-length": str(len(body))}) + body)
            return read_answer(connection, method=method)

        yield ask


@contextmanager
def _by_chunks(daemon: Daemon) -> Iterator[Doorway]:
    """Over HTTP/1.1 in chunks: aiohttp's door."""
    with dial(daemon) as connection:

        def ask(method: str, path: Text, headers: Mapping[str, Text], body: bytes) -> RawReply:
            chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            connection.sendall(_head(method, path, {**headers, "transfer-encoding": "chunked"}) + chunks)
            return read_answer(connection, method=method)

        yield ask


@contextmanager
def _by_http2(daemon: Daemon) -> Iterator[Doorway]:
    """Over HTTP/2; the host is sent as the authority."""
    with dial_http2(daemon.port) as client:

        def ask(method: str, path: Text, headers: Mapping[str, Text], body: bytes) -> RawReply:
            rest = {name: value for name, value in headers.items() if name != "host"}
            host = headers.get("host", f"127.0.0.1:{daemon.port}")
            pseudo = {":method": method, ":scheme": "http", ":path": path, ":authority": host}
            return client.answer(client.ask_as_given({**pseudo, **rest}, body))

        yield ask


DOORWAYS = {"length": _by_length, "chunks": _by_chunks, "HTTP/2": _by_http2}
"""Each makes a doorway to a daemon, by name."""


def _head(method: str, path: Text, headers: Mapping[str, Text]) -> bytes:
    lines = [method.encode() + b" " + _bytes(path) + b" HTTP/1.1"]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers.items()]
    return b"\r\n".join([*lines, b"", b""])


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
