"""Signature Version 4 at the door: real clients with right and wrong keys, presigned requests, each of AWS's faults."""

import gzip
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import orjson
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from streamd.core.sigv4 import Credentials as OurCredentials
from streamd.core.sigv4 import SignedRequest, sign
from tests.daemons import Daemon, RawReply, start_daemon
from tests.kinesis.refusals import refusal
from tests.server.connections import CBOR, JSON, exchange, head_of, whole_request

__all__: list[str] = []

_KEY_ID = "AKIDPRODUCER"
_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
_KEYS = f"""
[[key]]
id = "{_KEY_ID}"
secret = "{_SECRET}"
name = "producer"

[[key]]
id = "AKIDCONSUMER"
secret = "another-secret-of-some-length"
"""
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_TARGET = "Kinesis_20131202.DescribeLimits"


class _BodyPresigner(SigV4QueryAuth):  # type: ignore[misc]  # botocore ships no types
    """Presigns with the body, which botocore itself would move into the query."""

    def payload(self, request: AWSRequest) -> str:
        del request
        return hashlib.sha256(b"{}").hexdigest()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon that knows two keys."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys.toml"
    keys.write_text(_KEYS)
    keys.chmod(0o600)
    running = start_daemon(folder / "data", "--auth", str(keys))
    yield running
    running.stop()


def _client(daemon: Daemon, *, access_key: str = _KEY_ID, secret_key: str = _SECRET, region: str = "us-east-1") -> Any:
    return daemon.client(access_key=access_key, secret_key=secret_key, region=region)


def _signed_headers(
    daemon: Daemon, *, body: bytes = b"{}", skew_s: int = 0, region: str = "us-east-1", service: str = "kinesis"
) -> dict[str, str]:
    headers = {"host": f"127.0.0.1:{daemon.port}", "content-type": JSON, "x-amz-target": _TARGET}
    now_ms = time.time_ns() // 1_000_000 + skew_s * 1000
    request = SignedRequest("POST", "/", "", headers, body)
    return headers | sign(request, OurCredentials(_KEY_ID, _SECRET), region=region, service=service, now_ms=now_ms)


def _send(daemon: Daemon, headers: dict[str, str], *, body: bytes = b"{}", path: str = "/") -> RawReply:
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return exchange(daemon, "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)


def _presigned(daemon: Daemon, *, expires_s: int = 600, secret: str = _SECRET) -> tuple[str, dict[str, str]]:
    headers = {"X-Amz-Target": _TARGET, "Content-Type": JSON, "Host": f"127.0.0.1:{daemon.port}"}
    request = AWSRequest("POST", f"{daemon.url}/", headers=headers, data=b"{}")
    _BodyPresigner(Credentials(_KEY_ID, secret), "kinesis", "us-east-1", expires=expires_s).add_auth(request)
    return str(request.url).removeprefix(daemon.url), headers


def _fault(answer: RawReply) -> tuple[int, str, str]:
    document = answer.json()
    return answer.status, document["__type"], document["message"]


def test_clients_with_right_keys_are_let_in(guarded: Daemon) -> None:
    producer, consumer = (
        _client(guarded),
        _client(guarded, access_key="AKIDCONSUMER", secret_key="another-secret-of-some-length", region="eu-north-1"),
    )

    producer.create_stream(StreamName="posts", ShardCount=1)
    producer.put_records(StreamName="posts", Records=[{"Data": b"data", "PartitionKey": "é"}] * 3)
    place = consumer.get_shard_iterator(StreamName="posts", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    records = consumer.get_records(ShardIterator=place["ShardIterator"])["Records"]
    summary = consumer.describe_stream_summary(StreamName="posts")["StreamDescriptionSummary"]

    assert [record["Data"] for record in records] == [b"data"] * 3
    assert summary["StreamARN"] == "arn:aws:kinesis:eu-north-1:000000000000:stream/posts"


def test_wrong_keys_are_refused(guarded: Daemon) -> None:
    stranger = refusal(_client(guarded, access_key="AKIDNOBODY").describe_limits)
    wrong_secret = refusal(_client(guarded, secret_key=_SECRET + "x").describe_limits)
    swapped = refusal(_client(guarded, access_key="AKIDCONSUMER").describe_limits)

    assert stranger == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    assert wrong_secret == swapped == ("InvalidSignatureException", _MISMATCH)


def test_a_request_without_a_signature_is_refused_after_it_was_parsed(guarded: Daemon) -> None:
    unsigned = exchange(guarded, whole_request("DescribeLimits", b"{}"))
    broken = exchange(guarded, whole_request("DescribeLimits", b"{"))
    unknown = exchange(guarded, whole_request("NoSuch", b"{}"))

    assert _fault(unsigned) == (400, "MissingAuthenticationTokenException", "Missing Authentication Token")
    assert broken.json() == {"__type": "SerializationException"}
    assert unknown.json() == {"__type": "UnknownOperationException"}
    assert len(unsigned.headers["x-amzn-requestid"]) == 36


def test_a_fault_of_the_signature_is_told_in_the_requests_language(guarded: Daemon) -> None:
    answer = exchange(guarded, whole_request("DescribeLimits", cbor2.dumps({}), content_type=CBOR))

    assert answer.headers["content-type"] == CBOR
    assert cbor2.loads(answer.body) == {
        "__type": "MissingAuthenticationTokenException",
        "message": "Missing Authentication Token",
    }


@pytest.mark.parametrize(
    ("authorization", "parts"),
    [
        ("X", "'Credential' 'Signature' 'SignedHeaders' date"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e", "'Signature' 'SignedHeaders' date"),
        ("AWS4-HMAC-SHA256 Credential=a,Signature=b", "'SignedHeaders' date"),
        ("AWS4-HMAC-SHA256 Credential=a, Signature=b, SignedHeaders=c", "date"),
    ],
)
def test_an_incomplete_signature_is_told_part_by_part(guarded: Daemon, authorization: str, parts: str) -> None:
    answer = exchange(guarded, whole_request("DescribeLimits", b"{}", Authorization=authorization))

    status, code, sentence = _fault(answer)
    assert (status, code) == (400, "IncompleteSignatureException")
    expected = [f"Authorization header requires {part} parameter." for part in parts.split() if part != "date"]
    expected.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    assert sentence.startswith(" ".join(expected))
    assert "Authorization=" in sentence


def test_a_header_and_a_query_signature_together_are_refused(guarded: Daemon) -> None:
    path, headers = _presigned(guarded)

    answer = _send(guarded, headers | {"Authorization": "AWS4-HMAC-SHA256 x=y"}, path=path)

    assert _fault(answer) == (
        400,
        "InvalidSignatureException",
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    )


def test_a_presigned_request_is_let_in_and_a_wrong_one_is_not(guarded: Daemon) -> None:
    path, headers = _presigned(guarded)
    forged_path, forged_headers = _presigned(guarded, secret=_SECRET + "x")

    good = _send(guarded, headers, path=path)
    forged = _send(guarded, forged_headers, path=forged_path)
    more = _send(guarded, headers, path=path + "&x=y")
    incomplete = _send(guarded, headers, path="/?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    retargeted = _send(guarded, headers | {"X-Amz-Target": "Kinesis_20131202.ListStreams"}, path=path)

    assert good.status == 200
    assert good.json()["OnDemandStreamCountLimit"] == 50
    assert _fault(forged) == _fault(more) == _fault(retargeted) == (400, "InvalidSignatureException", _MISMATCH)
    assert _fault(incomplete)[1] == "IncompleteSignatureException"
    assert _fault(incomplete)[2].endswith("Re-examine the query-string parameters.")


def test_a_presigned_body_cannot_be_changed(guarded: Daemon) -> None:
    path, headers = _presigned(guarded)

    as_signed = _send(guarded, headers, path=path, body=b"{}")
    answer = _send(guarded, headers, path=path, body=b"{ }")

    assert as_signed.status == 200
    assert _fault(answer) == (400, "InvalidSignatureException", _MISMATCH)


def test_whatever_is_signed_cannot_be_changed(guarded: Daemon) -> None:
    signed = _signed_headers(guarded)

    as_signed = _send(guarded, signed)
    changed = [
        _send(guarded, signed, body=b"{ }"),
        _send(guarded, signed | {"x-amz-target": "Kinesis_20131202.ListStreams"}),
        _send(guarded, signed | {"content-type": f"{JSON}; x"}),
        _send(guarded, signed, path="/other"),
        _send(guarded, signed, path="/?a=b"),
        _send(guarded, signed | {"x-amz-content-sha256": "0" * 64}),
    ]

    assert as_signed.status == 200
    assert [_fault(answer) for answer in changed] == [(400, "InvalidSignatureException", _MISMATCH)] * len(changed)


def test_clocks_may_differ_by_five_minutes(guarded: Daemon) -> None:
    within = [_send(guarded, _signed_headers(guarded, skew_s=skew_s)).status for skew_s in (-280, 280)]
    late = _fault(_send(guarded, _signed_headers(guarded, skew_s=-330)))
    early = _fault(_send(guarded, _signed_headers(guarded, skew_s=330)))

    stamp = r"\d{8}T\d{6}Z"
    assert within == [200, 200]
    assert late[1] == early[1] == "InvalidSignatureException"
    assert re.fullmatch(rf"Signature expired: {stamp} is now earlier than {stamp} \({stamp} - 5 min\.\)", late[2])
    assert re.fullmatch(
        rf"Signature not yet current: {stamp} is still later than {stamp} \({stamp} \+ 5 min\.\)", early[2]
    )


def test_a_signature_for_something_else_is_told_what_it_is_for(guarded: Daemon) -> None:
    other_service = _fault(_send(guarded, _signed_headers(guarded, service="dynamodb")))
    odd_region = _fault(_send(guarded, _signed_headers(guarded, region="us_east 1".replace(" ", "%"))))

    assert other_service == (
        400,
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'kinesis'. ",
    )
    assert odd_region == (
        400,
        "InvalidSignatureException",
        "Credential should be scoped to a valid region, not 'us_east%1'. ",
    )


def test_compressed_and_chunked_bodies_are_verified_as_they_were_sent(guarded: Daemon) -> None:
    body = gzip.compress(orjson.dumps({}))
    headers = _signed_headers(guarded, body=body) | {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]

    answer = exchange(guarded, "\r\n".join(lines).encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    assert answer.status == 200


def test_a_session_token_is_refused_because_keys_here_have_none(guarded: Daemon) -> None:
    headers = {"X-Amz-Target": _TARGET, "Content-Type": JSON}
    request = AWSRequest("POST", f"{guarded.url}/", headers=headers, data=b"{}")
    SigV4Auth(Credentials(_KEY_ID, _SECRET, "token"), "kinesis", "us-east-1").add_auth(request)

    answer = _send(guarded, {"Host": f"127.0.0.1:{guarded.port}", **dict(request.headers.items())})

    assert _fault(answer)[1] == "UnrecognizedClientException"


def test_pages_need_no_signature_and_secrets_are_nowhere(guarded: Daemon) -> None:
    pages = [guarded.page(path) for path in ("/healthz", "/readyz", "/metrics")]
    get = exchange(guarded, head_of(None, {}, method="GET"))

    assert [page.status for page in pages] == [200, 200, 200]
    assert get.status == 403
    assert _SECRET not in guarded.log.read_text() + "".join(page.body.decode() for page in pages)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--host", "0.0.0.0"], "without --auth anybody who reaches 0.0.0.0 could do anything"),  # noqa: S104 - refused
        (["--host", "::"], "without --auth anybody who reaches :: could do anything"),
        (["--account-id", "12"], "must be 12 digits"),
        (["--auth", "no-such-file.toml"], "no-such-file.toml"),
    ],
)
def test_settings_that_would_harm_are_refused_at_the_start(tmp_path: Path, flags: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "streamd", "serve", "--port", "0", "--data", str(tmp_path / "data"), *flags]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))

    assert ended.returncode != 0
    assert sentence in " ".join(ended.stderr.replace("│", " ").split())
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_the_whole_machine_is_listened_on_when_it_is_said_so(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(_KEYS)
    keys.chmod(0o600)
    flags = [["--insecure"], ["--auth", str(keys)]]

    for number, said in enumerate(flags):
        daemon = start_daemon(tmp_path / f"data-{number}", "--host", "0.0.0.0", *said)  # noqa: S104 - the test's point
        answer = exchange(daemon, head_of(None, {}, method="GET", path="/healthz"))
        daemon.stop()

        assert answer.status == 200


def test_a_key_file_that_cannot_be_used_is_told_without_its_secrets(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "AKIDPRODUCER"\nsecret = "very-secret-but-broken\n')
    command = [sys.executable, "-m", "streamd", "serve", "--port", "0", "--data", str(tmp_path / "data")]

    ended = subprocess.run([*command, "--auth", str(keys)], capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 1
    assert "the access keys are not TOML" in ended.stderr
    assert "very-secret" not in ended.stderr + ended.stdout
