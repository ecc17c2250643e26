"""The front door as a stranger finds it: content types, broken bodies, targets, encodings, sizes, connections."""

import gzip
import re
import time
import zlib
from typing import Any

import cbor2
import orjson
import pytest

from streamd.kinesis.operations import HANDLER_BY_OPERATION, LATER_OPERATIONS
from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.calls import records_of
from tests.server.connections import CBOR, JSON, dial, exchange, head_of, read_answer, whole_request

__all__: list[str] = []

_PLAIN = "application/json"
_BODY_BYTE_COUNT_MAX = 20 << 20
_XML_NO_SERVICE = (
    b"<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n"
    b"</AccessDeniedException>\n"
)
_UNKNOWN = {"__type": "UnknownOperationException"}
_SERIALIZATION = {"__type": "SerializationException"}


def _says_who_answered(headers: dict[str, str]) -> bool:
    is_uuid = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers.get("x-amzn-requestid", ""))
    return is_uuid is not None and re.fullmatch(r"[A-Za-z0-9+/=]{72,}", headers.get("x-amz-id-2", "")) is not None


def test_every_answer_has_ids_of_its_own(daemon: Daemon) -> None:
    answers = [
        raw(daemon.url, "ListStreams", {}),
        raw(daemon.url, "ListStreams", b"{"),
        raw(daemon.url, "NoSuchOperation", {}),
        raw(daemon.url, "DescribeStream", {"StreamName": "no-such-stream"}),
        raw(daemon.url, "ListStreams", {}, content_type=None),
        raw(daemon.url, "ListStreams", {}, content_type=_PLAIN),
        exchange(daemon, head_of(None, {}, method="GET")),
    ]

    assert [answer.status for answer in answers] == [200, 400, 400, 400, 400, 404, 403]
    assert all(_says_who_answered(answer.headers) for answer in answers)
    assert len({answer.headers["x-amzn-requestid"] for answer in answers}) == len(answers)
    assert all("date" in answer.headers for answer in answers)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/some/path"])
def test_only_posts_are_requests(daemon: Daemon, method: str, path: str) -> None:
    request = head_of("ListStreams", {"Content-Type": JSON, "Content-Length": "0"}, method=method, path=path)

    with dial(daemon) as connection:
        connection.sendall(request)
        status_line = connection.makefile("rb").readline()
    body = b"" if method == "HEAD" else exchange(daemon, request).body

    assert status_line.startswith(b"HTTP/1.1 403 ")
    assert body == (b"" if method == "HEAD" else _XML_NO_SERVICE)


@pytest.mark.parametrize("path", ["/", "/any/path", "/?a=b", "//", "/healthz", "/%zz"])
def test_the_path_of_a_request_does_not_matter(daemon: Daemon, path: str) -> None:
    answer = exchange(daemon, whole_request("DescribeLimits", b"{}", path=path))

    assert answer.status == 200
    assert answer.json()["OnDemandStreamCountLimit"] == 50


@pytest.mark.parametrize(
    ("content_type", "target", "answered_in", "document"),
    [
        (JSON, "ListStreams", JSON, _SERIALIZATION),
        (JSON, "NoSuch", JSON, _UNKNOWN),
        (JSON, None, JSON, _UNKNOWN),
        (CBOR, "ListStreams", CBOR, _SERIALIZATION),
        (CBOR, None, CBOR, _UNKNOWN),
        (None, "ListStreams", CBOR, _SERIALIZATION),
        (None, None, CBOR, _UNKNOWN),
        ("text/plain", "ListStreams", CBOR, _SERIALIZATION),
        (_PLAIN, "ListStreams", CBOR, _SERIALIZATION),
    ],
)
def test_an_empty_body_is_answered_without_a_word(
    daemon: Daemon, content_type: str | None, target: str | None, answered_in: str, document: dict[str, str]
) -> None:
    answer = exchange(daemon, whole_request(target, b"", content_type=content_type))

    assert answer.status == 400
    assert answer.headers["content-type"] == answered_in
    assert (orjson.loads if answered_in == JSON else cbor2.loads)(answer.body) == document


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "nonsense;;"])
def test_a_body_of_no_known_kind_is_answered_in_cbor(daemon: Daemon, content_type: str | None) -> None:
    answer = exchange(daemon, whole_request("ListStreams", b"{}", content_type=content_type))

    assert answer.status == 400
    assert answer.headers["content-type"] == CBOR
    assert cbor2.loads(answer.body) == _UNKNOWN


@pytest.mark.parametrize(("body", "status", "code"), [(b"{}", 404, "UnknownOperation"), (b"{", 400, "Serialization")])
def test_plain_json_is_parsed_and_then_not_known(daemon: Daemon, body: bytes, status: int, code: str) -> None:
    answer = exchange(daemon, whole_request("ListStreams", body, content_type=f"{_PLAIN}; charset=utf-8"))

    assert answer.status == status
    assert answer.headers["content-type"] == _PLAIN
    assert answer.json() == {"Output": {"__type": f"com.amazon.coral.service#{code}Exception"}, "Version": "1.0"}


@pytest.mark.parametrize("content_type", [JSON, f"{JSON};charset=utf-8", f" {JSON} ; x=y", JSON.upper()])
def test_what_follows_the_content_type_does_not_matter(daemon: Daemon, content_type: str) -> None:
    answer = exchange(daemon, whole_request("DescribeLimits", b"{}", content_type=content_type))

    assert answer.status == 200
    assert answer.headers["content-type"] == JSON


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"}",
        b'"text"',
        b"5",
        b"null",
        b"true",
        b"{}{}",
        b"\xff\xfe",
        b'{"a":}',
        b"nan",
        b"NaN",
        b"{'a':1}",
        b"[" * 200000,
        b'{"a":' * 5000,
        b'"\\ud800"',
        b" ",
        b"\x00",
    ],
)
@pytest.mark.parametrize("target", ["ListStreams", "NoSuchOperation"])
def test_a_body_that_is_no_document_is_refused_before_all_else(daemon: Daemon, body: bytes, target: str) -> None:
    answer = exchange(daemon, whole_request(target, body))

    assert answer.status == 400
    assert answer.json() == _SERIALIZATION


@pytest.mark.parametrize(
    "target",
    [
        "Kinesis_20131202.NoSuchOperation",
        "Kinesis_20131202.",
        "Kinesis_20131202",
        "Kinesis_20131203.ListStreams",
        "kinesis_20131202.ListStreams",
        "Kinesis_20131202.listStreams",
        "Kinesis_20131202.ListStreams.x",
        "DynamoDB_20120810.ListTables",
        "ListStreams",
        "",
        "\xff",
    ],
)
def test_unknown_targets_are_unknown_operations(daemon: Daemon, target: str) -> None:
    answer = raw(daemon.url, "", {}, X_Amz_Target=target)

    assert answer.status == 400
    assert answer.json() == _UNKNOWN


def test_no_target_is_an_unknown_operation(daemon: Daemon) -> None:
    answer = exchange(daemon, whole_request(None, b"{}"))

    assert answer.status == 400
    assert answer.json() == _UNKNOWN


@pytest.mark.parametrize("operation", sorted(LATER_OPERATIONS))
def test_later_operations_say_that_they_are_not_there_yet(daemon: Daemon, operation: str) -> None:
    answer = raw(daemon.url, operation, {})

    assert answer.status == 400
    assert answer.json() == {
        "__type": "UnsupportedOperationException",
        "message": f"{operation} is not supported by this version of streamd.",
    }


def test_every_operation_of_the_newest_model_is_served_or_named(kinesis: Any) -> None:
    names = set(kinesis.meta.service_model.operation_names)

    assert names == set(HANDLER_BY_OPERATION) | LATER_OPERATIONS
    assert len(HANDLER_BY_OPERATION) == 40
    assert len(LATER_OPERATIONS) == 17


@pytest.mark.parametrize("operation", sorted(HANDLER_BY_OPERATION))
@pytest.mark.parametrize("document", [{}, [], {"StreamName": 5}, {"StreamARN": {}, "ResourceARN": []}])
def test_no_operation_breaks_over_members_of_the_wrong_kind(daemon: Daemon, operation: str, document: object) -> None:
    answer = raw(daemon.url, operation, orjson.dumps(document))

    assert answer.status in (200, 400)
    assert answer.status == 200 or answer.json()["__type"] in (
        "InvalidArgumentException",
        "SerializationException",
        "ValidationException",
    )


@pytest.mark.parametrize(
    ("operation", "document", "sentence"),
    [
        ("DescribeStream", {"StreamName": True}, "class java.lang.Boolean can not be converted to an String"),
        ("DescribeStream", {"StreamName": []}, "Start of list found where not expected"),
        ("DescribeStream", {"StreamName": {}}, "Start of structure or map found where not expected."),
        ("DescribeStream", {"Limit": "5"}, "class java.lang.String can not be converted to an Integer"),
        (
            "GetShardIterator",
            {"Timestamp": "5"},
            "class java.lang.String can not be converted to milliseconds since epoch",
        ),
        ("AddTagsToStream", {"Tags": []}, "Start of list found where not expected"),
        ("AddTagsToStream", {"Tags": "a"}, "Expected map or null"),
        ("RemoveTagsFromStream", {"TagKeys": "a"}, "Expected list or null"),
    ],
)
def test_wrong_types_are_told_in_the_words_of_aws(
    daemon: Daemon, operation: str, document: dict[str, Any], sentence: str
) -> None:
    answer = raw(daemon.url, operation, document)

    assert answer.status == 400
    assert answer.json() == {"__type": "SerializationException", "Message": sentence}


def test_a_chunked_body_is_read_whole(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    body = orjson.dumps({"StreamName": stream_name, "Data": "YWJj", "PartitionKey": "key"})
    head = head_of("PutRecord", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:1], body[1:9], body[9:]))

    answer = exchange(daemon, head + chunks[:4], chunks[4:] + b"0\r\n\r\n")

    assert answer.status == 200
    assert [record["Data"] for record in records_of(kinesis, stream_name)] == [b"abc"]


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_gzip_body_is_unpacked(
    daemon: Daemon, kinesis: Any, stream_name: str, encoding: str, *, is_chunked: bool
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    document = {"StreamName": stream_name, "Data": "QUFB" * 100_000, "PartitionKey": "key"}
    body = gzip.compress(orjson.dumps(document))

    if is_chunked:
        head = {"Content-Type": JSON, "Content-Encoding": encoding, "Transfer-Encoding": "chunked"}
        answer = exchange(daemon, head_of("PutRecord", head) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        answer = exchange(daemon, whole_request("PutRecord", body, Content_Encoding=encoding))

    assert answer.status == 200
    assert [record["Data"] for record in records_of(kinesis, stream_name)] == [b"A" * 300_000]


def test_a_body_that_unpacks_beyond_the_limit_is_refused(daemon: Daemon) -> None:
    bomb = gzip.compress(b" " * (_BODY_BYTE_COUNT_MAX + 1))
    nested = gzip.compress(gzip.compress(b"{}"))
    good = gzip.compress(b"{}")

    for body in (bomb, nested, good[:-1], good + b"more", good + good, b"{}", zlib.compress(b"{}"), bomb[:1000]):
        answer = exchange(daemon, whole_request("ListStreams", body, Content_Encoding="gzip"))

        assert (answer.status, answer.json()) == (400, _SERIALIZATION)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "nonsense"])
def test_other_encodings_are_refused(daemon: Daemon, encoding: str) -> None:
    answer = exchange(daemon, whole_request("ListStreams", b"{}", Content_Encoding=encoding))

    assert (answer.status, answer.json()) == (400, _SERIALIZATION)


def test_a_body_of_the_largest_size_is_read(daemon: Daemon) -> None:
    body = b"{" + b" " * (_BODY_BYTE_COUNT_MAX - 2) + b"}"

    answer = exchange(daemon, whole_request("DescribeLimits", body))

    assert answer.status == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_larger_body_is_refused_without_a_word_to_a_client_that_sends_it_all(
    daemon: Daemon, *, is_chunked: bool
) -> None:
    body = b" " * (_BODY_BYTE_COUNT_MAX + 1)

    if is_chunked:
        head = head_of("ListStreams", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
        answer = exchange(daemon, head + b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n")
    else:
        answer = exchange(daemon, whole_request("ListStreams", body))

    assert (answer.status, answer.body) == (413, b"")
    assert answer.headers["connection"] == "close"


def test_a_length_that_is_announced_too_large_is_refused_at_once(daemon: Daemon) -> None:
    head = head_of("ListStreams", {"Content-Type": JSON, "Content-Length": str(1 << 40)})
    waiting = head_of("ListStreams", {"Content-Length": str(1 << 40), "Expect": "100-continue"})

    assert exchange(daemon, head).status == 413
    assert exchange(daemon, waiting).status == 413


def test_a_client_that_asks_first_is_told_to_go_on(daemon: Daemon) -> None:
    head = head_of("DescribeLimits", {"Content-Type": JSON, "Content-Length": "2", "Expect": "100-continue"})

    with dial(daemon) as connection:
        connection.sendall(head)
        interim = connection.recv(1024)
        connection.sendall(b"{}")
        answer = read_answer(connection)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.status == 200


def test_one_connection_serves_requests_of_every_kind(daemon: Daemon) -> None:
    plain = whole_request("DescribeLimits", b"{}")
    wrong = whole_request("NoSuch", b"{}")
    chunked = (
        head_of("DescribeLimits", {"Content-Type": JSON, "Transfer-Encoding": "chunked"}) + b"2\r\n{}\r\n0\r\n\r\n"
    )
    page = head_of(None, {}, method="GET", path="/healthz")
    statuses = []

    with dial(daemon) as connection:
        for request in (plain, wrong, plain, chunked, plain, page, plain):
            connection.sendall(request)
            statuses.append(read_answer(connection).status)

    assert statuses == [200, 400, 200, 200, 200, 200, 200]


def test_requests_sent_ahead_are_answered_in_order(daemon: Daemon) -> None:
    names = [f"no-such-{number}" for number in range(40)]
    requests = [whole_request("DescribeStream", orjson.dumps({"StreamName": name})) for name in names]
    whole = b"".join(requests) + whole_request("ListStreams", b"{", Connection="close")

    with dial(daemon) as connection:
        connection.sendall(whole)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))

    assert re.findall(rb"Stream (no-such-\d+) under", received) == [name.encode() for name in names]
    assert received.count(b"HTTP/1.1 400") == 41


def test_a_request_may_come_byte_by_byte(daemon: Daemon) -> None:
    request = whole_request("DescribeLimits", b"{ }")

    answer = exchange(daemon, *(request[place : place + 1] for place in range(len(request))))

    assert answer.status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}{",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: a\r\nbroken header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX-Big: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_next_client_is_served(daemon: Daemon, garbage: bytes) -> None:
    with dial(daemon) as connection:
        connection.sendall(garbage)
        received = connection.recv(1 << 16)

    assert re.match(rb"HTTP/1\.[01] (400|413|431|505) ", received) is not None
    assert exchange(daemon, whole_request("DescribeLimits", b"{}")).status == 200


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n", b"-1\r\n"])
def test_a_chunked_body_that_is_broken_is_no_failure_of_the_server(daemon: Daemon, chunks: bytes) -> None:
    head = head_of("DescribeLimits", {"Content-Type": JSON, "Transfer-Encoding": "chunked"})

    answer = exchange(daemon, head + chunks)

    assert answer.status == 400


def test_a_client_that_leaves_in_the_middle_leaves_no_traceback(daemon: Daemon) -> None:
    by_length = head_of("ListStreams", {"Content-Type": JSON, "Content-Length": "100"}) + b"{"
    by_chunks = head_of("ListStreams", {"Content-Type": JSON, "Transfer-Encoding": "chunked"}) + b"5\r\n{"
    before = daemon.log.read_text().count("Traceback")

    for request in (by_length, by_chunks, by_length[:40]):
        with dial(daemon) as connection:
            connection.sendall(request)
    after = exchange(daemon, whole_request("DescribeLimits", b"{}"))

    assert after.status == 200
    assert daemon.log.read_text().count("Traceback") == before


def test_http_1_0_and_close_end_the_connection(daemon: Daemon) -> None:
    old = whole_request("DescribeLimits", b"{}").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    closing = whole_request("DescribeLimits", b"{}", Connection="close")

    for request in (old, closing):
        with dial(daemon) as connection:
            connection.sendall(request)
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))

        assert b" 200 OK\r\n" in received
        assert b"OnDemandStreamCountLimit" in received


def test_arns_are_of_the_region_a_request_is_signed_for(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    regions = {"us-east-1", "eu-central-1", "us-gov-west-1"}

    arns = {
        region: daemon.client(region=region).describe_stream_summary(StreamName=stream_name)[
            "StreamDescriptionSummary"
        ]["StreamARN"]
        for region in regions
    }
    unsigned = raw(daemon.url, "DescribeStreamSummary", {"StreamName": stream_name}).json()
    odd = "AWS4-HMAC-SHA256 Credential=a/20250101/{}/kinesis/aws4_request, SignedHeaders=host, Signature=0"
    believed = [
        raw(daemon.url, "DescribeStreamSummary", {"StreamName": stream_name}, Authorization=odd.format(region)).json()
        for region in ("é", "a b", "x" * 64, "")
    ]

    assert arns == {region: f"arn:aws:kinesis:{region}:000000000000:stream/{stream_name}" for region in regions}
    home = f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream_name}"
    assert unsigned["StreamDescriptionSummary"]["StreamARN"] == home
    assert {answer["StreamDescriptionSummary"]["StreamARN"] for answer in believed} == {home}


def test_the_wait_header_is_bounded(daemon: Daemon) -> None:
    wrong = ["-1", "1.5", "", "abc", "20001", "000000000" + "9" * 5000, "٣"]

    answers = [
        raw(daemon.url, "ListStreams", {}, x_streamd_wait_ms=value.encode().decode("latin-1")) for value in wrong
    ]

    assert [answer.status for answer in answers] == [400] * len(wrong)
    assert {answer.json()["__type"] for answer in answers} == {"InvalidArgumentException"}
    assert raw(daemon.url, "ListStreams", {}, x_streamd_wait_ms="20000").status == 200


def test_a_wait_that_brings_nothing_ends_when_its_time_is_up(daemon: Daemon, kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    place = kinesis.get_shard_iterator(StreamName=stream_name, ShardId="0", ShardIteratorType="LATEST")["ShardIterator"]
    began = time.monotonic()

    answer = raw(daemon.url, "GetRecords", {"ShardIterator": place}, x_streamd_wait_ms="300")

    assert answer.json()["Records"] == []
    assert answer.json()["NextShardIterator"]
    # It is a lower bound: a slow machine only makes it longer.
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "begun", [b"PRI * HTTP/2.0\r\n\r\nno\r\n\r\n", b"GET / HTTP/x\r\n\r\n", b"GET /\r\na b\r\n\r\n"]
)
def test_what_is_no_http_is_refused_without_filling_the_log(daemon_factory: DaemonFactory, begun: bytes) -> None:
    daemon = daemon_factory("--log-level", "warning")

    answer = exchange(daemon, begun)

    assert answer.status == 400
    assert daemon.stop() == 0
    assert "aiohttp" not in daemon.log.read_text()
