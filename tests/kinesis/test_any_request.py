"""Whatever arrives is answered: no bytes, headers or targets make the dialect fail, and what it says can be read."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.quotas import LimitsMode
from streamd.kinesis.operation import KinesisDialect
from streamd.kinesis.operations import HANDLER_BY_OPERATION, LATER_OPERATIONS
from streamd.kinesis.shapes import INPUT_BY_OPERATION
from streamd.server.auth import AccessKeys, Authenticator
from tests.clocks import START_MS, ManualClock
from tests.engine.rooms import Rooms, open_rooms
from tests.server.connections import CBOR, JSON

__all__: list[str] = []

_KEYS = '[[key]]\nid = "AKIDEXAMPLE"\nsecret = "a-secret-of-some-length"\n'
_OPERATIONS = sorted(HANDLER_BY_OPERATION) + sorted(LATER_OPERATIONS)
_MEMBERS = sorted({name for shape in INPUT_BY_OPERATION.values() for name in shape.members})
# What stands in real requests: names that exist, ids, numbers at the edges, and texts that are nearly right.
_TEXTS = st.one_of(
    st.sampled_from(
        [
            "posts",
            "other",
            "shardId-000000000000",
            "shardId-000000000001",
            "arn:aws:kinesis:us-east-1:000000000000:stream/posts",
            "arn:aws:kinesis:us-east-1:000000000000:stream/posts/consumer/reader:1750000000",
            "arn:aws:kinesis::000000000000:stream/",
            "TRIM_HORIZON",
            "LATEST",
            "AT_TIMESTAMP",
            "AT_SEQUENCE_NUMBER",
            "AFTER_SHARD_ID",
            "UNIFORM_SCALING",
            "KMS",
            "alias/aws/kinesis",
            "ALL",
            "ON_DEMAND",
            "AUTO",
            "ENABLED",
            "0",
            "1",
            "9" * 39,
            "9" * 128,
            str(1 << 127),
            "YQ==",
            "{}",
            "",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
_NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 24, 8760, 1024, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), START_MS, START_MS / 1000]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(_MEMBERS), _TEXTS), inner, max_size=5)
    ),
    max_leaves=12,
)
_HEADER_TEXTS = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.sampled_from([JSON, CBOR, "application/json", "gzip", "identity", "5", "-5", "9" * 5000]),
    st.sampled_from(
        [
            (
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250615/us-east-1/kinesis/aws4_request, "
                "SignedHeaders=host, Signature=0"
            ),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250615/\udcff/kinesis/aws4_request, SignedHeaders=, Signature=é",
            "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature=",
            "20250615T000000Z",
        ]
    ),
)
_HEADER_NAMES = st.sampled_from(
    [
        "content-type",
        "content-encoding",
        "authorization",
        "x-amz-date",
        "x-amz-target",
        "x-amz-security-token",
        "x-amz-content-sha256",
        "x-streamd-wait-ms",
        "host",
        "date",
    ]
)
_QUERIES = st.one_of(
    st.just(""),
    st.text(max_size=60),
    st.sampled_from(
        ["X-Amz-Algorithm", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%FF%2F", "X-Amz-Expires=" * 9]
    ),
)
_SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@contextmanager
def _opened(runner: asyncio.Runner, path: Path, *, limits: LimitsMode = LimitsMode.OFF) -> Iterator[Rooms]:
    opening = open_rooms(path, ManualClock(), limits=limits)
    rooms = runner.run(opening.__aenter__())
    try:
        runner.run(_furnish(rooms))
        yield rooms
    finally:
        runner.run(opening.__aexit__(None, None, None))


async def _furnish(rooms: Rooms) -> None:
    await rooms.create("posts", shard_count=2)
    await rooms.put("posts", b"1", b"2")


def _assert_it_is_an_answer(reply: Reply) -> None:
    assert reply.status in (200, 400, 403, 404)
    assert len(reply.headers["x-amzn-RequestId"]) == 36
    assert all("\r" not in value and "\n" not in value for value in reply.headers.values())
    content_type = reply.headers.get("Content-Type")
    if not reply.body:
        assert reply.status == 200
    elif content_type == CBOR:
        assert isinstance(cbor2.loads(reply.body, semantic_decoders={1: lambda value, _: value}), dict)
    elif content_type is not None:
        assert isinstance(orjson.loads(reply.body), dict)


@pytest.mark.parametrize("content_type", [JSON, CBOR])
def test_any_members_of_any_operation_are_answered(tmp_path: Path, content_type: str) -> None:
    with asyncio.Runner() as runner, _opened(runner, tmp_path / "data", limits=LimitsMode.SHADOW) as rooms:

        @_SETTINGS
        @given(st.data())
        def ask(data: st.DataObject) -> None:
            operation = data.draw(st.sampled_from(_OPERATIONS))
            shape = INPUT_BY_OPERATION.get(operation)
            names = sorted(shape.members) if shape is not None else _MEMBERS
            members = data.draw(st.dictionaries(st.sampled_from(names or _MEMBERS), _VALUES, max_size=8))
            body = cbor2.dumps(members) if content_type == CBOR else orjson.dumps(members)
            headers = {"content-type": content_type, "x-amz-target": f"Kinesis_20131202.{operation}"}

            reply = runner.run(rooms.dialect.answer(SignedRequest("POST", "/", "", headers, body)))

            _assert_it_is_an_answer(reply)

        ask()


@pytest.mark.parametrize("keys", [None, _KEYS])
def test_any_bytes_and_headers_are_answered(tmp_path: Path, keys: str | None) -> None:
    with asyncio.Runner() as runner, _opened(runner, tmp_path / "data") as rooms:
        authenticator = Authenticator(
            None if keys is None else AccessKeys.parse(keys), rooms.clock.now_ms, region="us-east-1"
        )
        dialect = KinesisDialect(rooms.engine, authenticator)

        @_SETTINGS
        @given(
            method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", ""]),
            query=_QUERIES,
            headers=st.dictionaries(_HEADER_NAMES, _HEADER_TEXTS, max_size=8),
            operation=st.one_of(st.none(), st.sampled_from(_OPERATIONS), st.text(max_size=20)),
            body=st.one_of(st.binary(max_size=200), _VALUES.map(cbor2.dumps), st.sampled_from([b"{}", b"\xa0", b"[]"])),
        )
        @example("POST", "", {"x-streamd-wait-ms": "0" * 9 + "9" * 5000, "content-type": JSON}, "ListStreams", b"{}")
        def ask(method: str, query: str, headers: dict[str, str], operation: str | None, body: bytes) -> None:
            named = headers if operation is None else headers | {"x-amz-target": f"Kinesis_20131202.{operation}"}

            reply = runner.run(dialect.answer(SignedRequest(method, "/", query, named, body)))

            _assert_it_is_an_answer(reply)

        ask()


def test_a_bug_in_an_operation_is_an_internal_failure_and_the_next_request_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def authenticate(self, request: SignedRequest) -> Any:
            raise ZeroDivisionError(request.method)

        def admit(self, request: SignedRequest) -> None:
            raise ZeroDivisionError(request.method)

    headers = {"content-type": JSON, "x-amz-target": "Kinesis_20131202.ListStreams"}
    request = SignedRequest("POST", "/", "", headers, b"{}")
    with asyncio.Runner() as runner, _opened(runner, tmp_path / "data") as rooms:
        broken = KinesisDialect(rooms.engine, Broken())
        failed = runner.run(broken.answer(request))
        # The door hears nothing of it either: it goes on to ask for an answer.
        put = broken.read_plain_put(_plain_put_request())
        served = runner.run(rooms.dialect.answer(request))

    assert put is None
    assert failed.status == 500
    assert orjson.loads(failed.body)["__type"] == "InternalFailureException"
    assert "ZeroDivisionError" in caplog.text
    assert served.status == 200


def _plain_put_request() -> SignedRequest:
    headers = {"content-type": JSON, "x-amz-target": "Kinesis_20131202.PutRecord"}
    return SignedRequest("POST", "/", "", headers, b'{"StreamName":"s","PartitionKey":"k","Data":"YQ=="}')
