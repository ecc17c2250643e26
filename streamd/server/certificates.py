"""Certificates for a server of one's own: an authority that clients are told to trust, and a certificate under it.

For machines that no public authority vouches for. The authority signs nothing but servers, and no authority below it.
Keys are P-256: every client of the last ten years knows them, and they cost the server a tenth of RSA's work.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamd.errors import ConfigInvalid

__all__ = ["Issued", "host_name", "issue"]

_AUTHORITY_AGE = timedelta(days=3650)
# The longest that Apple's clients accept.
_SERVER_AGE = timedelta(days=825)
# Clients whose clock is behind ours accept it too.
_EARLIER = timedelta(hours=1)
_COMMON_NAME_LENGTH_MAX = 64
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_DNS_NAME_LENGTH_MAX = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What was made, each in PEM. The server's chain ends before the authority, which clients have."""

    authority: bytes
    authority_key: bytes = field(repr=False)
    server: bytes
    server_key: bytes = field(repr=False)


def host_name(text: str) -> x509.GeneralName:
    """Read an address or a DNS name, perhaps with an asterisk as its first label. Raises ConfigInvalid."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if len(text) > _DNS_NAME_LENGTH_MAX or not _DNS_NAME.fullmatch(text):
        raise ConfigInvalid(f"{text!r} is no host name and no address that a certificate can be for")
    return x509.DNSName(text.lower())


def issue(names: Iterable[x509.GeneralName], *, owner: str, now: datetime) -> Issued:
    """Make an authority, named after its owner, and a certificate for these names; the first is shown as its name."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _named(f"streamd authority of {owner}")
    usage = _usage(for_authority=True)
    authority = (
        _begun(authority_name, authority_name, authority_key.public_key(), now=now, age=_AUTHORITY_AGE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    unique = list(dict.fromkeys(names))
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = (
        _begun(authority_name, _named(f"streamd on {owner}"), server_key.public_key(), now=now, age=_SERVER_AGE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(for_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(unique), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Issued(
        authority=authority.public_bytes(serialization.Encoding.PEM),
        authority_key=_written(authority_key),
        server=server.public_bytes(serialization.Encoding.PEM),
        server_key=_written(server_key),
    )


def _begun(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, now: datetime, age: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + age)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME_LENGTH_MAX])])


def _usage(*, for_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=for_authority,
        crl_sign=for_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _written(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
