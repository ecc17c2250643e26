"""SIGTERM: the requests in hand are answered, at every door, and the daemon ends with status 0."""

import signal
import socket
from typing import Any

import orjson
import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.calls import records_of
from tests.server.connections import JSON, dial, head_of, read_answer, whole_request

__all__: list[str] = []

_STOP_PATIENCE_S = 30


def _waiting_request(daemon: Daemon, client: Any, *, is_chunked: bool) -> bytes:
    place = client.get_shard_iterator(StreamName="posts", ShardId="0", ShardIteratorType="LATEST")["ShardIterator"]
    body = orjson.dumps({"ShardIterator": place})
    if not is_chunked:
        return whole_request("GetRecords", body, x_streamd_wait_ms="20000")
    head = {"Content-Type": JSON, "Transfer-Encoding": "chunked", "x-streamd-wait-ms": "20000"}
    return head_of("GetRecords", head) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _received(connection: socket.socket) -> bytes:
    """Read to the end; nothing when the server left with the request unread."""
    try:
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_in_hand_is_answered_before_the_end(
    daemon_factory: DaemonFactory, workers: str, *, is_chunked: bool
) -> None:
    daemon = daemon_factory("--workers", workers)
    client = daemon.client()
    client.create_stream(StreamName="posts", ShardCount=1)
    request = _waiting_request(daemon, client, is_chunked=is_chunked)

    with dial(daemon) as waiting, dial(daemon) as idle:
        waiting.sendall(request)
        # Some answers from every worker later, the request that waits has been read.
        for _ in range(20):
            raw(daemon.url, "DescribeLimits", {})
        daemon.process.send_signal(signal.SIGTERM)
        answer = read_answer(waiting)
        status = daemon.process.wait(_STOP_PATIENCE_S)
        rest = waiting.recv(1), idle.recv(1)

    assert answer.status == 200
    assert answer.json()["Records"] == []
    assert answer.json()["NextShardIterator"]
    assert status == 0
    assert rest == (b"", b"")
    assert "Traceback" not in daemon.log.read_text()


def test_what_was_answered_before_the_end_is_there_after_it(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    client = daemon.client()
    client.create_stream(StreamName="posts", ShardCount=1)
    entries = [{"Data": "YQ==", "PartitionKey": "k"} for _ in range(500)]
    request = whole_request("PutRecords", orjson.dumps({"StreamName": "posts", "Records": entries}))
    connections = [dial(daemon) for _ in range(8)]

    for connection in connections:
        connection.sendall(request)
    answered = [read_answer(connection).status for connection in connections[:4]]
    daemon.process.send_signal(signal.SIGTERM)
    for connection in connections[4:]:
        # Those that were read before the signal are answered, the others hear that the server is gone.
        answered += [200] if _received(connection).startswith(b"HTTP/1.1 200 ") else []
    status = daemon.process.wait(_STOP_PATIENCE_S)
    for connection in connections:
        connection.close()
    records = records_of(daemon_factory(data=daemon.data).client(), "posts")

    assert status == 0
    assert set(answered) == {200}
    assert len(answered) * 500 <= len(records) <= 8 * 500
