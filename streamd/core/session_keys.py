"""Access keys for functions: made from the server's own secret, so that every worker knows them and nobody keeps them.

A key's id follows from the role and the function it was made for; its secret and its session token follow from the id.
An id that somebody made up has a secret too, which only the server could tell them. A key lives as long as the server's
secret: code that was given one keeps what it may do, as it kept it while it ran.
"""

import hmac
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256

from streamd.core.sigv4 import AccessKeyId, Credentials

__all__ = ["SessionKeys"]

_PREFIX = "ASIA"
_ID_LENGTH = 20


class SessionKeys:
    """The keys of one server's functions."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mint(self, role: str, function: str) -> Credentials:
        """Give the key of a function that runs in a role."""
        access_key_id = _PREFIX + b32encode(self._mac("id", f"{role}\n{function}")[:10]).decode()
        secret, token = self.secret_of(AccessKeyId(access_key_id)), self.token_of(AccessKeyId(access_key_id))
        assert secret is not None
        return Credentials(access_key_id, secret, token)

    def secret_of(self, access_key_id: AccessKeyId) -> str | None:
        """Give the secret of a key, None if it cannot be one of a function's."""
        return self._told("secret", access_key_id)

    def token_of(self, access_key_id: AccessKeyId) -> str | None:
        """Give the session token that a key must come with, None if it cannot be one of a function's."""
        return self._told("token", access_key_id)

    def _told(self, what: str, access_key_id: AccessKeyId) -> str | None:
        if not access_key_id.startswith(_PREFIX) or len(access_key_id) != _ID_LENGTH:
            return None
        return urlsafe_b64encode(self._mac(what, access_key_id)).decode().rstrip("=")

    def _mac(self, what: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"function key {what} {text}".encode(), sha256)
