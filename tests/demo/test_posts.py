"""Posts read from lines, and posts made from a seed."""

from collections import Counter
from io import FileIO
from itertools import islice, pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.demo.failures import InputChanged, PostInvalid
from streamd.demo.generator import generate_posts
from streamd.demo.inputs import file_input, generated_input
from streamd.demo.mentions import MentionFinder
from streamd.demo.phrases import DEFAULT_NAMES
from streamd.demo.posts import LINE_BYTE_COUNT_MAX, Post, parse_post, read_posts
from streamd.demo.records import SentPost, decode_post, encode_post

__all__: list[str] = []

_POSTS = st.builds(
    Post,
    user=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    time_ms=st.integers(-62_135_596_800_000, 253_402_300_799_000),
)


def _line(**members: object) -> bytes:
    return orjson.dumps({"user": "mira", "text": "hello", "time": 1} | members)


@pytest.mark.parametrize(
    ("time", "time_ms"),
    [
        ("2009-12-23T17:38:18Z", 1_261_589_898_000),
        ("2009-12-23T19:38:18+02:00", 1_261_589_898_000),
        ("2009-12-23 17:38:18", 1_261_589_898_000),
        (1_261_589_898, 1_261_589_898_000),
        (1_261_589_898.25, 1_261_589_898_250),
        (0, 0),
    ],
)
def test_a_time_is_iso_8601_or_seconds(time: object, time_ms: int) -> None:
    post = parse_post(_line(time=time))

    assert post == Post("mira", "hello", time_ms)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        (_line(user=""), "user must have 1 to 256 characters"),
        (_line(user="u" * 257), "user must have 1 to 256 characters"),
        (_line(user=7), "user must be a string"),
        (_line(text=None), "text must be a string"),
        (b'{"user": "mira", "time": 1}', "text is missing"),
        (b'{"user": "mira", "text": ""}', "time is missing"),
        (_line(time="yesterday"), "not ISO 8601"),
        (_line(time=True), "must be ISO 8601 or seconds"),
        (_line(time=None), "must be ISO 8601 or seconds"),
        (_line(time=1_261_589_898_000), "not milliseconds"),
        (b'{"user": "m", "text": "", "time": 1e999}', "not JSON"),
        (b" " * (LINE_BYTE_COUNT_MAX + 1), "longer than"),
    ],
)
def test_a_line_that_is_no_post_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_post(line)


def test_a_bad_line_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    path.write_bytes(b"\n".join([_line(), b"", _line(), b"{}"]))

    with pytest.raises(PostInvalid) as refused, FileIO(path) as file:
        list(read_posts(file, source="posts.ndjson"))

    assert str(refused.value) == "posts.ndjson, line 4: user is missing"


def test_a_line_without_end_is_refused_before_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    path.write_bytes(_line() + b"\n" + b"[" * (3 * LINE_BYTE_COUNT_MAX))

    with pytest.raises(PostInvalid) as refused, FileIO(path) as file:
        list(read_posts(file, source="it"))

    assert refused.value.line == 2


def test_lines_are_read_whole_across_the_pieces_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    texts = [f"{number} " + "é" * (number * 37 % 5_000) for number in range(300)]
    path.write_bytes(b"\r\n".join(_line(text=text) for text in texts))

    posts = [post for piece in file_input(path, post_count_max=None).read() for post in piece]

    assert [post.text for post in posts] == texts


def test_only_as_many_posts_are_read_as_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    path.write_bytes(b"\n".join([_line(text="1"), _line(text="2"), _line(text="3")]))

    posts = [post for piece in file_input(path, post_count_max=2).read() for post in piece]

    assert [post.text for post in posts] == ["1", "2"]


def test_a_file_that_changes_between_its_two_readings_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    path.write_bytes(_line() + b"\n")
    posts = file_input(path, post_count_max=None)
    list(posts.read())
    path.write_bytes(_line() + b"\n" + _line() + b"\n")

    with pytest.raises(InputChanged):
        list(posts.read())


@given(post=_POSTS, index=st.integers(0, 2**62), producer=st.integers(0, 63))
def test_a_post_comes_out_of_a_record_as_it_went_in(post: Post, index: int, producer: int) -> None:
    sent = SentPost(index, producer, post)

    received = decode_post(encode_post(sent))

    assert received == sent


@given(post=_POSTS, place=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_changed_byte_in_a_record_never_gives_another_post(post: Post, place: int, value: int) -> None:
    sent = SentPost(7, 1, post)
    data = bytearray(encode_post(sent))
    data[place % len(data)] = value

    try:
        received = decode_post(bytes(data))
    except ValueError:
        return

    # Who sent it is not part of what it says; and a changed escape can spell the same letter.
    assert (received.index, received.post) == (sent.index, sent.post)


def test_a_seed_makes_the_same_posts_every_time() -> None:
    first = list(islice(generate_posts(7, DEFAULT_NAMES), 5))
    second = list(islice(generate_posts(7, DEFAULT_NAMES), 5))
    other = list(islice(generate_posts(8, DEFAULT_NAMES), 5))

    assert first == second
    assert first != other


def test_generated_posts_come_in_order_from_few_busy_users_with_bursts_of_mentions() -> None:
    posts = [post for piece in generated_input(1, DEFAULT_NAMES, post_count=60_000).read() for post in piece]
    finder = MentionFinder(DEFAULT_NAMES)

    by_user = Counter(post.user for post in posts)
    by_minute = Counter((name, post.time_ms // 60_000) for post in posts for name in finder.find(post.text))

    assert len(posts) == 60_000
    assert all(before.time_ms <= after.time_ms for before, after in pairwise(posts))
    assert by_user.most_common(1)[0][1] > 60_000 / 20
    assert len(by_user) > 5_000
    assert {name for name, _ in by_minute} == set(DEFAULT_NAMES)
    assert max(by_minute.values()) > 10 * sorted(by_minute.values())[len(by_minute) // 2]
