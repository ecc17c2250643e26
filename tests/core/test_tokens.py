"""Tokens: shard iterators and page tokens under a secret."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tokens import PageToken, ShardIterator, TokenMint
from streamd.errors import IteratorExpired, TokenExpired, TokenInvalid

MINT = TokenMint(b"the store's secret")
TIMES_MS = st.integers(0, 1 << 50)
NAMES = st.text(st.characters(categories=(), include_characters="abcXYZ019_.-"), min_size=1, max_size=128)
ITERATORS = st.builds(
    ShardIterator,
    stream_name=NAMES,
    stream_number=st.integers(0, (1 << 64) - 1),
    shard_index=st.integers(0, (1 << 32) - 1),
    after=st.integers(0, (1 << 63) - 1),
    created_ms=TIMES_MS,
)
PLACE = ShardIterator(stream_name="s", stream_number=7, shard_index=3, after=42, created_ms=1000)
PAGE = PageToken(scope="ListShards/7", after="shardId-000000000003", created_ms=1000)


@given(ITERATORS)
def test_an_iterator_is_read_back_as_it_was_made(place: ShardIterator) -> None:
    token = MINT.iterator(place)

    assert MINT.read_iterator(token, now_ms=place.created_ms) == place
    assert 1 <= len(token) <= 512


@given(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    st.text(st.characters(codec="utf-8"), max_size=2000),
    TIMES_MS,
)
def test_a_page_token_is_read_back_as_it_was_made(scope: str, after: str, created_ms: int) -> None:
    place = PageToken(scope=scope, after=after, created_ms=created_ms)

    read = MINT.read_page(MINT.page(place), scope=scope, now_ms=created_ms)

    assert read == place


def test_an_iterator_lives_for_exactly_five_minutes() -> None:
    token = MINT.iterator(PLACE)

    assert MINT.read_iterator(token, now_ms=1000 + 300_000) == PLACE
    with pytest.raises(IteratorExpired) as caught:
        MINT.read_iterator(token, now_ms=1000 + 300_001)
    assert (caught.value.created_ms, caught.value.now_ms) == (1000, 301_001)


def test_a_page_token_lives_for_exactly_five_minutes() -> None:
    token = MINT.page(PAGE)

    assert MINT.read_page(token, scope="ListShards/7", now_ms=301_000) == PAGE
    with pytest.raises(TokenExpired):
        MINT.read_page(token, scope="ListShards/7", now_ms=301_001)


@given(st.data())
def test_a_token_with_any_bit_turned_is_refused(data: st.DataObject) -> None:
    raw = bytearray(b64decode(data.draw(st.sampled_from([MINT.iterator(PLACE), MINT.page(PAGE)]))))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8

    altered = b64encode(raw).decode()

    with pytest.raises(TokenInvalid):
        MINT.read_iterator(altered, now_ms=1000)
    with pytest.raises(TokenInvalid):
        MINT.read_page(altered, scope="ListShards/7", now_ms=1000)


@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda raw: b64encode(raw).decode()))
def test_what_was_not_made_here_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        MINT.read_iterator(text, now_ms=0)
    with pytest.raises(TokenInvalid):
        MINT.read_page(text, scope="", now_ms=0)


def test_a_token_of_another_secret_is_refused() -> None:
    token = TokenMint(b"another secret").iterator(PLACE)

    with pytest.raises(TokenInvalid):
        MINT.read_iterator(token, now_ms=1000)


def test_an_altered_token_is_invalid_even_when_it_is_old() -> None:
    token = MINT.iterator(PLACE)
    altered = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]

    with pytest.raises(TokenInvalid):
        MINT.read_iterator(altered, now_ms=10**12)


def test_one_kind_of_token_is_not_taken_for_the_other() -> None:
    with pytest.raises(TokenInvalid):
        MINT.read_iterator(MINT.page(PAGE), now_ms=1000)
    with pytest.raises(TokenInvalid):
        MINT.read_page(MINT.iterator(PLACE), scope="", now_ms=1000)


def test_a_page_token_of_another_listing_is_refused() -> None:
    token = MINT.page(PAGE)

    with pytest.raises(TokenInvalid):
        MINT.read_page(token, scope="ListStreams", now_ms=1000)
    assert MINT.read_page(token, scope="ListShards/", now_ms=1000) == PAGE
