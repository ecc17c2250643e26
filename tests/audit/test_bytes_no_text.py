"""Bytes that are no text, anywhere in the head of any request: an answer, and the daemon goes on."""

from collections.abc import Iterator, Mapping

import pytest

from tests.audit.door_requests import Asked, every_request, own_paths
from tests.daemons import Daemon, start_daemon
from tests.server.doorways import DOORWAYS, Text

__all__: list[str] = []

# The quoted one is such a byte once it is unquoted; of those that are sent as they are HTTP/1.1 refuses some itself.
_BYTES = (b"\xff", b"%FF", b"\xed\xb0\x80")
_HEADERS = ("x-amz-target", "content-type", "x-amz-client-context", "x-amz-invocation-type", "origin", "x-odd")
_SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, "
    "Signature=0"
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon of two workers: one has the functions, the other asks it."""
    running = start_daemon(tmp_path_factory.mktemp("odd") / "data", "--workers", "2")
    yield running
    running.stop()


def _requests() -> Iterator[tuple[str, Text, Mapping[str, Text], bytes]]:
    paths = [Asked(each.name, "lambda", each.method, each.path, {}, b"") for each in own_paths()]
    for asked in {(one.method, one.path.partition("?")[0]): one for one in (*every_request(), *paths)}.values():
        path, _, query = asked.path.partition("?")
        for odd_bytes in _BYTES:
            last = path.encode() + odd_bytes
            first = path.encode().replace(b"guarded", odd_bytes)
            for place in (last, first, path.encode() + b"?token=" + odd_bytes + b"&" + query.encode()):
                yield asked.method, place, _SIGNED, asked.body
    for name in _HEADERS:
        for asked in (every_request()[0], *paths):
            yield asked.method, asked.path, {**_SIGNED, name: b"\xff"}, asked.body


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_bytes_that_are_no_text_end_nothing_but_their_own_request(odd: Daemon, doorway: str) -> None:
    workers = odd.worker_pids()

    failed = []
    for method, path, headers, body in _requests():
        # What is no HTTP ends its connection, so each has its own; and so either worker is asked.
        with DOORWAYS[doorway](odd) as ask:
            answer = ask(method, path, {"host": "localhost", **headers}, body)
        if not 200 <= answer.status < 500:
            failed.append((method, path, answer))

    assert failed == []
    assert odd.worker_pids() == workers
    assert "Traceback" not in odd.log.read_text()
