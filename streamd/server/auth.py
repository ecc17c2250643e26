"""Who may come in: the access keys of a daemon, and the check of every request against them.

``AccessKeys.parse`` reads the key file's text (reading the file itself is storage's work); a file that is
wrong in any way is refused whole, with a sentence that names the key and the field but never a secret.
``Authenticator`` then ties each request to one key, or, when a daemon runs without keys, believes what the
request says about its region.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from streamd.core.session_keys import SessionKeys
from streamd.core.sigv4 import (
    KINESIS,
    SKEW_MS_MAX,
    AccessKeyId,
    Caller,
    SignedRequest,
    SigningKeyCache,
    claimed_scope,
    verify,
)
from streamd.errors import ConfigInvalid

__all__ = ["AccessKey", "AccessKeys", "Authenticator", "permission_warning"]

# An id stands in the Authorization header, where a slash, comma or blank would end it, and in logs.
_ID_PATTERN = re.compile(r"[A-Za-z0-9_.-]{4,128}")
_SECRET_PATTERN = re.compile(r"[!-~]{16,256}")
_NAME_CHARACTER_COUNT_MAX = 128
_FIELDS = frozenset({"id", "secret", "name"})
_ANONYMOUS = AccessKeyId("anonymous")
_OTHERS_MODE_BITS = 0o007


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A pair of id and secret that signs requests, and the name that people know it by."""

    id: AccessKeyId
    secret: str = field(repr=False)
    name: str | None = None


class AccessKeys:
    """The access keys of a daemon."""

    __slots__ = ("_key_by_id",)

    def __init__(self, key_by_id: Mapping[AccessKeyId, AccessKey]) -> None:
        self._key_by_id = dict(key_by_id)

    def __len__(self) -> int:
        return len(self._key_by_id)

    def __iter__(self) -> Iterator[AccessKey]:
        return iter(self._key_by_id.values())

    @classmethod
    def parse(cls, text: str) -> "AccessKeys":
        """Read keys from TOML: a ``[[key]]`` table for each, with id, secret and perhaps a name.

        Raises ConfigInvalid.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # Only the sentence: the error itself may carry the text, and so the secrets.
            raise ConfigInvalid(f"the access keys are not TOML: {error}") from None
        except (RecursionError, ValueError):
            # Python's reader falls over deep nesting and over numbers of thousands of digits.
            raise ConfigInvalid("the access keys are not TOML: something is nested too deep or too long") from None
        for name in document:
            if name != "key":
                raise ConfigInvalid(f"unknown entry {name!r} in the access keys: only [[key]] tables belong there")
        tables = document.get("key", [])
        if not isinstance(tables, list):
            raise ConfigInvalid("each access key is a [[key]] table, with two brackets on each side")
        if not tables:
            raise ConfigInvalid("there are no access keys: add a [[key]] table with an id and a secret")
        key_by_id: dict[AccessKeyId, AccessKey] = {}
        for number, table in enumerate(tables, start=1):
            key = _read_key(table, number)
            if key.id in key_by_id:
                raise ConfigInvalid(f"access key {number}: id {key.id!r} was given to a key before it")
            key_by_id[key.id] = key
        return cls(key_by_id)

    def secret_of(self, access_key_id: AccessKeyId) -> str | None:
        """Give the secret of a key, None if there is no such key."""
        key = self._key_by_id.get(access_key_id)
        return None if key is None else key.secret

    def name_of(self, access_key_id: AccessKeyId) -> str | None:
        """Give the name of a key, None if it has none."""
        key = self._key_by_id.get(access_key_id)
        return None if key is None else key.name


class Authenticator:
    """Ties requests to callers. Belongs to one event loop: its cache of signing keys has no lock."""

    __slots__ = ("_clock_ms", "_keys", "_region", "_sessions", "_signing_keys", "_skew_ms_max")

    def __init__(
        self,
        keys: AccessKeys | None,
        clock_ms: Callable[[], int],
        *,
        region: str,
        skew_ms_max: int = SKEW_MS_MAX,
        sessions: SessionKeys | None = None,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._clock_ms = clock_ms
        self._region = region
        self._skew_ms_max = skew_ms_max
        self._signing_keys = SigningKeyCache()

    def authenticate(self, request: SignedRequest, *, services: Collection[str] = KINESIS) -> Caller:
        """Tell who sent a request to one of these services.

        Without keys everyone is let in, signed or not, and the region is the one the request claims. Raises
        MissingAuthenticationToken, IncompleteSignature, InvalidSignature and UnrecognizedClient.
        """
        if self._keys is None:
            return self._caller_as_claimed(request, services)
        caller = self._verify(request, services)
        name = self._keys.name_of(caller.access_key_id)
        if name is None:
            return caller
        return Caller(caller.access_key_id, caller.region, caller.service, name)

    def admit(self, request: SignedRequest, *, services: Collection[str] = KINESIS) -> None:
        """Let a request in for which it does not matter who sent it. Raises what ``authenticate`` raises."""
        if self._keys is not None:
            self._verify(request, services)

    def _secret_of(self, access_key_id: AccessKeyId) -> str | None:
        secret = None if self._keys is None else self._keys.secret_of(access_key_id)
        return secret if secret is not None or self._sessions is None else self._sessions.secret_of(access_key_id)

    def _token_of(self, access_key_id: AccessKeyId) -> str | None:
        if self._sessions is None or (self._keys is not None and self._keys.secret_of(access_key_id) is not None):
            # A key of the file is one for good, whatever its id looks like.
            return None
        return self._sessions.token_of(access_key_id)

    def _verify(self, request: SignedRequest, services: Collection[str]) -> Caller:
        return verify(
            request,
            secret_of=self._secret_of,
            token_of=self._token_of,
            signing_keys=self._signing_keys,
            now_ms=self._clock_ms(),
            services=services,
            skew_ms_max=self._skew_ms_max,
        )

    def _caller_as_claimed(self, request: SignedRequest, services: Collection[str]) -> Caller:
        scope = claimed_scope(request.headers, request.query)
        if scope is None:
            return Caller(_ANONYMOUS, self._region, min(services))
        service = scope.service if scope.service in services else min(services)
        return Caller(scope.access_key_id, scope.region, service)


def permission_warning(path: str, *, mode: int) -> str | None:
    """Say what is wrong with the key file's permissions, None if nothing is.

    A warning and not a refusal: orchestrators mount secrets with modes of their own.
    """
    if mode & _OTHERS_MODE_BITS == 0:
        return None
    return (
        f"{path} holds secrets and every user of this machine can open it (mode {mode & 0o777:04o}): chmod 600 {path}"
    )


def _read_key(table: object, number: int) -> AccessKey:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"access key {number} is no [[key]] table")
    unknown = sorted(table.keys() - _FIELDS)
    if unknown:
        raise ConfigInvalid(
            f"access key {number}: unknown field {unknown[0]!r}; a key has an id, a secret and perhaps a name"
        )
    access_key_id = _read_text(table, "id", number)
    if not _ID_PATTERN.fullmatch(access_key_id):
        raise ConfigInvalid(
            f"access key {number}: the id must be 4 to 128 letters, digits, dots, hyphens or underscores"
        )
    secret = _read_text(table, "secret", number)
    if not _SECRET_PATTERN.fullmatch(secret):
        raise ConfigInvalid(
            f"access key {number}: the secret must be 16 to 256 visible ASCII characters without blanks"
        )
    name = _read_text(table, "name", number) if "name" in table else None
    if name is not None and not (0 < len(name) <= _NAME_CHARACTER_COUNT_MAX and name.isprintable()):
        raise ConfigInvalid(
            f"access key {number}: the name must be 1 to {_NAME_CHARACTER_COUNT_MAX} printable characters"
        )
    return AccessKey(AccessKeyId(access_key_id), secret, name)


def _read_text(table: Mapping[str, object], field_name: str, number: int) -> str:
    if field_name not in table:
        raise ConfigInvalid(f"access key {number}: the {field_name} is missing")
    value = table[field_name]
    if not isinstance(value, str):
        raise ConfigInvalid(f"access key {number}: the {field_name} must be a text in quotes")
    return value
