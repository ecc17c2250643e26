"""Every operation of the model with inputs of the model's own shape, over sockets: an answer in AWS's form, no 500."""

import http.client
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.mutations import examples
from tests.fuzz.shaped_calls import MODEL, Answered, Heard, calls, cbor_of, json_of
from tests.fuzz.watched_daemons import Watched, watched_daemon
from tests.server.connections import CBOR, JSON

__all__: list[str] = []

_PATIENCE_S = 30
_PLACE = {"StreamName": "fuzzed", "ShardId": "shardId-000000000000"}
_PUT = ("PutRecord", {"StreamName": "fuzzed", "PartitionKey": "k", "Data": b"data"})


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Give a daemon in which no call can make many shards."""
    folder = tmp_path_factory.mktemp("shaped")
    with watched_daemon(folder, "--shard-quota", "40", "--on-demand-quota", "3") as watched:
        yield watched


def _read_at(number: Answered, kind: str) -> list[tuple[str, dict[str, Any]]]:
    start = {"ShardIteratorType": kind, "StartingSequenceNumber": number}
    return [
        _PUT,
        ("GetShardIterator", _PLACE | start),
        ("GetRecords", {"ShardIterator": Answered("ShardIterator", "")}),
    ]


@pytest.mark.parametrize("content_type", [JSON, CBOR])
def test_calls_of_every_shape_are_answered_as_aws_answers(shaped: Watched, content_type: str) -> None:
    @given(st.just(content_type), calls())
    @example(content_type, _read_at(Answered("SequenceNumber", "last"), "AFTER_SEQUENCE_NUMBER"))
    @example(content_type, _read_at(Answered("SequenceNumber", "gap"), "AT_SEQUENCE_NUMBER"))
    @example(content_type, _read_at(Answered("SequenceNumber", "before"), "AT_SEQUENCE_NUMBER"))
    @examples(150)
    def ask(content_type: str, asked: list[tuple[str, dict[str, Any]]]) -> None:
        heard = Heard()
        with closing(http.client.HTTPConnection("127.0.0.1", shaped.daemon.port, timeout=_PATIENCE_S)) as connection:
            for operation, members in asked:
                document = heard.fill(members)
                body = cbor_of(document) if content_type == CBOR else json_of(document)
                if not _ask(connection, operation, body, content_type=content_type, heard=heard):
                    connection.close()

    ask()
    shaped.assert_serves()


def _ask(
    connection: http.client.HTTPConnection, operation: str, body: bytes, *, content_type: str, heard: Heard
) -> bool:
    """Send a request and look at its answer; False when more of it comes than anyone waits for."""
    headers = {"content-type": content_type, "x-amz-target": f"Kinesis_20131202.{operation}"}
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    assert response.headers["x-amzn-RequestId"]
    if response.headers["content-type"] == "application/vnd.amazon.eventstream":
        assert operation == "SubscribeToShard"
        assert response.status == 200
        return False
    content = response.read()
    answer = _read(content, response.headers["content-type"]) if content else {}
    if response.status == 200:
        output = MODEL.operation_model(operation).output_shape
        assert answer.keys() <= (set(output.members) if output is not None else set()), (operation, answer.keys())
        heard.listen(answer)
    else:
        assert response.status == 400, (operation, body[:500], response.status, content)
        assert response.headers["content-type"] == content_type
        assert isinstance(answer["__type"], str)
    return True


def _read(content: bytes, content_type: str | None) -> Any:
    if content_type == CBOR:
        return cbor2.loads(content, semantic_decoders={1: lambda value, _: value})
    assert content_type == JSON
    return orjson.loads(content)
