"""Generated posts: an endless day of small talk, the same for the same seed, in the order it was said.

Few users say most of it, as everywhere. Each name asked for is mentioned now and then in all its spellings,
and for some minutes by everybody (a burst: what a consumer of mentions is built for); near misses are mixed
in, which must not be counted. Nothing is kept but the current minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from streamd.demo.phrases import (
    FAMILY_NAMES,
    GIVEN_NAMES,
    LEADS,
    NEAR_MISS_ENDINGS,
    SENTENCES,
    TAILS,
    TOPICS,
    URL_MARK,
)
from streamd.demo.posts import Post

__all__ = ["generate_posts", "near_misses_of", "spellings_of"]

USER_COUNT: Final = 20_000
# Zipf's law: the user of rank r speaks in proportion to 1 / r ** exponent.
ZIPF_EXPONENT: Final = 1.05
# A Monday morning, in milliseconds since 1970: 2026-03-02T08:00:00Z.
START_MS: Final = 1_772_438_400_000

_POSTS_PER_MINUTE: Final = 1_500
_MINUTE_MS: Final = 60_000
_MENTION_SHARE: Final = 0.06
_NEAR_MISS_SHARE: Final = 0.03
_BURST_CHANCE_PER_MINUTE: Final = 0.08
_BURST_SHARE_MAX: Final = 0.45
_BURST_DECAY: Final = 0.65
_BURST_SHARE_MIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Burst:
    """For some minutes, a share of all posts that is about one name."""

    name: str
    share: float


def generate_posts(seed: int, names: Sequence[str]) -> Iterator[Sequence[Post]]:
    """Make posts without end that mention the names, a minute of them at a time."""
    # Chance here must be repeatable, not secret: the direct count makes the same posts again from the seed.
    chance = Random(seed)  # noqa: S311
    users = [_user_of(rank, chance) for rank in range(USER_COUNT)]
    user_weights = list(accumulate(1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(USER_COUNT)))
    minute_ms = START_MS
    burst: _Burst | None = None
    while True:
        burst = _next_burst(burst, names, chance)
        post_count = int(chance.uniform(0.7, 1.3) * _POSTS_PER_MINUTE * (1 + (burst.share if burst else 0)))
        speakers = chance.choices(users, cum_weights=user_weights, k=post_count)
        spoken_to = chance.choices(users, cum_weights=user_weights, k=post_count)
        moments_ms = sorted(chance.choices(range(minute_ms, minute_ms + _MINUTE_MS), k=post_count))
        texts = _texts(post_count, names, burst, chance)
        yield [
            Post(user, lead % other + text if lead else text, time_ms)
            for user, other, lead, text, time_ms in zip(
                speakers, spoken_to, chance.choices(LEADS, k=post_count), texts, moments_ms, strict=True
            )
        ]
        minute_ms += _MINUTE_MS


def spellings_of(name: str) -> list[str]:
    """List the ways people write a name, each a mention of it."""
    joined = "".join(word[:1].upper() + word[1:] for word in name.split())
    return [
        name,
        name,
        name.lower(),
        name.upper(),
        f"{name}'s",
        f"@{joined}",
        f"#{joined}",
        f"#{joined.lower()}",
    ]


def near_misses_of(name: str) -> list[str]:
    """List words that begin like a name and are others."""
    joined = name.replace(" ", "")
    return [name + ending for ending in NEAR_MISS_ENDINGS] + [f"#un{joined}", f"@the{joined}_"]


def _user_of(rank: int, chance: Random) -> str:
    # The rank makes it unique: two users of one name would be one partition key.
    return f"{chance.choice(GIVEN_NAMES)}_{chance.choice(FAMILY_NAMES)}{rank}"


def _next_burst(burst: _Burst | None, names: Sequence[str], chance: Random) -> _Burst | None:
    """Let a burst fade, end, or begin."""
    if burst is not None:
        share = burst.share * _BURST_DECAY
        return _Burst(burst.name, share) if share >= _BURST_SHARE_MIN else None
    if names and chance.random() < _BURST_CHANCE_PER_MINUTE:
        return _Burst(chance.choice(names), chance.uniform(0.5, 1) * _BURST_SHARE_MAX)
    return None


def _texts(post_count: int, names: Sequence[str], burst: _Burst | None, chance: Random) -> Iterator[str]:
    subjects, weights = _subjects(names, burst)
    for sentence, subject, tail in zip(
        chance.choices(SENTENCES, k=post_count),
        chance.choices(subjects, cum_weights=weights, k=post_count),
        chance.choices(TAILS, k=post_count),
        strict=True,
    ):
        text = sentence.replace("{}", subject) + tail
        if URL_MARK in tail:
            text = text.replace(URL_MARK, f"https://pst.example/{chance.getrandbits(40):010x}")
        yield text


def _subjects(names: Sequence[str], burst: _Burst | None) -> tuple[list[str], list[float]]:
    """Give what posts of a minute are about, and the running sums of how often."""
    weight_by_subject: dict[str, float] = dict.fromkeys(TOPICS, 1 / len(TOPICS))
    shares = [(near_misses_of(name), _NEAR_MISS_SHARE / len(names)) for name in names]
    shares += [(spellings_of(name), _MENTION_SHARE / len(names)) for name in names]
    if burst is not None:
        shares.append((spellings_of(burst.name), burst.share))
    for subjects, share in shares:
        for subject in subjects:
            weight_by_subject[subject] = weight_by_subject.get(subject, 0.0) + share / len(subjects)
    return list(weight_by_subject), list(accumulate(weight_by_subject.values()))
