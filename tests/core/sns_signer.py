"""An SNS of the test's own: a key, a certificate of its own making, and messages that it signs."""

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.clocks import START_MS

__all__ = ["Signer", "signer"]

_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and its certificate, which is valid for a day around the manual clock's start."""

    key: RSAPrivateKey
    certificate: bytes

    def signed(self, document: dict[str, Any], *, version: str = "2") -> dict[str, Any]:
        """Give a message with its signature, written from AWS's description and not by our own code."""
        names = [name for name in _SIGNED[document["Type"]] if name in document]
        text = "".join(f"{name}\n{document[name]}\n" for name in names).encode()
        signature = self.key.sign(text, PKCS1v15(), SHA1() if version == "1" else SHA256())  # noqa: S303  # as SNS does
        return {**document, "SignatureVersion": version, "Signature": b64encode(signature).decode()}


@cache
def signer(number: int = 0) -> Signer:
    """Make the signer of a number, once: keys take a while."""
    assert number >= 0
    key = generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.fromtimestamp(START_MS / 1000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return Signer(key, certificate.public_bytes(Encoding.PEM))
