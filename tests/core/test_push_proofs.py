"""How senders show that they may push: to the letter, to the byte, to the address."""

import hashlib
import hmac
from base64 import b64encode
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.push_proofs import HmacEncoding, HmacProof, Proofs, TokenProof

TOKEN = Proofs(secret=TokenProof("Bearer opensesame"))
BODY = b'{"n":1}'
DIGEST = hmac.new(b"key", BODY, hashlib.sha256).digest()
HEX = Proofs(secret=HmacProof(header="x-signature", secret="key", prefix="sha256="))
BASE64 = Proofs(secret=HmacProof(header="x-signature", secret="key", encoding=HmacEncoding.BASE64))


def changed(data: bytes, place: int) -> bytes:
    """Give bytes with one bit of one of them flipped."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_token_is_the_whole_header() -> None:
    assert TOKEN.hold({"authorization": "Bearer opensesame"}, b"", peer="")


@pytest.mark.parametrize(
    "given_token",
    ["", "opensesame", "bearer opensesame", "Bearer  opensesame", "Bearer opensesame ", "Bearer opensesam"],
)
def test_a_token_that_is_anything_else_is_refused(given_token: str) -> None:
    assert not TOKEN.hold({"authorization": given_token}, b"", peer="")
    assert not TOKEN.hold({}, b"", peer="")


@given(place=st.integers(0, 16))
def test_a_token_with_one_byte_wrong_is_refused(place: int) -> None:
    wrong = changed(b"Bearer opensesame", place).decode("latin-1")

    assert not TOKEN.hold({"authorization": wrong}, b"", peer="")


def test_a_signature_of_the_body_is_taken_in_either_way_of_writing_it() -> None:
    assert HEX.hold({"x-signature": f"sha256={DIGEST.hex()}"}, BODY, peer="")
    assert BASE64.hold({"x-signature": b64encode(DIGEST).decode()}, BODY, peer="")


@given(place=st.integers(0, 1000))
def test_a_signature_or_a_body_with_one_byte_wrong_is_refused(place: int) -> None:
    right = f"sha256={DIGEST.hex()}"

    assert not HEX.hold({"x-signature": right}, changed(BODY, place), peer="")
    assert not HEX.hold({"x-signature": changed(right.encode(), place).decode()}, BODY, peer="")


@pytest.mark.parametrize("value", ["", "sha256=", DIGEST.hex(), f"sha1={DIGEST.hex()}", "sha256=\udcff"])
def test_a_signature_without_its_prefix_is_refused(value: str) -> None:
    assert not HEX.hold({"x-signature": value}, BODY, peer="")
    assert not HEX.hold({}, BODY, peer="")


@pytest.mark.parametrize(
    ("peer", "is_let"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::7", True),
        ("11.1.2.3", False),
        ("::1", False),
        ("", False),
        ("10.1.2.3, 11.0.0.1", False),
    ],
)
def test_only_listed_addresses_are_let_in(peer: str, *, is_let: bool) -> None:
    listed = Proofs(networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

    assert listed.hold({}, b"", peer=peer) is is_let


def test_a_list_of_addresses_is_asked_for_beside_the_token() -> None:
    both = Proofs(secret=TokenProof("t"), networks=(ip_network("10.0.0.1"),))

    assert both.hold({"authorization": "t"}, b"", peer="10.0.0.1")
    assert not both.hold({"authorization": "t"}, b"", peer="10.0.0.2")
    assert not both.hold({}, b"", peer="10.0.0.1")


def test_no_secret_is_shown() -> None:
    assert "opensesame" not in repr(TOKEN)
    assert "'key'" not in repr(HEX)
