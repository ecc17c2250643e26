"""Verification: every post of the input was read once, unchanged, in order, from its user's shard.

Two counts meet here. One is made by the consumers, batch by batch (``tally_batch``), from what the daemon
gave back. The other is made from the input alone (``DirectCount``), by a pass the daemon has no part in.
``judge`` compares them and names each fault it can: which post was lost, repeated, altered, out of order, or
in the wrong shard.

Rules only: nothing here reads a clock, a file or a socket.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import md5
from typing import Final

from streamd.demo.mentions import MentionFinder
from streamd.demo.posts import Post
from streamd.demo.records import FINGERPRINT_MODULUS, SentPost, decode_post, fingerprint_of
from streamd.sdk.batch import Record

__all__ = [
    "CHUNK_POST_COUNT",
    "FAULT_SENTENCE_COUNT_MAX",
    "BatchTally",
    "DirectCount",
    "Fault",
    "FaultKind",
    "FaultList",
    "MentionKey",
    "Place",
    "ShardSpan",
    "StreamTotals",
    "judge",
    "judge_function",
    "late_fault",
    "tally_batch",
]

# Which posts were seen is kept as bits, in chunks of this many posts: 1 KiB each.
CHUNK_POST_COUNT: Final = 8_192
# How many faults are told in words; the rest are counted.
FAULT_SENTENCE_COUNT_MAX: Final = 100
_MINUTE_MS: Final = 60_000

# A name, and a minute of post time counted from 1970.
MentionKey = tuple[str, int]


class FaultKind(Enum):
    """What can have happened to a post."""

    LOST = "lost"
    REPEATED = "repeated"
    ALTERED = "altered"
    OUT_OF_ORDER = "out of order"
    MISPLACED = "in the wrong shard"
    MISCOUNTED = "miscounted"
    MISCOUNTED_BY_FUNCTION = "miscounted by the function"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong, with a sentence that says where."""

    kind: FaultKind
    sentence: str


@dataclass(frozen=True, slots=True)
class ShardSpan:
    """A shard and the hash keys that belong to it, both ends included."""

    shard_id: str
    hash_key_first: int
    hash_key_last: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a shard was read: all that a consumer must know to go on after it died."""

    sequence_number: str | None = None
    # A producer sends in the order of the input, so in a shard the indices of each producer only grow. That
    # holds more than the order per user, and needs one number for each producer and not one for each user.
    index_by_producer: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class BatchTally:
    """What one batch of a shard's records adds to the count."""

    place: Place
    post_count: int = 0
    fingerprint_sum: int = 0
    mentions: Counter[MentionKey] = field(default_factory=Counter)
    bits_by_chunk: dict[int, int] = field(default_factory=dict)
    # Posts that came after a later one of their producer. Whether they came before, too, only those can tell
    # who keep the earlier batches' bits: then they are repeated, else out of order.
    late_indices: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True)
class DirectCount:
    """The count of the input itself, made without the daemon."""

    finder: MentionFinder
    post_count: int = 0
    fingerprint_sum: int = 0
    mentions: Counter[MentionKey] = field(default_factory=Counter)

    def take(self, posts: Iterable[Post]) -> None:
        """Count the next posts of the input."""
        for post in posts:
            self.fingerprint_sum += fingerprint_of(self.post_count, post)
            self.post_count += 1
            for name in self.finder.find(post.text):
                self.mentions[name, post.time_ms // _MINUTE_MS] += 1
        self.fingerprint_sum %= FINGERPRINT_MODULUS


class FaultList:
    """The faults of a run: a count of each kind, and the first of them in words, so that it stays small."""

    __slots__ = ("count_by_kind", "first")

    def __init__(self) -> None:
        self.count_by_kind: Counter[FaultKind] = Counter()
        self.first: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Count more faults."""
        for fault in faults:
            self.count_by_kind[fault.kind] += 1
            if len(self.first) < FAULT_SENTENCE_COUNT_MAX:
                self.first.append(fault)


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """What the consumers counted, over all shards, and the faults they met."""

    post_count: int
    fingerprint_sum: int
    mentions: Mapping[MentionKey, int]
    faults: FaultList
    # The bits of a chunk, one number for each shard that saw a post of it.
    bits_of_chunk: Callable[[int], Sequence[int]]


def tally_batch(records: Iterable[Record], place: Place, *, span: ShardSpan, finder: MentionFinder) -> BatchTally:
    """Count a batch of records that was read after the place."""
    tally = BatchTally(place)
    sequence_number = place.sequence_number
    index_by_producer = dict(place.index_by_producer)
    for record in records:
        tally.post_count += 1
        if sequence_number is not None and int(record.sequence_number) <= int(sequence_number):
            sentence = f"{span.shard_id} gave sequence number {record.sequence_number} after {sequence_number}"
            tally.faults.append(Fault(FaultKind.OUT_OF_ORDER, sentence))
        sequence_number = record.sequence_number
        try:
            sent = decode_post(record.data)
        except ValueError as error:
            sentence = f"{span.shard_id} holds an altered post at {record.sequence_number}: {error}"
            tally.faults.append(Fault(FaultKind.ALTERED, sentence))
            continue
        tally.faults += _faults_of_key(record.key, sent, span)
        _mark_seen(tally, sent, index_by_producer)
        tally.fingerprint_sum += fingerprint_of(sent.index, sent.post)
        for name in finder.find(sent.post.text):
            tally.mentions[name, sent.post.time_ms // _MINUTE_MS] += 1
    tally.place = Place(sequence_number, index_by_producer)
    tally.fingerprint_sum %= FINGERPRINT_MODULUS
    return tally


def late_fault(index: int, *, seen_before: bool) -> Fault:
    """Name what a late post is: one that came again, or one that a later post overtook."""
    if seen_before:
        return Fault(FaultKind.REPEATED, f"post {index} came again")
    return Fault(FaultKind.OUT_OF_ORDER, f"post {index} came after a later post of its producer")


def judge(direct: DirectCount, totals: StreamTotals) -> FaultList:
    """List every fault, those the consumers met first; an empty list is a verified run."""
    faults = totals.faults
    chunk_count = -(-direct.post_count // CHUNK_POST_COUNT)
    for chunk in range(chunk_count):
        faults.add(_faults_of_chunk(chunk, totals.bits_of_chunk(chunk), post_count=direct.post_count))
    if faults.first:
        # The sums below cannot agree any more, and would only say so less clearly.
        return faults
    if totals.post_count != direct.post_count:
        sentence = f"{direct.post_count} posts went in and {totals.post_count} were read"
        faults.add([Fault(FaultKind.REPEATED, sentence)])
    elif totals.fingerprint_sum != direct.fingerprint_sum:
        # Each post agrees with its own fingerprint and all are there, and yet they are not the input's.
        faults.add([Fault(FaultKind.ALTERED, "the posts read are not the posts of the input")])
    for name, minute in sorted(totals.mentions.keys() | direct.mentions.keys()):
        read, counted = totals.mentions.get((name, minute), 0), direct.mentions.get((name, minute), 0)
        if read != counted:
            sentence = f"{name} was counted {read} times in minute {minute} of 1970; the input says {counted}"
            faults.add([Fault(FaultKind.MISCOUNTED, sentence)])
    return faults


def judge_function(direct: DirectCount, *, post_count: int, mentions: Mapping[str, int]) -> Iterator[Fault]:
    """Compare what the function's alerts add up to with the count of the input."""
    if post_count != direct.post_count:
        sentence = f"the function's windows hold {post_count} posts; the input has {direct.post_count}"
        yield Fault(FaultKind.MISCOUNTED_BY_FUNCTION, sentence)
    counted: Counter[str] = Counter()
    for (name, _), count in direct.mentions.items():
        counted[name] += count
    for name in sorted(counted.keys() | mentions.keys()):
        if mentions.get(name, 0) != counted[name]:
            sentence = (
                f"{name} was counted {mentions.get(name, 0)} times by the function; the input says {counted[name]}"
            )
            yield Fault(FaultKind.MISCOUNTED_BY_FUNCTION, sentence)


def _faults_of_chunk(chunk: int, bits_by_shard: Sequence[int], *, post_count: int) -> Iterator[Fault]:
    seen = doubled = 0
    for bits in bits_by_shard:
        doubled |= seen & bits
        seen |= bits
    index_first = chunk * CHUNK_POST_COUNT
    awaited_count = min(CHUNK_POST_COUNT, post_count - index_first)
    for offset in _offsets_of(~seen & ((1 << awaited_count) - 1)):
        yield Fault(FaultKind.LOST, f"post {index_first + offset} was not read")
    for offset in _offsets_of(doubled):
        yield Fault(FaultKind.REPEATED, f"post {index_first + offset} was read from two shards")


def _offsets_of(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _faults_of_key(key: str | None, sent: SentPost, span: ShardSpan) -> list[Fault]:
    if key != sent.post.user:
        sentence = f"post {sent.index} of {sent.post.user} came under the key {key}"
        return [Fault(FaultKind.ALTERED, sentence)]
    hash_key = int.from_bytes(md5(key.encode(), usedforsecurity=False).digest(), "big")
    if not span.hash_key_first <= hash_key <= span.hash_key_last:
        sentence = f"post {sent.index} of {key} is in {span.shard_id}, which its key does not belong to"
        return [Fault(FaultKind.MISPLACED, sentence)]
    return []


def _mark_seen(tally: BatchTally, sent: SentPost, index_by_producer: dict[int, int]) -> None:
    chunk, offset = divmod(sent.index, CHUNK_POST_COUNT)
    bits, bit = tally.bits_by_chunk.get(chunk, 0), 1 << offset
    if sent.index > index_by_producer.get(sent.producer, -1):
        index_by_producer[sent.producer] = sent.index
    elif bits & bit:
        tally.faults.append(late_fault(sent.index, seen_before=True))
    else:
        tally.late_indices.append(sent.index)
    tally.bits_by_chunk[chunk] = bits | bit
