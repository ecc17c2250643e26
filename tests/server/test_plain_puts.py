"""Plain puts, many at a time: each gets its own answer, whoever it shares a batch with."""

import hashlib
import time
from base64 import b64encode
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cbor2
import orjson

from streamd.core.sigv4 import Credentials, SignedRequest, sign
from streamd.storage.shard_log import ShardKey
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, RawReply
from tests.kinesis.calls import records_of
from tests.server.connections import CBOR, dial, read_answer, whole_request
from tests.server.pages import counted, samples_of
from tests.storage.test_stamps import flip_last_bit

__all__: list[str] = []

_CONNECTION_COUNT = 48
_ROUND_COUNT = 5
_KEYS = '[[key]]\nid = "AKIDPRODUCER"\nsecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"\n'
_RIGHT = Credentials("AKIDPRODUCER", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_WRONG = Credentials("AKIDPRODUCER", "another-secret-of-some-length")


def _put(stream: str, key: str, data: bytes) -> bytes:
    document = {"StreamName": stream, "PartitionKey": key, "Data": b64encode(data).decode()}
    return whole_request("PutRecord", orjson.dumps(document))


def _cbor_put(stream: str, key: str, data: bytes) -> bytes:
    document = {"StreamName": stream, "PartitionKey": key, "Data": data}
    return whole_request("PutRecord", cbor2.dumps(document), content_type=CBOR)


def _signed_put(stream: str, data: bytes, credentials: Credentials) -> bytes:
    body = orjson.dumps({"StreamName": stream, "PartitionKey": "key", "Data": b64encode(data).decode()})
    headers = {
        "host": "localhost",
        "x-amz-target": "Kinesis_20131202.PutRecord",
        "content-type": "application/x-amz-json-1.1",
    }
    now_ms = time.time_ns() // 1_000_000
    request = SignedRequest("POST", "/", "", headers, body)
    added = sign(request, credentials, region="us-east-1", service="kinesis", now_ms=now_ms)
    return whole_request("PutRecord", body, **{name.replace("-", "_"): value for name, value in added.items()})


def _all_at_once(daemon: Daemon, requests: list[bytes]) -> list[RawReply]:
    """Send each request on a connection of its own, all of them before the first answer is read."""
    with ExitStack() as stack:
        connections = [stack.enter_context(dial(daemon)) for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request)
        return [read_answer(connection) for connection in connections]


def test_each_of_many_puts_at_once_is_answered_with_its_own_place(
    daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=3)

    data_by_place: dict[tuple[str, str], bytes] = {}
    for number in range(_ROUND_COUNT):
        datas = [b"%d-%d" % (number, place) for place in range(_CONNECTION_COUNT)]
        answers = _all_at_once(daemon, [_put(stream_name, f"key-{data.decode()}", data) for data in datas])
        for data, answer in zip(datas, answers, strict=True):
            assert answer.status == 200, answer
            document = answer.json()
            assert document.keys() == {"ShardId", "SequenceNumber"}
            data_by_place[document["ShardId"], document["SequenceNumber"]] = data

    found: dict[str, bytes] = {record["SequenceNumber"]: record["Data"] for record in records_of(kinesis, stream_name)}
    assert len(data_by_place) == _ROUND_COUNT * _CONNECTION_COUNT
    assert found == {number: data for (_, number), data in data_by_place.items()}
    assert len({shard_id for shard_id, _ in data_by_place}) == 3


def test_every_answer_has_an_identity_of_its_own(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    answers = _all_at_once(daemon, [_put(stream_name, "key", b"data")] * _CONNECTION_COUNT)

    assert len({answer.headers["x-amzn-requestid"] for answer in answers}) == _CONNECTION_COUNT
    assert len({answer.headers["x-amz-id-2"] for answer in answers}) == _CONNECTION_COUNT


def test_one_streams_trouble_is_not_anothers_and_each_is_answered_in_its_own_language(
    daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    missing = f"{stream_name}-missing"

    good, good_cbor, bad, bad_cbor = _all_at_once(
        daemon,
        [
            _put(stream_name, "key", b"json"),
            _cbor_put(stream_name, "key", b"cbor"),
            _put(missing, "key", b"nowhere"),
            _cbor_put(missing, "key", b"nowhere"),
        ],
    )

    sentence = f"Stream {missing} under account 000000000000 not found."
    assert (good.status, good_cbor.status, bad.status, bad_cbor.status) == (200, 200, 400, 400)
    assert cbor2.loads(good_cbor.body).keys() == {"ShardId", "SequenceNumber"}
    assert bad.json() == {"__type": "ResourceNotFoundException", "message": sentence}
    assert cbor2.loads(bad_cbor.body) == bad.json()
    assert bad_cbor.headers["content-type"] == CBOR
    assert sorted(record["Data"] for record in records_of(kinesis, stream_name)) == [b"cbor", b"json"]


def test_puts_of_one_connection_are_stored_in_the_order_they_were_sent(
    daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    datas = [b"%d" % number for number in range(60)]

    with dial(daemon) as connection:
        connection.sendall(b"".join(_put(stream_name, "key", data) for data in datas))
        answers = [read_answer(connection) for _ in datas]

    assert [answer.status for answer in answers] == [200] * 60
    assert [record["Data"] for record in records_of(kinesis, stream_name)] == datas


def test_a_client_that_leaves_in_the_middle_of_a_batch_costs_the_others_nothing(
    daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)

    with ExitStack() as stack:
        staying = [stack.enter_context(dial(daemon)) for _ in range(10)]
        leaving = [dial(daemon) for _ in range(10)]
        for number, connection in enumerate([*leaving, *staying]):
            connection.sendall(_put(stream_name, "key", b"%d" % number))
        for connection in leaving:
            connection.close()
        answers = [read_answer(connection) for connection in staying]

    found = {record["Data"] for record in records_of(kinesis, stream_name)}
    assert [answer.status for answer in answers] == [200] * 10
    assert {b"%d" % number for number in range(10, 20)} <= found


def test_a_wrong_signature_among_right_ones_is_refused_alone(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(_KEYS)
    keys.chmod(0o600)
    daemon = daemon_factory("--auth", str(keys))
    client = daemon.client(access_key=_RIGHT.access_key_id, secret_key=_RIGHT.secret)
    client.create_stream(StreamName="stream", ShardCount=1)

    statuses = defaultdict(list)
    for _ in range(3):
        secrets = [_RIGHT, _WRONG, _RIGHT, _RIGHT, _WRONG]
        answers = _all_at_once(daemon, [_signed_put("stream", b"data", secret) for secret in secrets])
        for secret, answer in zip(secrets, answers, strict=True):
            statuses[secret.secret].append(answer.status)
            assert (answer.status == 400) is (b"InvalidSignatureException" in answer.body)

    assert statuses == {_RIGHT.secret: [200] * 9, _WRONG.secret: [400] * 6}
    assert len(records_of(client, "stream")) == 9


def test_puts_of_a_batch_go_on_to_the_children_of_a_shard_that_was_split(
    daemon: Daemon, kinesis: Any, stream_name: str
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    middle = str(1 << 127)
    split = orjson.dumps(
        {"StreamName": stream_name, "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": middle}
    )
    puts = [_put(stream_name, f"key-{number}", b"%d" % number) for number in range(2 * _CONNECTION_COUNT)]
    half = len(puts) // 2

    first, (split_answer, *second) = (
        _all_at_once(daemon, puts[:half]),
        _all_at_once(daemon, [whole_request("SplitShard", split), *puts[half:]]),
    )

    assert split_answer.status == 200
    assert {answer.status for answer in [*first, *second]} == {200}
    assert len(records_of(kinesis, stream_name)) == len(puts)


def test_every_put_of_a_batch_is_counted(daemon_factory: DaemonFactory) -> None:
    daemon = daemon_factory()
    daemon.client().create_stream(StreamName="stream", ShardCount=2)

    _all_at_once(daemon, [_put("stream", "key", b"12345")] * _CONNECTION_COUNT)
    _all_at_once(daemon, [_put("missing", "key", b"12345")] * 3)

    page = samples_of(daemon)
    failed = {"operation": "PutRecord", "error": "ResourceNotFoundException"}
    assert counted(page, "streamd_requests_total", operation="PutRecord", error="") == _CONNECTION_COUNT
    assert counted(page, "streamd_requests_total", **failed) == 3
    assert counted(page, "streamd_request_duration_seconds_count", operation="PutRecord") == _CONNECTION_COUNT + 3
    assert counted(page, "streamd_incoming_records_total", stream="stream") == _CONNECTION_COUNT
    assert counted(page, "streamd_incoming_bytes_total", stream="stream") == 8 * _CONNECTION_COUNT


def test_puts_to_a_damaged_shard_are_refused_and_those_beside_them_are_stored(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = daemon_factory(data=data)
    first.client().create_stream(StreamName="stream", ShardCount=2)
    first.stop()
    flip_last_bit(data, b"shards", ShardKey(1, 0).pack())
    daemon = daemon_factory(data=data)
    keys = [f"key-{number}" for number in range(_CONNECTION_COUNT)]
    # The damaged shard owns the lower half of the hash keys.
    is_whole = [hashlib.md5(key.encode()).digest()[0] >= 128 for key in keys]  # noqa: S324 - as Kinesis routes

    answers = _all_at_once(daemon, [_put("stream", key, key.encode()) for key in keys])

    assert {*is_whole} == {True, False}
    assert [answer.status for answer in answers] == [200 if whole else 500 for whole in is_whole]
    assert {answer.json()["__type"] for answer in answers if answer.status == 500} == {"InternalFailureException"}
    failed = {"operation": "PutRecord", "error": "InternalFailureException"}
    failures = counted(samples_of(daemon), "streamd_requests_total", **failed)
    assert failures == is_whole.count(False)
