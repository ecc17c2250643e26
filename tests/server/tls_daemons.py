"""Daemons that listen under TLS too, with a certificate of their own authority."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamd import cli
from tests.conftest import DaemonFactory
from tests.daemons import Daemon

__all__ = ["Served", "served_over_tls"]

_PATIENCE_S = 30
_TLS_URL = re.compile(r"under TLS, with HTTP/2 and HTTP/1.1: (https://\S+)")


@dataclass(frozen=True)
class Served:
    """A daemon with both ports, and the authority of its certificate."""

    daemon: Daemon
    url: str
    authority: Path

    def client(self, **settings: Any) -> Any:
        """Make a boto3 client that trusts the authority."""
        return self.daemon.client(url=self.url, verify=str(self.authority), **settings)

    @contextmanager
    def dial(self, *protocols: str, byte_count: int | None = None) -> Iterator[ssl.SSLSocket]:
        """Connect, offering these protocols; the kernel takes so many bytes ahead, if it is said."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        port = int(self.url.rpartition(":")[2])
        with socket.socket() as plain:
            if byte_count is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, byte_count)
            plain.settimeout(_PATIENCE_S)
            plain.connect(("127.0.0.1", port))
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                yield connection


def served_over_tls(
    daemon_factory: DaemonFactory, place: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> Served:
    """Start one; the certificate is made in this folder."""
    assert cli.main(["tls", "init", str(place)]) == 0
    files = ("--tls-cert", str(place / "server.pem"), "--tls-key", str(place / "server.key"))
    daemon = daemon_factory("--tls-port", "0", *files, *flags, environment=environment)
    found = _TLS_URL.search(daemon.log.read_text())
    assert found is not None
    return Served(daemon, found[1], place / "ca.pem")
