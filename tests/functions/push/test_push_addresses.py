"""Lists of addresses on a real daemon: the socket tells where a request comes from, in whichever worker it arrives."""

import http.client
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client

SETTINGS = """
[[push_route]]
name = "near"
function = "seen"
auth = "none"
addresses = ["127.0.0.0/8"]

[[push_route]]
name = "far"
function = "seen"
auth = "none"
addresses = ["192.0.2.0/24"]
"""


def push(daemon: Daemon, route: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    try:
        connection.request("POST", f"/_push/{route}", b"{}", headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_only_listed_addresses_push_to_a_daemon(
    daemon_factory: Callable[..., Daemon], tmp_path: Path, workers: str
) -> None:
    settings = tmp_path / "functions.toml"
    settings.write_text(SETTINGS)
    daemon = daemon_factory("--functions-config", str(settings), "--workers", workers)
    client = lambda_client(daemon)
    deploy(client, "seen")

    # Each over a connection of its own: with two workers some arrive where the functions are not.
    near = [push(daemon, "near") for _ in range(12)]
    # What is asked before it is sent takes another door inside.
    asked = push(daemon, "near", Expect="100-continue")
    far = [push(daemon, "far", **{"X-Forwarded-For": "192.0.2.1"}) for _ in range(12)]
    client.close()

    assert set(near) == {200}
    assert asked == 200
    assert set(far) == {403}
