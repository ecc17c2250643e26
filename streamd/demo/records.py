"""Records: how a post travels through the stream, and how it is known again on the other side.

The replay numbers every post by its place in the input and adds a fingerprint of all it says. A consumer
makes the fingerprint again from what it received, so that one changed letter is seen, and the sum of all
fingerprints is compared with one made from the input alone. The data is JSON, so that anyone who tails the
stream can read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import xxhash

from streamd.demo.posts import Post

__all__ = ["FINGERPRINT_MODULUS", "SentPost", "decode_post", "encode_post", "fingerprint_of", "producer_of"]

# Sums of fingerprints stay within 64 bits.
FINGERPRINT_MODULUS: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class SentPost:
    """A post with its place in the input and the producer that sent it."""

    index: int
    producer: int
    post: Post


def producer_of(user: str, *, producer_count: int) -> int:
    """Choose who sends a user's posts: always the same producer, because one producer keeps its own order."""
    return xxhash.xxh3_64_intdigest(user.encode()) % producer_count


def fingerprint_of(index: int, post: Post) -> int:
    """Condense a post and its place in the input into 64 bits."""
    # The lengths keep apart what would read the same when joined.
    said = f"{index} {post.time_ms} {len(post.user)} {post.user}{post.text}"
    return xxhash.xxh3_64_intdigest(said.encode())


def encode_post(sent: SentPost) -> bytes:
    """Write the data of a record."""
    return orjson.dumps(
        {
            "index": sent.index,
            "producer": sent.producer,
            "user": sent.post.user,
            "time_ms": sent.post.time_ms,
            "text": sent.post.text,
            "fingerprint": fingerprint_of(sent.index, sent.post),
        }
    )


def decode_post(data: bytes) -> SentPost:
    """Read the data of a record. Raises ValueError if it is not what ``encode_post`` wrote."""
    document = orjson.loads(data)
    try:
        post = Post(document["user"], document["text"], document["time_ms"])
        sent = SentPost(document["index"], document["producer"], post)
        fingerprint = document["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a post of the demo: {error!r}") from error
    _require_types([post.user, post.text], str)
    _require_types([post.time_ms, sent.index, sent.producer], int)
    if sent.index < 0 or fingerprint_of(sent.index, post) != fingerprint:
        raise ValueError(f"the fingerprint of post {sent.index} does not match what it says")
    return sent


def _require_types(values: Sequence[object], kind: type) -> None:
    if not all(type(value) is kind for value in values):
        raise ValueError("a member of the post has another type")
