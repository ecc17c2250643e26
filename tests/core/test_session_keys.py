"""Access keys of functions: every worker can tell them, nobody else can make one."""

import pytest

from streamd.core.session_keys import SessionKeys
from streamd.core.sigv4 import AccessKeyId, Credentials, SignedRequest, SigningKeyCache, sign, verify
from streamd.errors_auth import SecurityTokenUnexpected, SignatureMismatch

NOW_MS = 1_795_404_000_000
KEYS = SessionKeys(b"s" * 32)


def request_of(credentials: Credentials) -> SignedRequest:
    bare = SignedRequest("POST", "/", "", {"host": "127.0.0.1:4567"}, b"{}")
    headers = sign(bare, credentials, region="us-east-1", service="kinesis", now_ms=NOW_MS)
    return bare._replace(headers={**bare.headers, **headers})


def verify_by(keys: SessionKeys, request: SignedRequest, cache: SigningKeyCache | None = None) -> str:
    caller = verify(
        request,
        secret_of=keys.secret_of,
        token_of=keys.token_of,
        signing_keys=cache or SigningKeyCache(),
        now_ms=NOW_MS,
    )
    return caller.access_key_id


def test_what_is_signed_with_a_minted_key_is_let_in_by_another_worker() -> None:
    minted = KEYS.mint("arn:aws:iam::000000000000:role/r", "f")

    assert verify_by(SessionKeys(b"s" * 32), request_of(minted)) == minted.access_key_id


def test_each_function_and_role_has_a_key_of_its_own() -> None:
    minted = {KEYS.mint(role, function).access_key_id for role in ("r", "s") for function in ("f", "g")}

    assert len(minted) == 4


def test_a_minted_key_without_its_token_is_refused_every_time() -> None:
    minted = KEYS.mint("r", "f")
    bare = request_of(Credentials(minted.access_key_id, minted.secret))
    cache = SigningKeyCache()

    for _ in range(2):
        with pytest.raises(SecurityTokenUnexpected):
            verify_by(KEYS, bare, cache)


def test_the_key_of_another_server_is_refused() -> None:
    minted = SessionKeys(b"t" * 32).mint("r", "f")

    with pytest.raises(SignatureMismatch):
        verify_by(KEYS, request_of(minted))


def test_an_id_of_another_form_has_no_secret() -> None:
    assert KEYS.secret_of(AccessKeyId("AKIAEXAMPLEEXAMPLE12")) is None
    assert KEYS.secret_of(AccessKeyId("ASIA")) is None
