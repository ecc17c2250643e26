"""What a request says about its own signature, not yet verified.

A signature comes in the Authorization header or, presigned, in the query. Both are read into the same
``Claims``; what is missing or unreadable is refused here, what it is worth is decided in ``core.sigv4``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType
from urllib.parse import unquote

from streamd.core.sigv4_canonical import canonical_query, query_pairs
from streamd.errors_auth import (
    AuthorizationMalformed,
    CredentialMalformed,
    HeaderPartsMissing,
    MissingAuthenticationToken,
    QueryPartsMissing,
    SignatureDoubled,
)

__all__ = ["AccessKeyId", "Caller", "Claims", "Scope", "claimed_scope", "is_region_name", "read_claims", "read_scope"]

AccessKeyId = NewType("AccessKeyId", str)

_HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
# In the order in which AWS lists the missing ones.
_QUERY_PARTS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
_CREDENTIAL_PART_COUNT = 5
_REGION_CHARACTER_COUNT_MAX = 63


@dataclass(frozen=True, slots=True)
class Claims:
    """The parts of a signature as the request gives them; ``query`` is canonical, without the signature."""

    algorithm: str
    credential: str
    signature: str
    signed_headers: str
    date_text: str
    security_token: str
    query: str
    is_presigned: bool
    expires_text: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """A credential taken apart: whose key, and for which day, region and service it was derived."""

    access_key_id: AccessKeyId
    date: str
    region: str
    service: str
    terminator: str

    @property
    def text(self) -> str:
        """Write the scope as the string to sign holds it: without the key's id."""
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the key, its name if it has one, and the region and service they meant."""

    access_key_id: AccessKeyId
    region: str
    service: str
    name: str | None = None


def read_claims(headers: Mapping[str, str], query: str) -> Claims:
    """Read the signature's parts from the header or the query.

    Raises MissingAuthenticationToken, SignatureDoubled, AuthorizationMalformed, HeaderPartsMissing and
    QueryPartsMissing.
    """
    authorization = headers.get("authorization", "")
    pairs = query_pairs(query)
    value_by_name = {name: value for name, value in reversed(pairs) if name.startswith("X-Amz-")}
    if "X-Amz-Algorithm" in value_by_name:
        if authorization:
            raise SignatureDoubled
        return _claims_in_query(value_by_name, pairs)
    if not authorization:
        raise MissingAuthenticationToken
    return _claims_in_header(headers, authorization, canonical_query(pairs))


def read_scope(credential: str) -> Scope:
    """Take a credential apart. Raises CredentialMalformed."""
    # AWS does not count slashes at the end.
    parts = credential.rstrip("/").split("/")
    if len(parts) != _CREDENTIAL_PART_COUNT:
        raise CredentialMalformed(credential)
    return Scope(AccessKeyId(parts[0]), parts[1], parts[2], parts[3], parts[4])


def claimed_scope(headers: Mapping[str, str], query: str) -> Scope | None:
    """Tell which key, region and service a request claims; None if it claims none that could be real."""
    authorization = headers.get("authorization")
    if authorization is not None:
        credential = authorization.partition("Credential=")[2]
        credential = credential.partition(",")[0].partition(" ")[0]
    elif "X-Amz-Credential=" in query:
        credential = unquote(query.partition("X-Amz-Credential=")[2].partition("&")[0])
    else:
        return None
    parts = credential.split("/")
    if len(parts) != _CREDENTIAL_PART_COUNT:
        return None
    if not (parts[0] and parts[3] and is_region_name(parts[2])):
        return None
    return Scope(AccessKeyId(parts[0]), parts[1], parts[2], parts[3], parts[4])


def is_region_name(text: str) -> bool:
    """Tell whether a text may stand in an ARN as its region."""
    return (
        len(text) <= _REGION_CHARACTER_COUNT_MAX and text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    )


def _claims_in_header(headers: Mapping[str, str], authorization: str, query: str) -> Claims:
    algorithm, _, rest = authorization.strip().partition(" ")
    value_by_name: dict[str, str] = {}
    for piece in rest.replace(",", " ").split():
        name, equal_sign, value = piece.partition("=")
        if not equal_sign:
            raise AuthorizationMalformed(authorization)
        value_by_name[name] = value
    date_text = headers.get("x-amz-date") or headers.get("date", "")
    missing = [name for name in _HEADER_PARTS if not value_by_name.get(name)]
    if missing or not date_text:
        raise HeaderPartsMissing(authorization, parameter_names=missing, has_date=bool(date_text))
    return Claims(
        algorithm=algorithm,
        credential=value_by_name["Credential"],
        signature=value_by_name["Signature"],
        signed_headers=value_by_name["SignedHeaders"],
        date_text=date_text.strip(),
        security_token=headers.get("x-amz-security-token", ""),
        query=query,
        is_presigned=False,
        expires_text=None,
    )


def _claims_in_query(encoded_by_name: Mapping[str, str], pairs: list[tuple[str, str]]) -> Claims:
    missing = [name for name in _QUERY_PARTS if not encoded_by_name.get(name)]
    if missing:
        raise QueryPartsMissing(missing)
    text_by_name = {name: unquote(value, errors="surrogateescape") for name, value in encoded_by_name.items()}
    return Claims(
        algorithm=text_by_name["X-Amz-Algorithm"],
        credential=text_by_name["X-Amz-Credential"],
        signature=text_by_name["X-Amz-Signature"],
        signed_headers=text_by_name["X-Amz-SignedHeaders"],
        date_text=text_by_name["X-Amz-Date"],
        security_token=text_by_name.get("X-Amz-Security-Token", ""),
        query=canonical_query([pair for pair in pairs if pair[0] != "X-Amz-Signature"]),
        is_presigned=True,
        expires_text=text_by_name.get("X-Amz-Expires"),
    )
