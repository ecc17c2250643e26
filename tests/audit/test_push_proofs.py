"""Push routes ask for proofs of their own: without the right one nothing gets in, by whatever door or side entrance."""

import hmac
import json
import os
import socket
import struct
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from tests.daemons import Daemon, start_daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.server.doorways import DOORWAYS
from tests.workers.wire import until

__all__: list[str] = []

_SETTINGS = """
[[push_route]]
name = "token"
function = "pushed"
format = "raw"
auth = "token"
token = "Bearer sesame"

[[push_route]]
name = "hmac"
function = "pushed"
format = "raw"
auth = "hmac"
hmac_header = "X-Hub-Signature-256"
hmac_secret = "a secret of the hub"
hmac_prefix = "sha256="

[[push_route]]
name = "far"
function = "pushed"
format = "raw"
auth = "none"
addresses = ["192.0.2.0/24"]

[[push_route]]
name = "far-token"
function = "pushed"
format = "raw"
auth = "token"
token = "Bearer sesame"
addresses = ["192.0.2.0/24"]
"""
_BODY = b'{"n":1}'
_FAR = "192.0.2.7"
_SIGNATURE = "x-hub-signature-256"
_NOBODY = 65_534


def _digest(body: bytes = _BODY, secret: bytes = b"a secret of the hub") -> bytes:
    return hmac.digest(secret, body, sha256)


_TELLING_OF_AN_ADDRESS = {
    "x-forwarded-for": _FAR,
    "x-real-ip": _FAR,
    "forwarded": f"for={_FAR}",
    "true-client-ip": _FAR,
    "host": _FAR,
}
_WRONG: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "token": (
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer sesam"},
        {"authorization": "Bearer sesame2"},
        {"authorization": "Bearer  sesame"},
        {"authorization": "bearer sesame"},
        {"authorization": "Bearer SESAME"},
        {"authorization": "sesame"},
        {"x-authorization": "Bearer sesame"},
        {"proxy-authorization": "Bearer sesame"},
    ),
    "hmac": (
        {},
        {_SIGNATURE: ""},
        {_SIGNATURE: "sha256="},
        {_SIGNATURE: _digest().hex()},
        {_SIGNATURE: "sha1=" + _digest().hex()},
        {_SIGNATURE: "sha256=" + _digest().hex().upper()},
        {_SIGNATURE: "sha256=" + b64encode(_digest()).decode()},
        {_SIGNATURE: "sha256=" + _digest(_BODY + b" ").hex()},
        {_SIGNATURE: "sha256=" + _digest(b"").hex()},
        {_SIGNATURE: "sha256=" + _digest(secret=b"another").hex()},
        {_SIGNATURE: "sha256=" + sha256(_BODY).hexdigest()},
        {"x-hub-signature": "sha256=" + _digest().hex()},
    ),
    "far": ({}, _TELLING_OF_AN_ADDRESS),
    "far-token": (
        {"authorization": "Bearer sesame"},
        {"authorization": "Bearer sesame", **_TELLING_OF_AN_ADDRESS},
        _TELLING_OF_AN_ADDRESS,
    ),
}
_RIGHT = {"token": {"authorization": "Bearer sesame"}, "hmac": {_SIGNATURE: "sha256=" + _digest().hex()}}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon of two workers, one of which has the functions."""
    folder = tmp_path_factory.mktemp("pushed")
    settings = folder / "functions.toml"
    settings.write_text(_SETTINGS)
    running = start_daemon(folder / "data", "--functions-config", str(settings), "--workers", "2")
    deploy(lambda_client(running), "pushed")
    yield running
    running.stop()


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_without_its_proof_nothing_is_pushed(pushed: Daemon, doorway: str) -> None:
    before = _invocation_count(pushed)

    answers = [
        (route, headers, _push(pushed, doorway, route, headers)) for route in _WRONG for headers in _WRONG[route]
    ]

    assert [each for each in answers if each[2] != 403] == []
    for route, headers in _RIGHT.items():
        assert _push(pushed, doorway, route, headers) == 200
    until(lambda: _invocation_count(pushed) >= before + len(_RIGHT))
    assert _invocation_count(pushed) == before + len(_RIGHT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_of_the_machine_do_not_get_in_between_the_workers(pushed: Daemon) -> None:
    """The link tells from where a request came, so whoever is believed there comes from everywhere."""
    before = _invocation_count(pushed)
    told = {"method": "POST", "path": "/_push/far", "query": "", "peer": _FAR, "headers": {"host": "localhost"}}
    head = orjson.dumps(told)
    frame = struct.pack(">I", len(head)) + head + struct.pack(">Q", len(_BODY)) + _BODY

    of_nobody = [_answer_of_link(pushed, frame, user=_NOBODY) for _ in range(2)]
    own = _answer_of_link(pushed, frame, user=os.geteuid())

    assert of_nobody == [b"", b""]
    assert json.loads(own)["status"] == 200
    until(lambda: _invocation_count(pushed) > before)
    assert _invocation_count(pushed) == before + 1
    assert pushed.log.read_text().count("is not listened to") == 1


def _answer_of_link(daemon: Daemon, frame: bytes, *, user: int) -> bytes:
    """Say something to the link as a user, and read the head of what it answers; nothing if it hangs up."""
    own = os.geteuid()
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        name = _link_name(daemon)
        os.seteuid(user)
        try:
            link.connect(name)
        finally:
            os.seteuid(own)
        try:
            link.sendall(frame)
            return link.recv(int.from_bytes(link.recv(4, socket.MSG_WAITALL)), socket.MSG_WAITALL)
        except ConnectionError:
            return b""


def _link_name(daemon: Daemon) -> str:
    """Find the link, as every user of the machine could."""
    held = {str(path.readlink()) for path in Path(f"/proc/{daemon.process.pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if "@streamd-" in line]
    (name,) = {row[-1] for row in rows if f"socket:[{row[-2]}]" in held}
    return name.replace("@", "\0", 1)


def _push(daemon: Daemon, doorway: str, route: str, headers: Mapping[str, str]) -> int:
    # Over a connection of its own, so that either worker is asked.
    with DOORWAYS[doorway](daemon) as ask:
        return ask("POST", f"/_push/{route}", {"host": "localhost", **headers}, _BODY).status


def _invocation_count(daemon: Daemon) -> int:
    """Count the invocations that have ended."""
    events = lambda_client(daemon, "logs").filter_log_events(logGroupName="/aws/lambda/pushed")["events"]
    return sum(event["message"].startswith("REPORT") for event in events)
