"""Whether a message is SNS's own: its signature, the certificate behind it, and the hosts that either may come from.

The certificate comes in as bytes; that it is SNS's is what HTTPS and the list of hosts say, since it was fetched from
there. Version 1 signs with SHA-1, version 2 with SHA-256, both over the same text.
"""

import re
from base64 import b64decode
from collections.abc import Collection
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from streamd.core.push_sns import SnsKind, SnsMessage
from streamd.errors import MessageUnproven

__all__ = ["SNS_HOSTS", "canonical_text", "require_certificate_url", "require_url", "verify_sns"]

SNS_HOSTS = ("sns.*.amazonaws.com",)

# No user, no backslash, no fragment: nothing that two readers of addresses could read as two hosts.
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253})(:\d{1,5})?(?:[/?][!\"$-\[\]-~]*)?", re.ASCII)
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def canonical_text(message: SnsMessage) -> bytes:
    """Write what SNS signs of a message: names and values by name, a line each."""
    members = {
        "Message": message.message,
        "MessageId": message.message_id,
        "Timestamp": message.timestamp,
        "TopicArn": message.topic,
        "Type": message.kind.value,
    }
    if message.kind is SnsKind.NOTIFICATION:
        if message.subject is not None:
            members["Subject"] = message.subject
    else:
        members |= {"SubscribeURL": message.subscribe_url, "Token": message.token}
    return "".join(f"{name}\n{members[name]}\n" for name in sorted(members)).encode("utf-8", "surrogatepass")


def verify_sns(message: SnsMessage, certificate: bytes, *, now_ms: int) -> None:
    """Check a message against a certificate in PEM. Raises MessageUnproven."""
    algorithm = _algorithm(message.signature_version)
    try:
        signature = b64decode(message.signature, validate=True)
    except ValueError:
        raise MessageUnproven("the signature of the SNS message is no base64") from None
    key = _key(certificate, now_ms)
    try:
        key.verify(signature, canonical_text(message), PKCS1v15(), algorithm)
    except InvalidSignature:
        raise MessageUnproven("the signature of the SNS message does not fit it") from None


def require_certificate_url(url: str, *, hosts: Collection[str], is_http_allowed: bool = False) -> None:
    """Refuse to look for a certificate at an address. Raises MessageUnproven."""
    require_url(url, what="SigningCertURL", hosts=hosts, is_http_allowed=is_http_allowed)
    if not url.partition("?")[0].endswith(".pem"):
        raise MessageUnproven("SigningCertURL of the SNS message names no .pem file")


def require_url(url: str, *, what: str, hosts: Collection[str], is_http_allowed: bool = False) -> None:
    """Refuse an address whose host is on no list, or that is not HTTPS. Raises MessageUnproven.

    ``*`` in a host stands for one part of it. A port other than the usual one must be listed with its host.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise MessageUnproven(f"{what} of the SNS message is no plain address")
    scheme, host, port = match[1], match[2].lower(), match[3] or ""
    if scheme != "https" and not is_http_allowed:
        raise MessageUnproven(f"{what} of the SNS message is not HTTPS")
    place = host if port in ("", _DEFAULT_PORTS[scheme]) else host + port
    if not any(_host_pattern(allowed).fullmatch(place) for allowed in hosts):
        raise MessageUnproven(f"{what} of the SNS message is at {place}, which is not among the hosts of the route")


def _host_pattern(allowed: str) -> re.Pattern[str]:
    # In some of S3's own host names a bucket that anybody may have called "sns" comes first, and then "s3".
    return re.compile("(?!s3[.-])[a-z0-9-]+".join(re.escape(part) for part in allowed.lower().split("*")), re.ASCII)


def _algorithm(version: str) -> HashAlgorithm:
    match version:
        case "1":
            # SNS's choice of old, and still what a topic has that nobody changed.
            return SHA1()  # noqa: S303
        case "2":
            return SHA256()
        case "":
            raise MessageUnproven("the SNS message carries no signature")
        case _:
            raise MessageUnproven(f"signature version {version[:20]!r} of the SNS message is neither 1 nor 2")


def _key(certificate: bytes, now_ms: int) -> RSAPublicKey:
    """Give the key of a certificate that is valid now. Raises MessageUnproven."""
    try:
        read = load_pem_x509_certificate(certificate)
        key = read.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise MessageUnproven("what SigningCertURL names is no certificate") from None
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if not read.not_valid_before_utc <= now <= read.not_valid_after_utc:
        raise MessageUnproven("the certificate of the SNS message is not valid now")
    if not isinstance(key, RSAPublicKey):
        raise MessageUnproven("the certificate of the SNS message has no RSA key")
    return key
