"""What a request may hold at worst, rightly signed: names that lead elsewhere, and everything larger than it may be.

Each operation is asked so; none answers as if the server were at fault, none ends a worker or has it hold more memory,
nothing is written outside the data directory, and nothing that was sent is in the log, whatever its level.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from tests.audit.door_requests import NAME, Asked, every_request, own_paths
from tests.audit.load_watch import sample_of
from tests.audit.wrong_signatures import KEY, signed
from tests.daemons import Daemon, start_daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.server.connections import dial, read_answer
from tests.server.doorways import DOORWAYS
from tests.server.http2_client import dial_http2

__all__: list[str] = []

_SECRET_OF_A_FUNCTION = "a-secret-of-a-function"
_GROWTH_MIB_MAX = 128
# Past what any door takes of a head.
_LARGE = 100_000
_NAMES = (
    *("../../x", "..", ".", "/etc/passwd", "a/b", "a\\b", "a\0b", "", " ", "\u202e", "x" * 3_000, "x" * 9_000),
    *("arn:aws:lambda:us-east-1:000000000000:function:../../x", "arn:aws:kinesis:us-east-1:000000000000:stream/../x"),
)
_SENT_AS_THEY_ARE = ("../../x", "..%2f..%2fx", "%2e%2e/%2e%2e/x", "%00", "a%2fb", "%", "%ZZ", "..;/x", "a//b")
_PATHS = (
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/healthz/../../etc/passwd", "/metrics/../token.secret"),
    *("//token.secret", "/_streamd/code/..%2f..%2fsecrets/1", "/_streamd/functions/..%2f..%2f..%2ftoken.secret/logs"),
    *("/2015-03-31/functions/..%2f..%2ftoken.secret", "/_push/..%2f..%2ftoken.secret", "/_streamd/layers/../../1"),
)
_VALUES: Mapping[str, bytes] = {
    "deep": b"[" * 5_000 + b"]" * 5_000,
    "digits": b"9" * 10_000,
    "no number": b"1e999999",
    "negative": b"-1",
    "nothing": b"null",
    "long": b'"' + b"x" * 1_000_000 + b'"',
    "many": b"[" + b"1," * 100_000 + b"1]",
    "an object": b'{"a":{"b":{}}}',
    "half a letter": b'"\\ud800"',
    "NUL": b'"\\u0000"',
}
_BODIES: Mapping[str, bytes] = {
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "no text": b'{"\xff":1}',
    "many members": b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}",
}


@pytest.fixture(scope="module")
def asked_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon that says all it ever says, with a stream and a function."""
    folder = tmp_path_factory.mktemp("hostile")
    keys = folder / "keys.toml"
    keys.write_text(f'[[key]]\nid = "{KEY.access_key_id}"\nsecret = "{KEY.secret}"\n')
    keys.chmod(0o600)
    running = start_daemon(folder / "data", "--auth", str(keys), "--workers", "2", "--log-level", "debug")
    running.client(access_key=KEY.access_key_id, secret_key=KEY.secret).create_stream(StreamName=NAME, ShardCount=1)
    functions = lambda_client(running, access_key=KEY.access_key_id, secret_key=KEY.secret)
    deploy(functions, NAME, Environment={"Variables": {"WORD": _SECRET_OF_A_FUNCTION}})
    yield running
    running.stop()


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_names_that_lead_elsewhere_lead_nowhere(asked_daemon: Daemon, doorway: str) -> None:
    _assert_no_harm(asked_daemon, doorway, _with_other_names())


def test_bodies_that_are_too_much_are_refused(asked_daemon: Daemon) -> None:
    _assert_no_harm(asked_daemon, "length", _with_other_bodies())


@pytest.mark.parametrize("doorway", ["length", "chunks"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("place", ["path", "query", "a value", "a name", "many"])
def test_a_head_that_is_too_large_is_refused_and_the_connection_closed(
    asked_daemon: Daemon, doorway: str, method: str, place: str
) -> None:
    with dial(asked_daemon) as connection:
        connection.sendall(_large_head(method, place, is_chunked=doorway == "chunks"))
        answer = read_answer(connection, method=method)

        assert (answer.status, answer.body) == (400, b"")
        assert answer.headers["server"] == "streamd"
        assert connection.recv(1) == b""


@pytest.mark.parametrize("place", ["path", "query", "a value", "a name", "many"])
def test_over_http2_a_head_that_is_too_large_ends_its_connection_alone(asked_daemon: Daemon, place: str) -> None:
    path, fields = _large(place)
    with dial_http2(asked_daemon.port) as connection, dial_http2(asked_daemon.port) as other:
        other.sync()
        head = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
        connection.ask_as_given({**head, **fields}, b"{}")

        # ENHANCE_YOUR_CALM
        assert connection.until_closed() == 11
        other.sync()


def test_the_pages_say_nothing_private(asked_daemon: Daemon) -> None:
    pages = {path: asked_daemon.page(path).body.decode() for path in ("/healthz", "/readyz", "/metrics")}
    words = [KEY.secret, KEY.access_key_id, _SECRET_OF_A_FUNCTION, str(asked_daemon.data), str(Path.home())]

    assert [(path, word) for path, text in pages.items() for word in words if word in text] == []


def _assert_no_harm(daemon: Daemon, doorway: str, requests: Iterator[Asked]) -> None:
    files, workers, before = _files_beside(daemon), daemon.worker_pids(), sample_of(daemon)
    secrets = [(daemon.data / "token.secret").read_bytes(), b"root:", KEY.secret.encode()]
    wrong = []
    for asked in requests:
        sent = signed(asked, f"127.0.0.1:{daemon.port}")
        # What is no HTTP ends its connection, so each has its own; and so either worker is asked.
        with DOORWAYS[doorway](daemon) as ask:
            answer = ask(sent.method, sent.path, sent.headers, sent.body)
        if answer.status >= 500 or any(secret in answer.body for secret in secrets):
            wrong.append((asked.name, asked.path, answer))

    assert wrong == []
    assert daemon.worker_pids() == workers
    assert _files_beside(daemon) == files
    assert sample_of(daemon).memory_mib - before.memory_mib < _GROWTH_MIB_MAX
    _assert_log_is_silent(daemon)


def _assert_log_is_silent(daemon: Daemon) -> None:
    log = daemon.log.read_text()
    token = (daemon.data / "token.secret").read_bytes().hex()
    words = ["Traceback", "Signature=", KEY.secret, _SECRET_OF_A_FUNCTION, token]
    assert [word for word in words if word in log] == []


def _files_beside(daemon: Daemon) -> set[Path]:
    """List what lies around the data directory, where names that lead out of it would lead."""
    around = daemon.data.parent
    return {path for path in (*around.rglob("*"), *around.parent.iterdir()) if not path.is_relative_to(daemon.data)}


def _with_other_names() -> Iterator[Asked]:
    for asked in _asked():
        for name in _NAMES:
            inside = orjson.dumps(name)[1:-1]
            path = asked.path.replace(NAME, quote(name, safe=""))
            yield replace(asked, path=path, body=asked.body.replace(NAME.encode(), inside))
        if NAME in asked.path:
            yield from (replace(asked, path=asked.path.replace(NAME, name)) for name in _SENT_AS_THEY_ARE)
    for path in _PATHS:
        yield from (Asked(path, "lambda", method, path, {}, b"") for method in ("GET", "POST", "PUT", "DELETE"))


def _with_other_bodies() -> Iterator[Asked]:
    for asked in _asked():
        yield from (replace(asked, body=body) for body in _BODIES.values())
        if asked.body[:1] != b"{":
            continue
        document = orjson.loads(asked.body)
        for name in document:
            rest = orjson.dumps({other: value for other, value in document.items() if other != name})[:-1]
            comma = b"" if rest == b"{" else b","
            for value in _VALUES.values():
                yield replace(asked, body=rest + comma + orjson.dumps(name) + b":" + value + b"}")


def _asked() -> Iterator[Asked]:
    yield from every_request()
    yield from (Asked(each.name, "lambda", each.method, each.path, {}, b"") for each in own_paths() if each.is_open)


def _large(place: str) -> tuple[str, dict[str, str]]:
    fields = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Kinesis_20131202.ListStreams"}
    match place:
        case "path":
            return "/2015-03-31/functions/" + "a" * _LARGE, fields
        case "query":
            return "/?" + "a=b&" * (_LARGE // 4), fields
        case "a value":
            return "/", {**fields, "x-large": "a" * _LARGE}
        case "a name":
            return "/", {**fields, "x" * _LARGE: "a"}
        case _:
            return "/", {**fields, **{f"x-{number}": "a" for number in range(_LARGE // 10)}}


def _large_head(method: str, place: str, *, is_chunked: bool) -> bytes:
    path, fields = _large(place)
    framing = {"transfer-encoding": "chunked"} if is_chunked else {"content-length": "2"}
    lines = [f"{name}: {value}" for name, value in {"host": "localhost", **fields, **framing}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()
