"""What can be wrong with a signature.

Four families, for the four answers that AWS gives to a request it cannot tie to a key:
``MissingAuthenticationToken``, ``IncompleteSignature``, ``InvalidSignature`` and ``UnrecognizedClient``.
Below them one class for each reason, its facts as attributes. ``str()`` is the sentence AWS answers with,
because the sentences are part of the signing protocol and every dialect answers with the same ones.

A sentence never holds a secret of ours. Where AWS hides the Authorization header behind a hash, so does this:
people put secrets there by mistake, and error sentences end in logs.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from streamd.errors import StreamdError

__all__ = [
    "AccessKeyUnknown",
    "AlgorithmUnsupported",
    "AuthenticationError",
    "AuthorizationMalformed",
    "CredentialMalformed",
    "DateMalformed",
    "ExpiryMalformed",
    "HeaderNotSigned",
    "HeaderPartsMissing",
    "IncompleteSignature",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "QueryPartsMissing",
    "ScopeMismatch",
    "SecurityTokenUnexpected",
    "SignatureDoubled",
    "SignatureExpired",
    "SignatureMismatch",
    "SignatureNotYetCurrent",
    "UnrecognizedClient",
]


class AuthenticationError(StreamdError):
    """Base: the request cannot be tied to an access key."""


class MissingAuthenticationToken(AuthenticationError):
    """The request carries no signature at all."""

    def __str__(self) -> str:
        return "Missing Authentication Token"


class IncompleteSignature(AuthenticationError):
    """The signature's parts are missing or cannot be read."""


class InvalidSignature(AuthenticationError):
    """The signature can be read but does not hold for this request, here and now."""


class UnrecognizedClient(AuthenticationError):
    """The signature names a key or a session that this server does not know."""


class AuthorizationMalformed(IncompleteSignature):
    """A piece of the Authorization header is no ``key=value`` pair."""

    def __init__(self, authorization: str) -> None:
        super().__init__(_hashed(authorization))
        self.authorization_hash = _hashed(authorization)

    def __str__(self) -> str:
        return (
            "Invalid key=value pair (missing equal-sign) in Authorization header "
            f"(hashed with SHA-256 and encoded with Base64): '{self.authorization_hash}'."
        )


class HeaderPartsMissing(IncompleteSignature):
    """The Authorization header lacks parameters, or the request lacks a date."""

    def __init__(self, authorization: str, *, parameter_names: Sequence[str], has_date: bool) -> None:
        super().__init__(_hashed(authorization), tuple(parameter_names), has_date)
        self.authorization_hash = _hashed(authorization)
        self.parameter_names = tuple(parameter_names)
        self.has_date = has_date

    def __str__(self) -> str:
        faults = [f"Authorization header requires '{name}' parameter." for name in self.parameter_names]
        if not self.has_date:
            faults.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        faults.append(f"(Hashed with SHA-256 and encoded with Base64) Authorization={self.authorization_hash}")
        return " ".join(faults)


class QueryPartsMissing(IncompleteSignature):
    """A presigned URL lacks parameters."""

    def __init__(self, parameter_names: Sequence[str]) -> None:
        super().__init__(tuple(parameter_names))
        self.parameter_names = tuple(parameter_names)

    def __str__(self) -> str:
        faults = [f"AWS query-string parameters must include '{name}'." for name in self.parameter_names]
        return " ".join([*faults, "Re-examine the query-string parameters."])


class DateMalformed(IncompleteSignature):
    """The request's date is not of the form 20131202T235959Z."""

    def __init__(self, date_text: str) -> None:
        super().__init__(_shown(date_text))
        self.date_text = _shown(date_text)

    def __str__(self) -> str:
        return (
            f"Date must be in ISO-8601 'basic format'. Got '{self.date_text}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601"
        )


class AlgorithmUnsupported(IncompleteSignature):
    """The signature uses another algorithm than AWS4-HMAC-SHA256."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(_shown(algorithm))
        self.algorithm = _shown(algorithm)

    def __str__(self) -> str:
        return f"Unsupported AWS 'algorithm': '{self.algorithm}' (only AWS4-HMAC-SHA256 for now). "


class CredentialMalformed(IncompleteSignature):
    """The credential is not keyid/date/region/service/terminator."""

    def __init__(self, credential: str) -> None:
        super().__init__(_shown(credential))
        self.credential = _shown(credential)

    def __str__(self) -> str:
        return (
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{self.credential}'"
        )


class ExpiryMalformed(IncompleteSignature):
    """A presigned URL's X-Amz-Expires is no number of seconds, or is out of bounds."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class SignatureDoubled(InvalidSignature):
    """The request is signed in its header and in its query: which one counts would be a guess."""

    def __str__(self) -> str:
        return "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."


class SignatureExpired(InvalidSignature):
    """The request was signed too long ago."""

    def __init__(self, *, signed_at: str, earliest: str, now: str, allowed: str) -> None:
        super().__init__(signed_at, earliest, now, allowed)
        self.signed_at = signed_at
        self.earliest = earliest
        self.now = now
        self.allowed = allowed

    def __str__(self) -> str:
        return f"Signature expired: {self.signed_at} is now earlier than {self.earliest} ({self.now} - {self.allowed})"


class SignatureNotYetCurrent(InvalidSignature):
    """The request was signed by a clock that runs ahead."""

    def __init__(self, *, signed_at: str, latest: str, now: str, allowed: str) -> None:
        super().__init__(signed_at, latest, now, allowed)
        self.signed_at = signed_at
        self.latest = latest
        self.now = now
        self.allowed = allowed

    def __str__(self) -> str:
        return (
            f"Signature not yet current: {self.signed_at} is still later than {self.latest} "
            f"({self.now} + {self.allowed})"
        )


class HeaderNotSigned(InvalidSignature):
    """A header that decides what the request does is outside the signature."""

    def __init__(self, header_names: str) -> None:
        super().__init__(header_names)
        self.header_names = header_names

    def __str__(self) -> str:
        return f"{self.header_names} must be a 'SignedHeader' in the AWS Authorization."


class ScopeMismatch(InvalidSignature):
    """The credential's scope is for another region, service or day."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(tuple(_shown(sentence) for sentence in sentences))
        self.sentences = tuple(_shown(sentence) for sentence in sentences)

    def __str__(self) -> str:
        return "".join(self.sentences)


class SignatureMismatch(InvalidSignature):
    """The signature is not the one that this key gives for this request."""

    def __str__(self) -> str:
        return (
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        )


class AccessKeyUnknown(UnrecognizedClient):
    """No access key of that id exists here."""

    def __init__(self, access_key_id: str) -> None:
        super().__init__(_shown(access_key_id))
        self.access_key_id = _shown(access_key_id)

    def __str__(self) -> str:
        return "The security token included in the request is invalid."


class SecurityTokenUnexpected(UnrecognizedClient):
    """The request carries a session token, and keys here are long-lived ones without sessions."""

    def __str__(self) -> str:
        return "The security token included in the request is invalid"


def _hashed(text: str) -> str:
    return b64encode(sha256(text.encode("utf-8", "surrogatepass")).digest()).decode("ascii")


def _shown(text: str) -> str:
    """Make text from the wire fit for any codec: a lone surrogate would break the JSON of the answer."""
    return text.encode("utf-8", "replace").decode("utf-8")
