"""``streamd tls``: certificates for a server that no public authority vouches for."""

import os
import shlex
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography import x509

from streamd.cli.options import examples, json_option
from streamd.cli.output import json_text, write
from streamd.errors import ConfigInvalid
from streamd.server.certificates import Issued, host_name, issue

__all__ = ["tls"]

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@click.group()
def tls() -> None:
    """Make certificates for serving TLS."""


@tls.command(
    epilog=examples("streamd tls init ./tls", "streamd tls init ./tls --name kinesis.lan --name 192.168.1.20 --force")
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Another name or address that clients will use.")
@click.option("--force", is_flag=True, help="Replace what is there: clients must then be told to trust anew.")
@json_option()
def init(directory: Path, *, names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Make an authority of your own and a server certificate under it, in DIR.

    The certificate is for localhost, 127.0.0.1, ::1, this machine's name, and every --name. Who holds ca.key can
    pose as any server to those who trust ca.pem: keep it, or remove it when no more certificates are needed.
    """
    machine = socket.gethostname()
    certified = [host_name(name) for name in (*_LOCAL_NAMES, *names)]
    with suppress(ConfigInvalid):
        # A machine may have a name that no certificate can be for; the others will do.
        certified.append(host_name(machine))
    place = directory.absolute()
    files = {name: place / name for name in ("ca.pem", "ca.key", "server.pem", "server.key")}
    there = [name for name, path in files.items() if path.exists()]
    if there and not force:
        raise ConfigInvalid(f"{place} already has {', '.join(there)}: --force replaces them")
    _save(issue(certified, owner=machine, now=datetime.now(UTC)), files)
    shown = [_text_of(name) for name in dict.fromkeys(certified)]
    write(json_text({"names": shown, **_texts(files)}) if as_json else _page(files, shown))


def _save(issued: Issued, files: dict[str, Path]) -> None:
    try:
        files["ca.pem"].parent.mkdir(parents=True, exist_ok=True)
        _write(files["ca.key"], issued.authority_key, mode=0o600)
        _write(files["server.key"], issued.server_key, mode=0o600)
        _write(files["ca.pem"], issued.authority, mode=0o644)
        _write(files["server.pem"], issued.server, mode=0o644)
    except OSError as error:
        raise ConfigInvalid(f"cannot write {error.filename}: {error.strerror}") from error


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Put a new file in a place, never somebody else's to read for a moment, nor half written."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    fresh.replace(path)


def _text_of(name: x509.GeneralName) -> str:
    return str(name.value)


def _texts(files: dict[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in files.items()}


def _page(files: dict[str, Path], names: list[str]) -> str:
    quoted = {name: shlex.quote(text) for name, text in _texts(files).items()}
    return f"""\
made for {", ".join(names)}
  authority    {files["ca.pem"]} (key: ca.key)
  certificate  {files["server.pem"]} (key: server.key)

start the server:
  streamd serve --tls-port 4568 --tls-cert {quoted["server.pem"]} --tls-key {quoted["server.key"]}

make clients trust it:
  boto3, AWS CLI  export AWS_CA_BUNDLE={quoted["ca.pem"]}
  Node.js         export NODE_EXTRA_CA_CERTS={quoted["ca.pem"]}
  Java            keytool -importcert -cacerts -noprompt -alias streamd -file {quoted["ca.pem"]}
and give them https://localhost:4568 as their endpoint"""
