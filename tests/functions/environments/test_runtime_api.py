"""The Runtime API at its socket: whatever way the bytes come, and what it refuses."""

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from streamd.functions.environments.runtime_api import RESPONSE_BYTE_COUNT_MAX, Event, RuntimeApi

EVENT = Event(request_id="id-1", arn="arn:f", deadline_ms=123, trace="Root=1", payload=b'{"n":1}')
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


class Heard:
    """Keeps what the process said."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.is_ready = asyncio.Event()

    def ready(self) -> None:
        self.said.append("ready")
        self.is_ready.set()

    def answered(self, payload: bytes, *, is_error: bool) -> None:
        self.said.append((payload, is_error))

    def answered_too_much(self) -> None:
        self.said.append("too much")

    def init_failed(self, document: bytes) -> None:
        self.said.append(("init", document))


class Door:
    """A Runtime API on a free port, and connections to it."""

    def __init__(self, port: int, api: RuntimeApi, heard: Heard) -> None:
        self.port = port
        self.api = api
        self.heard = heard

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), fields, await reader.readexactly(int(fields.get("Content-Length", 0)))


def post(path: str, body: bytes, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields or (f"Content-Length: {len(body)}",))
    return f"POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    heard = Heard()
    api = RuntimeApi(heard)
    server = await asyncio.get_running_loop().create_server(api.connect, "127.0.0.1", 0)
    yield Door(server.sockets[0].getsockname()[1], api, heard)
    api.close()
    server.close()


async def test_an_event_is_given_with_its_facts(door: Door) -> None:
    reader, writer = await door.connect()
    writer.write(NEXT)
    await door.heard.is_ready.wait()

    door.api.offer(EVENT)

    status, fields, body = await read_answer(reader)
    assert (status, body) == (200, b'{"n":1}')
    assert fields["Lambda-Runtime-Aws-Request-Id"] == "id-1"
    assert fields["Lambda-Runtime-Deadline-Ms"] == "123"
    assert fields["Lambda-Runtime-Invoked-Function-Arn"] == "arn:f"
    writer.close()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_requests_may_come_in_pieces_and_one_behind_the_other(door: Door, size: int) -> None:
    door.api.offer(EVENT)
    chunked = post("invocation/id-1/response", b"3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    all_bytes = NEXT + post("init/error", b"{}") + chunked + post("invocation/id-1/error", b"late")
    reader, writer = await door.connect()

    for start in range(0, len(all_bytes), size):
        writer.write(all_bytes[start : start + size])
        await writer.drain()
        await asyncio.sleep(0)

    assert [(await read_answer(reader))[0] for _ in range(4)] == [200, 202, 202, 400]
    assert door.heard.said == ["ready", ("init", b"{}"), (b"abcdefg", False)]
    writer.close()


async def test_a_streamed_answer_may_end_with_an_error_behind_it(door: Door) -> None:
    door.api.offer(EVENT)
    cause = b64encode(b'{"errorType":"Mine"}').decode()
    trailers = f"Lambda-Runtime-Function-Error-Type: Mine\r\nLambda-Runtime-Function-Error-Body: {cause}\r\n\r\n"
    body = b"3\r\nabc\r\n0\r\n" + trailers.encode()
    reader, writer = await door.connect()

    writer.write(NEXT + post("invocation/id-1/response", body, "Transfer-Encoding: chunked"))

    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 202]
    assert door.heard.said == ["ready", (b'{"errorType":"Mine"}', True)]
    writer.close()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_too_large_an_answer_is_read_to_its_end_and_refused(door: Door, is_chunked: bool) -> None:  # noqa: FBT001
    door.api.offer(EVENT)
    body = b"z" * (RESPONSE_BYTE_COUNT_MAX + 1)
    request = post("invocation/id-1/response", body)
    if is_chunked:
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        request = post("invocation/id-1/response", chunks, "Transfer-Encoding: chunked")
    reader, writer = await door.connect()

    writer.write(NEXT + request + NEXT)

    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 413]
    door.api.offer(EVENT)
    assert (await read_answer(reader))[0] == 200
    assert door.heard.said == ["ready", "too much", "ready"]
    writer.close()


async def test_the_largest_answer_is_taken(door: Door) -> None:
    door.api.offer(EVENT)
    body = b"z" * RESPONSE_BYTE_COUNT_MAX
    reader, writer = await door.connect()

    writer.write(NEXT + post("invocation/id-1/response", body))

    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 202]
    assert door.heard.said[1] == (body, False)
    writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        post("invocation/id-1/response", b"", "Content-Length: -1"),
        post("invocation/id-1/response", b"", "Content-Length: many"),
        post("invocation/id-1/response", b"", "Content-Length: 99999999999"),
        post("invocation/id-1/response", b"", "Transfer-Encoding: gzip"),
        post("invocation/id-1/response", b"zz\r\n", "Transfer-Encoding: chunked"),
        post("invocation/id-1/response", b"-5\r\n", "Transfer-Encoding: chunked"),
        post("invocation/id-1/response", b"1" * 5000, "Transfer-Encoding: chunked"),
        b"GET /" + b"x" * (1_200_000),
    ],
)
async def test_what_http_does_not_allow_ends_the_connection(door: Door, request_bytes: bytes) -> None:
    reader, writer = await door.connect()

    writer.write(request_bytes)

    assert (await read_answer(reader))[0] == 400
    assert await reader.read() == b""
    assert door.heard.said == []
    writer.close()


async def test_a_description_for_xray_of_a_megabyte_is_no_trouble(door: Door) -> None:
    door.api.offer(EVENT)
    field = "Lambda-Runtime-Function-XRay-Error-Cause: " + "x" * 1_048_000
    reader, writer = await door.connect()

    writer.write(NEXT + post("invocation/id-1/error", b"{}", field, "Content-Length: 2"))

    assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 202]
    assert door.heard.said == ["ready", (b"{}", True)]
    writer.close()


async def test_a_process_has_a_bounded_number_of_connections(door: Door) -> None:
    pairs = [await door.connect() for _ in range(17)]

    for _, writer in pairs:
        writer.write(post("init/error", b"{}"))
    ends = await asyncio.gather(*(reader.read(12) for reader, _ in pairs), return_exceptions=True)

    assert ends.count(b"HTTP/1.1 202") == 16
    for _, writer in pairs:
        writer.close()


async def test_an_event_is_not_lost_with_a_connection_that_is_gone(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port)) as gone:
        gone.sendall(NEXT)
        await door.heard.is_ready.wait()

    door.api.offer(EVENT)
    assert not door.api.is_given
    reader, writer = await door.connect()
    writer.write(NEXT)

    assert (await read_answer(reader))[0] == 200
    writer.close()


async def test_what_needs_to_be_asked_to_go_on_is_told_to(door: Door) -> None:
    door.api.offer(EVENT)
    reader, writer = await door.connect()
    writer.write(NEXT + post("invocation/id-1/response", b"", "Content-Length: 2", "Expect: 100-continue"))
    await read_answer(reader)

    go_on = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"{}")

    assert go_on.startswith(b"HTTP/1.1 100 ")
    assert (await read_answer(reader))[0] == 202
    writer.close()
