"""`streamd tls init`: an authority and a certificate that clients can be told to trust."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.cli.shell import Shell

__all__: list[str] = []

_FILES = {"ca.key", "ca.pem", "server.key", "server.pem"}


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_is_made_for_this_machine_and_the_names_asked_for(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "tls"

    said = shell(
        "tls", "init", str(place), "--name", "Kinesis.lan", "--name", "192.168.1.20", "--name", "*.streams.lan"
    )

    assert (said.status, said.err) == (0, "")
    assert {path.name for path in place.iterdir()} == _FILES
    server = _certificate(place / "server.pem")
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "kinesis.lan", "*.streams.lan"} <= set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "::1", "192.168.1.20"}


def test_the_authority_signs_servers_and_nothing_else(shell: Shell, tmp_path: Path) -> None:
    shell("tls", "init", str(tmp_path))

    authority, server = _certificate(tmp_path / "ca.pem"), _certificate(tmp_path / "server.pem")
    server.verify_directly_issued_by(authority)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usages = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_nobody_but_the_owner_may_read_a_key(shell: Shell, tmp_path: Path) -> None:
    shell("tls", "init", str(tmp_path))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.key": 0o600, "server.key": 0o600, "ca.pem": 0o644, "server.pem": 0o644}


def test_what_is_there_is_replaced_only_when_told_to(shell: Shell, tmp_path: Path) -> None:
    shell("tls", "init", str(tmp_path))
    before = (tmp_path / "server.pem").read_bytes()

    refused = shell("tls", "init", str(tmp_path))
    kept = (tmp_path / "server.pem").read_bytes()
    forced = shell("tls", "init", str(tmp_path), "--force")

    assert refused.status != 0
    assert "--force replaces them" in refused.err
    assert kept == before
    assert forced.status == 0
    assert (tmp_path / "server.pem").read_bytes() != before
    ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("name", ["two words", "", "a..b", "*", "-a", "a" * 64, "127.0.0.1:4568", "https://host"])
def test_a_name_that_no_certificate_can_be_for_is_refused(shell: Shell, tmp_path: Path, name: str) -> None:
    said = shell("tls", "init", str(tmp_path / "tls"), "--name", name)

    assert said.status != 0
    assert "no host name and no address" in said.err
    assert not (tmp_path / "tls").exists()


def test_a_folder_that_cannot_be_made_is_told_by_its_name(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = shell("tls", "init", str(tmp_path / "file" / "tls"))

    assert said.status != 0
    assert "cannot write" in said.err


def test_what_was_made_is_told_and_how_to_trust_it(shell: Shell, tmp_path: Path) -> None:
    said = shell("tls", "init", str(tmp_path / "with space"))
    told = shell("tls", "init", str(tmp_path / "json"), "--json").json()

    assert f"AWS_CA_BUNDLE='{tmp_path}/with space/ca.pem'" in said.out
    assert "NODE_EXTRA_CA_CERTS=" in said.out
    assert "keytool -importcert" in said.out
    assert told["ca.pem"] == str(tmp_path / "json" / "ca.pem")
    assert told["names"][:3] == ["localhost", "127.0.0.1", "::1"]
