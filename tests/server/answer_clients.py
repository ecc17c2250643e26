"""Clients that ask for large answers over each door: those that take nothing, and what they ask for."""

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from tests.daemons import Daemon, raw
from tests.server.connections import JSON, head_of, whole_request
from tests.server.http2_client import Http2Client

__all__ = ["ask_by_http2", "ask_in_chunks", "ask_with_length", "filled", "starer"]

_MIB = 1 << 20
_RECORD_BYTE_COUNT = 9 * _MIB
_PATIENCE_S = 60


def ask_with_length(connection: socket.socket, iterator: str) -> None:
    """Ask for records over the lean door."""
    connection.sendall(whole_request("GetRecords", orjson.dumps({"ShardIterator": iterator})))


def ask_in_chunks(connection: socket.socket, iterator: str) -> None:
    """Ask for records over aiohttp's door."""
    body = orjson.dumps({"ShardIterator": iterator})
    head = head_of("GetRecords", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


def ask_by_http2(connection: socket.socket, iterator: str) -> None:
    """Ask for records over HTTP/2, in one stream of a connection that gives room for as much as is usual."""
    client = Http2Client(connection)
    headers = {"x-amz-target": "Kinesis_20131202.GetRecords", "content-type": JSON}
    stream = client.open(headers)
    client.send_body(stream, orjson.dumps({"ShardIterator": iterator}))


def filled(daemon: Daemon) -> list[str]:
    """Make a stream of two shards, each with one large record; an iterator for each."""
    client = daemon.client()
    client.create_stream(StreamName="s", ShardCount=2)
    arn = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    client.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10_240)
    data = b64encode(bytes(_RECORD_BYTE_COUNT)).decode()
    for hash_key in (0, 1 << 127):
        members = {"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": str(hash_key), "Data": data}
        assert raw(daemon.url, "PutRecord", members).status == 200
    return [
        client.get_shard_iterator(StreamName="s", ShardId=f"shardId-{index:012d}", ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        for index in range(2)
    ]


@contextmanager
def starer(daemon: Daemon, *, byte_count: int = 4_096) -> Iterator[socket.socket]:
    """Open a connection on which the kernel takes little for a client that takes nothing, or little."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, byte_count)
        connection.settimeout(_PATIENCE_S)
        connection.connect(("127.0.0.1", daemon.port))
        yield connection
