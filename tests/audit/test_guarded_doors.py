"""With ``--auth`` every door is shut: each operation of botocore's models and each path, asked wrongly in every way.

The requests are botocore's own, filled with the least that each operation needs; only the signature is wrong. Nothing
that is refused has any effect, which the untouched stream and function at the end show.
"""

import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import botocore.session
import pytest
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.serialize import create_serializer

from streamd.core.sigv4 import Credentials, SignedRequest, sign
from tests.daemons import Daemon, RawReply, start_daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.server.connections import exchange

__all__: list[str] = []

_KEY = Credentials("AKIDGUARDED", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_NAME = "guarded"
_REFUSALS = (
    "IncompleteSignature",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "UnrecognizedClient",
    # Lambda's refusal of what may not be looked at without a token of its own.
    "AccessDenied",
)
_LATE_MS = 16 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it would be sent, but for its signature."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon that knows one key, with a stream and a function in it."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys.toml"
    keys.write_text(f'[[key]]\nid = "{_KEY.access_key_id}"\nsecret = "{_KEY.secret}"\n')
    keys.chmod(0o600)
    running = start_daemon(folder / "data", "--auth", str(keys), "--workers", "2")
    kinesis = _kinesis(running)
    kinesis.create_stream(StreamName=_NAME, ShardCount=1)
    kinesis.put_record(StreamName=_NAME, PartitionKey="k", Data=b"kept")
    deploy(_functions(running), _NAME, Environment={"Variables": {"WORD": "a-secret-of-a-function"}})
    yield running
    running.stop()


def _kinesis(daemon: Daemon) -> Any:
    return daemon.client(access_key=_KEY.access_key_id, secret_key=_KEY.secret)


def _functions(daemon: Daemon) -> Any:
    return lambda_client(daemon, access_key=_KEY.access_key_id, secret_key=_KEY.secret)


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _operations() -> list[tuple[str, str]]:
    return [(service, name) for service in ("kinesis", "lambda") for name in sorted(_model(service).operation_names)]


def _least(shape: Shape, name: str = "") -> Any:
    """Make up a value: the members that must be there, each as small as its shape allows."""
    match shape.type_name:
        case "structure":
            return {member: _least(shape.members[member], member) for member in shape.required_members}
        case "list":
            return [_least(shape.member)] * max(1, shape.metadata.get("min", 0))
        case "map":
            return {}
        case "blob":
            return b"{}"
        case "boolean":
            return True
        case "integer" | "long" | "double" | "float":
            return shape.metadata.get("min", 1)
        case "timestamp":
            return 1
        case _:
            return _text(shape, name)


def _text(shape: Shape, name: str) -> str:
    if shape.metadata.get("enum"):
        return str(shape.metadata["enum"][0])
    if name.endswith(("ARN", "Arn")):
        return f"arn:aws:kinesis:us-east-1:000000000000:stream/{_NAME}"
    return "0" if "HashKey" in name else _NAME


@cache
def _asked(service: str, name: str) -> Asked:
    model: OperationModel = _model(service).operation_model(name)
    parameters = {} if model.input_shape is None else _least(model.input_shape)
    if service == "kinesis" and model.input_shape is not None and "StreamName" in model.input_shape.members:
        parameters["StreamName"] = _NAME
    made = create_serializer(model.service_model.metadata["protocol"], include_validation=False).serialize_to_request(
        parameters, model
    )
    query = made["query_string"]
    body = made["body"]
    return Asked(
        service,
        made["method"],
        made["url_path"] + (f"?{urlencode(query, doseq=True)}" if query else ""),
        {key.lower(): str(value) for key, value in made["headers"].items()},
        body if isinstance(body, bytes) else str(body or "").encode(),
    )


def _signed(daemon: Daemon, asked: Asked, *, key: Credentials = _KEY, skew_ms: int = 0) -> Asked:
    path, _, query = asked.path.partition("?")
    headers = {"host": f"127.0.0.1:{daemon.port}", **asked.headers}
    request = SignedRequest(asked.method, path, query, headers, asked.body)
    now_ms = time.time_ns() // 1_000_000 + skew_ms
    added = sign(request, key, region="us-east-1", service=asked.service, now_ms=now_ms)
    return replace(asked, headers=headers | added)


def _send(daemon: Daemon, asked: Asked) -> RawReply:
    headers = {"host": f"127.0.0.1:{daemon.port}", **asked.headers, "content-length": str(len(asked.body))}
    lines = [f"{asked.method} {asked.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return exchange(daemon, "\r\n".join([*lines, "", ""]).encode() + asked.body)


def _without(daemon: Daemon, asked: Asked) -> Asked:
    del daemon
    return asked


def _of_a_stranger(daemon: Daemon, asked: Asked) -> Asked:
    return _signed(daemon, asked, key=Credentials("AKIDNOBODY", _KEY.secret))


def _with_a_wrong_secret(daemon: Daemon, asked: Asked) -> Asked:
    return _signed(daemon, asked, key=Credentials(_KEY.access_key_id, "another-secret-of-some-length"))


def _replayed_late(daemon: Daemon, asked: Asked) -> Asked:
    return _signed(daemon, asked, skew_ms=-_LATE_MS)


def _with_another_body(daemon: Daemon, asked: Asked) -> Asked:
    signed = _signed(daemon, asked)
    return replace(signed, body=signed.body + b" ")


def _for_another_service(daemon: Daemon, asked: Asked) -> Asked:
    return replace(_signed(daemon, replace(asked, service="s3")), service=asked.service)


def _for_another_path(daemon: Daemon, asked: Asked) -> Asked:
    return replace(_signed(daemon, replace(asked, path="/elsewhere")), path=asked.path)


_WAYS: list[Callable[[Daemon, Asked], Asked]] = [
    _without,
    _of_a_stranger,
    _with_a_wrong_secret,
    _replayed_late,
    _with_another_body,
    _for_another_service,
    _for_another_path,
]


def _is_refused(answer: RawReply) -> bool:
    code = answer.headers.get("x-amzn-errortype", "")
    if not code and answer.body.startswith(b"{"):
        code = str(answer.json().get("__type", ""))
    return answer.status in (400, 403) and code.startswith(_REFUSALS)


@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.__name__.strip("_"))
def test_every_operation_is_refused_without_the_right_signature_and_nothing_happens(
    guarded: Daemon, way: Callable[[Daemon, Asked], Asked]
) -> None:
    let_in = []
    for service, name in _operations():
        answer = _send(guarded, way(guarded, _asked(service, name)))
        if not _is_refused(answer):
            let_in.append((service, name, answer.status, answer.body[:200]))

    assert let_in == []
    _assert_untouched(guarded)


def test_the_requests_of_this_audit_are_let_in_with_the_right_signature(guarded: Daemon) -> None:
    """Without this a request that is wrong by itself could pass for one that is refused."""
    names = [("kinesis", name) for name in ("DescribeLimits", "DescribeStreamSummary", "ListShards", "ListStreams")]
    names += [("lambda", name) for name in ("GetFunction", "ListFunctions", "Invoke", "GetAccountSettings")]

    answers = {name: _send(guarded, _signed(guarded, _asked(service, name))) for service, name in names}

    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 200)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/_streamd/functions/{_NAME}/logs", 403),
        ("GET", f"/_streamd/mappings/{uuid.UUID(int=0)}", 403),
        ("GET", "/_streamd/usage", 403),
        ("GET", "/_streamd/push-routes", 403),
        ("GET", f"/_streamd/code/{_NAME}/$LATEST", 403),
        ("GET", f"/_streamd/code/{_NAME}/%24LATEST?token=made-up", 403),
        ("GET", "/_streamd/layers/none/1", 403),
        ("POST", "/_push/none", 404),
    ],
)
def test_the_servers_own_paths_are_refused_too(guarded: Daemon, method: str, path: str, status: int) -> None:
    answer = _send(guarded, Asked("lambda", method, path, {}, b""))

    assert answer.status == status
    assert b"a-secret-of-a-function" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/healthz/../../etc/passwd",
        "/_streamd/code/..%2f..%2fsecrets/1",
        "/_streamd/functions/..%2f..%2f..%2ftoken.secret/logs",
        "/2015-03-31/functions/..%2f..%2ftoken.secret",
        "/metrics/../token.secret",
        "//token.secret",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_no_path_leads_out_of_the_api(guarded: Daemon, method: str, path: str) -> None:
    plain = _send(guarded, Asked("lambda", method, path, {}, b"{}" if method != "GET" else b""))
    signed = _send(guarded, _signed(guarded, Asked("lambda", method, path, {}, b"{}" if method != "GET" else b"")))

    secret = (guarded.data / "token.secret").read_bytes()
    for answer in (plain, signed):
        assert 400 <= answer.status < 500, answer
        assert b"root:" not in answer.body
        assert secret not in answer.body


def test_the_pages_say_nothing_private(guarded: Daemon) -> None:
    secrets = [_KEY.secret, "a-secret-of-a-function", str(guarded.data), str(Path.home())]
    pages = {path: guarded.page(path).body.decode() for path in ("/healthz", "/readyz", "/metrics")}

    assert [(path, word) for path, text in pages.items() for word in secrets if word in text] == []
    assert _KEY.access_key_id not in pages["/healthz"] + pages["/readyz"] + pages["/metrics"]


def test_secrets_are_in_no_log_and_files_are_nobody_elses(guarded: Daemon) -> None:
    log = guarded.log.read_text()
    modes = {
        str(path.relative_to(guarded.data)): stat.S_IMODE(path.stat().st_mode)
        for path in [guarded.data, *guarded.data.rglob("*")]
        if not path.is_symlink()
    }

    token = (guarded.data / "token.secret").read_bytes()
    assert [word for word in (_KEY.secret, "a-secret-of-a-function", token.hex()) if word in log] == []
    # What a function's code is unpacked to must be read by the other user that runs it; the folder above is shut.
    shut = {name: oct(mode) for name, mode in modes.items() if not name.startswith("functions/") and mode & 0o077}
    assert shut == {}


def _assert_untouched(daemon: Daemon) -> None:
    kinesis, functions = _kinesis(daemon), _functions(daemon)
    assert kinesis.list_streams()["StreamNames"] == [_NAME]
    iterator = kinesis.get_shard_iterator(
        StreamName=_NAME, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [record["Data"] for record in records] == [b"kept"]
    found = functions.list_functions()["Functions"]
    assert [function["FunctionName"] for function in found] == [_NAME]
    assert found[0]["Environment"] == {"Variables": {"WORD": "a-secret-of-a-function"}}
