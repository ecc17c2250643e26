"""Access keys and the check of requests against them."""

import pytest

from streamd.core.sigv4 import AccessKeyId, Caller, Credentials, SignedRequest, sign
from streamd.errors import ConfigInvalid
from streamd.errors_auth import AccessKeyUnknown, MissingAuthenticationToken, SignatureExpired
from streamd.server.auth import AccessKeys, Authenticator, permission_warning

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW_MS = 1_421_888_902_000
KEYS = f"""
[[key]]
id = "AKIDPRODUCER"
secret = "{SECRET}"
name = "producer-1"

[[key]]
id = "AKIDOTHER"
secret = "another-secret-of-some-length"
"""
REQUEST = SignedRequest("POST", "/", "", {"host": "localhost:4567"}, b"{}")


def signed(key_id: str = "AKIDPRODUCER", secret: str = SECRET, *, service: str = "kinesis") -> SignedRequest:
    added = sign(REQUEST, Credentials(key_id, secret), region="eu-west-1", service=service, now_ms=NOW_MS)
    return SignedRequest("POST", "/", "", {**REQUEST.headers, **added}, b"{}")


def refusal_of(text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        AccessKeys.parse(text)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_key_file_is_read() -> None:
    keys = AccessKeys.parse(KEYS)

    assert [(key.id, key.name) for key in keys] == [("AKIDPRODUCER", "producer-1"), ("AKIDOTHER", None)]
    assert len(keys) == 2
    assert keys.secret_of(AccessKeyId("AKIDPRODUCER")) == SECRET
    assert keys.secret_of(AccessKeyId("AKIDNOBODY")) is None


def test_a_callers_key_gives_the_name() -> None:
    authenticator = Authenticator(AccessKeys.parse(KEYS), lambda: NOW_MS, region="us-east-1")

    named = authenticator.authenticate(signed())
    nameless = authenticator.authenticate(signed("AKIDOTHER", "another-secret-of-some-length"))

    assert named == Caller(AccessKeyId("AKIDPRODUCER"), "eu-west-1", "kinesis", "producer-1")
    assert nameless == Caller(AccessKeyId("AKIDOTHER"), "eu-west-1", "kinesis", None)


def test_a_stranger_is_refused() -> None:
    authenticator = Authenticator(AccessKeys.parse(KEYS), lambda: NOW_MS, region="us-east-1")

    with pytest.raises(AccessKeyUnknown):
        authenticator.authenticate(signed("AKIDNOBODY"))
    with pytest.raises(MissingAuthenticationToken):
        authenticator.authenticate(REQUEST)


def test_the_clock_is_asked_for_each_request() -> None:
    times_ms = iter([NOW_MS, NOW_MS + 301_000])
    authenticator = Authenticator(AccessKeys.parse(KEYS), lambda: next(times_ms), region="us-east-1")
    authenticator.authenticate(signed())

    with pytest.raises(SignatureExpired):
        authenticator.authenticate(signed())


def test_without_keys_any_signature_is_believed() -> None:
    authenticator = Authenticator(None, lambda: NOW_MS, region="us-east-1")

    caller = authenticator.authenticate(signed("test", "test"))

    assert caller == Caller(AccessKeyId("test"), "eu-west-1", "kinesis")


def test_without_keys_an_unsigned_request_has_the_daemons_region() -> None:
    authenticator = Authenticator(None, lambda: NOW_MS, region="us-east-1")

    caller = authenticator.authenticate(REQUEST)

    assert caller == Caller(AccessKeyId("anonymous"), "us-east-1", "kinesis")


def test_without_keys_a_claimed_service_that_is_not_served_is_not_believed() -> None:
    authenticator = Authenticator(None, lambda: NOW_MS, region="us-east-1")

    caller = authenticator.authenticate(signed(service="dynamodb"))

    assert caller.service == "kinesis"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there are no access keys: add a [[key]] table with an id and a secret"),
        ("key = []", "there are no access keys: add a [[key]] table with an id and a secret"),
        ("key = [1]", "access key 1 is no [[key]] table"),
        ('[key]\nid = "abcd"', "each access key is a [[key]] table, with two brackets on each side"),
        ("keys = 1", "unknown entry 'keys' in the access keys: only [[key]] tables belong there"),
        ('[[key]]\nid = "abcd"', "access key 1: the secret is missing"),
        ('[[key]]\nsecret = "0123456789abcdef"', "access key 1: the id is missing"),
        ("[[key]]\nid = 1234", "access key 1: the id must be a text in quotes"),
        (
            '[[key]]\nid = "ab/d"\nsecret = "0123456789abcdef"',
            "access key 1: the id must be 4 to 128 letters, digits, dots, hyphens or underscores",
        ),
        (
            '[[key]]\nid = "abcd"\nsecret = "0123456789abcde"',
            "access key 1: the secret must be 16 to 256 visible ASCII characters without blanks",
        ),
        (
            '[[key]]\nid = "abcd"\nsecret = "0123456789abcdef"\nname = ""',
            "access key 1: the name must be 1 to 128 printable characters",
        ),
        (
            '[[key]]\nid = "abcd"\nsecret = "0123456789abcdef"\nrole = "admin"',
            "access key 1: unknown field 'role'; a key has an id, a secret and perhaps a name",
        ),
        (KEYS + KEYS, "access key 3: id 'AKIDPRODUCER' was given to a key before it"),
    ],
)
def test_a_wrong_key_file_is_refused_with_the_reason(text: str, sentence: str) -> None:
    assert refusal_of(text) == sentence


def test_a_key_file_that_is_no_toml_is_refused_without_showing_it() -> None:
    sentence = refusal_of(f'[[key]]\nid = "abcd"\nsecret = "{SECRET}')

    assert sentence.startswith("the access keys are not TOML: ")
    assert SECRET not in sentence


@pytest.mark.parametrize("value", ["[" * 5_000, "{a=" * 5_000, "9" * 5_000])
def test_a_key_file_that_no_reader_can_hold_is_refused_too(value: str) -> None:
    assert refusal_of(f"key = {value}").startswith("the access keys are not TOML: ")


def test_secrets_are_in_no_representation() -> None:
    keys = AccessKeys.parse(KEYS)
    authenticator = Authenticator(keys, lambda: NOW_MS, region="us-east-1")

    shown = repr(keys) + str(keys) + repr(list(keys)) + repr(authenticator)

    assert SECRET not in shown


def test_a_key_file_that_others_can_open_is_warned_of() -> None:
    warning = permission_warning("keys.toml", mode=0o100644)

    assert warning == (
        "keys.toml holds secrets and every user of this machine can open it (mode 0644): chmod 600 keys.toml"
    )
    assert permission_warning("keys.toml", mode=0o100640) is None
    assert permission_warning("keys.toml", mode=0o100600) is None
