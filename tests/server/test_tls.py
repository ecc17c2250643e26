"""The port that speaks TLS, beside the plain one: HTTP/1.1 and HTTP/2 by ALPN, the same operations, the same rules."""

import socket
import ssl
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, SSLError
from h2.errors import ErrorCodes

from streamd import cli
from tests.cli.shell import run_program
from tests.conftest import DaemonFactory
from tests.server.http2_client import Http2Client
from tests.server.tls_daemons import Served, served_over_tls

__all__: list[str] = []

_PATIENCE_S = 30


@pytest.fixture
def served(daemon_factory: DaemonFactory, tmp_path: Path) -> Served:
    """Give a daemon with both ports."""
    return served_over_tls(daemon_factory, tmp_path / "tls")


def test_boto3_puts_and_reads_over_a_certificate_that_it_trusts(served: Served) -> None:
    over_tls, plain = served.client(), served.daemon.client()
    over_tls.create_stream(StreamName="s", ShardCount=1)
    over_tls.get_waiter("stream_exists").wait(StreamName="s")

    put = over_tls.put_record(StreamName="s", Data=b"under TLS", PartitionKey="k")
    over_tls.put_records(StreamName="s", Records=[{"Data": b"x" * 900_000, "PartitionKey": str(n)} for n in range(5)])

    iterator = plain.get_shard_iterator(StreamName="s", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = plain.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [len(record["Data"]) for record in records] == [9, *[900_000] * 5]
    assert over_tls.get_records(ShardIterator=iterator["ShardIterator"])["Records"] == records


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(served: Served) -> None:
    client = served.daemon.client(url=served.url)

    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        client.list_streams()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("http/1.1", "h2"), "h2"), ((), None)],
)
def test_the_protocol_is_agreed_on_and_spoken(served: Served, offered: tuple[str, ...], chosen: str | None) -> None:
    with served.dial(*offered) as connection:
        assert connection.selected_alpn_protocol() == chosen
        if chosen == "h2":
            assert Http2Client(connection).get("/healthz").status == 200
        else:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_old_protocols_and_plain_words_are_not_answered(served: Served) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    port = int(served.url.rpartition(":")[2])

    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as old, pytest.raises(OSError):  # noqa: PT011 - an SSLError, a reset, as the moment has it
        context.wrap_socket(old, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP/1.1" not in _all_of(plain)

    assert served.client().list_streams()["StreamNames"] == []


def test_who_never_shakes_hands_does_not_keep_others_out(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) for _ in range(50)]

    try:
        assert served.client().list_streams()["StreamNames"] == []
    finally:
        for connection in silent:
            connection.close()


def test_several_workers_serve_both_ports_with_signatures_verified(
    daemon_factory: DaemonFactory, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "AKIDTLS"\nsecret = "a-secret-for-tests-only"\n')
    keys.chmod(0o600)
    served = served_over_tls(daemon_factory, tmp_path / "tls", "--workers", "2", "--auth", str(keys))
    known = {"access_key": "AKIDTLS", "secret_key": "a-secret-for-tests-only"}

    clients = [served.client(**known) for _ in range(8)]
    clients[0].create_stream(StreamName="s", ShardCount=2)
    clients[0].get_waiter("stream_exists").wait(StreamName="s")
    numbers = {client.put_record(StreamName="s", Data=b"d", PartitionKey="k")["SequenceNumber"] for client in clients}

    assert len(numbers) == len(clients)
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        served.client(access_key="AKIDNOBODY").list_streams()


def test_requests_in_hand_are_answered_when_the_daemon_stops(served: Served) -> None:
    client = served.client()
    client.create_stream(StreamName="s", ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName="s")

    with served.dial("h2") as connection:
        http2 = Http2Client(connection)
        answers = [http2.ask("PutRecord", {"StreamName": "s", "Data": "eA==", "PartitionKey": "k"}) for _ in range(50)]
        put = [http2.answer(number).status for number in answers]
        assert served.daemon.stop() == 0
        assert http2.until_closed() == ErrorCodes.NO_ERROR

    assert put == [200] * 50


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--tls-port", "0"], "TLS needs all three"),
        (["--tls-cert", "{place}/server.pem", "--tls-key", "{place}/server.key"], "TLS needs all three"),
        (["--tls-port", "0", "--tls-cert", "{place}/none.pem", "--tls-key", "{place}/server.key"], "cannot read"),
        (["--tls-port", "0", "--tls-cert", "{place}/server.pem", "--tls-key", "{place}/ca.key"], "cannot use"),
        (["--tls-port", "0", "--tls-cert", "{place}/ca.key", "--tls-key", "{place}/ca.key"], "cannot use"),
    ],
)
def test_flags_that_cannot_be_used_are_told_before_anything_starts(
    tmp_path: Path, flags: list[str], reason: str
) -> None:
    place = tmp_path / "tls"
    assert cli.main(["tls", "init", str(place)]) == 0

    said = run_program("serve", "--port", "0", "--data", str(tmp_path / "d"), *(f.format(place=place) for f in flags))

    assert said.status != 0
    assert reason in said.err
    assert said.out == ""
    assert not (tmp_path / "d").exists()


def test_tls_alone_does_not_open_the_server_to_the_world(tmp_path: Path) -> None:
    place = tmp_path / "tls"
    assert cli.main(["tls", "init", str(place)]) == 0
    files = ["--tls-port", "0", "--tls-cert", str(place / "server.pem"), "--tls-key", str(place / "server.key")]

    said = run_program("serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "d"), *files)  # noqa: S104

    assert said.status != 0
    assert "--insecure" in said.err


def _all_of(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except ConnectionError:
        pass
    return received
