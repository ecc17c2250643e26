"""Requests exactly as a test writes them, down to the last byte, and CBOR ones; answers as they come back."""

import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any

import cbor2

from tests.daemons import Daemon, RawReply, raw

__all__ = ["CBOR", "JSON", "ask_cbor", "dial", "exchange", "head_of", "read_answer", "whole_request"]

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"
_PATIENCE_S = 30


def head_of(operation: str | None, headers: Mapping[str, str], *, method: str = "POST", path: str = "/") -> bytes:
    """Write a request's head; no header but Host and the target is added."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if operation is not None:
        lines.append(f"X-Amz-Target: Kinesis_20131202.{operation}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def whole_request(
    operation: str | None, body: bytes, *, content_type: str | None = JSON, path: str = "/", **headers: str
) -> bytes:
    """Write a request with a length; an underscore in a header's name stands for a hyphen."""
    typed = {} if content_type is None else {"Content-Type": content_type}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head_of(operation, typed | named | {"Content-Length": str(len(body))}, path=path) + body


def dial(daemon: Daemon) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", daemon.port), timeout=_PATIENCE_S)


def read_answer(connection: socket.socket, *, method: str = "POST") -> RawReply:
    """Read one answer and no byte behind it; what came before it (a 100 Continue) is skipped."""
    response = HTTPResponse(connection, method=method)
    # A response's own reader may swallow the beginning of the next answer, when both came in one segment.
    response.fp.close()
    response.fp = connection.makefile("rb", buffering=1)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return RawReply(response.status, headers, response.read())


def exchange(daemon: Daemon, *pieces: bytes) -> RawReply:
    """Send a request in pieces, on a connection of its own, and read the answer."""
    with dial(daemon) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_answer(connection)


def ask_cbor(daemon: Daemon, operation: str, document: object) -> tuple[RawReply, Any]:
    """Call an operation in CBOR; the answer and what its body says, moments as tags."""
    answer = raw(daemon.url, operation, cbor2.dumps(document), content_type=CBOR)
    return answer, cbor2.loads(answer.body, semantic_decoders={1: _as_tag}) if answer.body else None


def _as_tag(value: object, _immutable: bool) -> cbor2.CBORTag:  # noqa: FBT001 - cbor2 calls it so
    return cbor2.CBORTag(1, value)
