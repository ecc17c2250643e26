"""Every error that streamd's own rooms raise, on one page.

The class is the reason, the attributes are the facts, ``str()`` is a sentence for people. Nothing here knows AWS's
names: only ``streamd.kinesis.faults`` turns one of these into an AWS code and AWS's sentence.
"""

__all__ = [
    "BlockDamaged",
    "CatalogConflict",
    "CatalogDamaged",
    "ConfigInvalid",
    "ConsumerNotFound",
    "DeliveryFailed",
    "DirectoryInUse",
    "EventMalformed",
    "FormatUnknown",
    "FunctionMissing",
    "GroupFull",
    "GroupNotFound",
    "IteratorExpired",
    "LeaseLost",
    "MasterKeyMissing",
    "MemberMistyped",
    "MessageDamaged",
    "MessageUnproven",
    "OutsideRefused",
    "OutsideUnreachable",
    "PackageInvalid",
    "PagesDamaged",
    "PatternInvalid",
    "PlaceBehind",
    "PutForgotten",
    "PutMismatched",
    "QueueFull",
    "SandboxFailed",
    "ShardClosed",
    "ShardMissing",
    "ShardNotFound",
    "SourceMissing",
    "StoreFailed",
    "StoreFull",
    "StreamExists",
    "StreamNotActive",
    "StreamNotFound",
    "StreamdError",
    "SubscriptionTaken",
    "TargetUnknown",
    "TokenExpired",
    "TokenInvalid",
]


class StreamdError(Exception):
    """Base of every error that is streamd's own."""


class ConfigInvalid(StreamdError):
    """A flag, a file or a setting cannot be used as it is."""


class DirectoryInUse(StreamdError):
    """Another daemon holds the data directory's lock."""

    def __init__(self, directory: str, holder: str) -> None:
        super().__init__(directory, holder)
        self.directory = directory
        self.holder = holder

    def __str__(self) -> str:
        return f"data directory {self.directory} is in use by another streamd ({self.holder})"


class FormatUnknown(StreamdError):
    """The data was written in a format that this version does not know."""

    def __init__(self, what: str, *, found: str, known: str) -> None:
        super().__init__(what, found, known)
        self.what = what
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"{self.what} has format version {self.found}; this version of streamd knows {self.known}. "
            "Use the streamd that wrote it, or a newer one."
        )


class StoreFull(StreamdError):
    """The disk or the store's own size limit is reached: nothing of the write was kept, reads go on."""


class StoreFailed(StreamdError):
    """The store could not write or sync for another reason than space, or read after that: the daemon ends."""


class BlockDamaged(StreamdError):
    """A stored block is missing or its checksum does not match: it is never served."""

    def __init__(self, *, stream_number: int, shard_index: int, position: int, reason: str) -> None:
        super().__init__(stream_number, shard_index, position, reason)
        self.stream_number = stream_number
        self.shard_index = shard_index
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"stored block of stream {self.stream_number}, shard {self.shard_index}, "
            f"position {self.position} is damaged: {self.reason}"
        )


class CatalogDamaged(StreamdError):
    """A catalog document's checksum does not match: it is never used."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the catalog document {self.key} is damaged: its checksum does not match"


class PagesDamaged(StreamdError):
    """The log's own pages are damaged: what lies behind them cannot be read, and all else can."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the log's pages are damaged: {self.reason}"


class CatalogConflict(StreamdError):
    """A catalog document has another version than the caller expected: read it again and decide again."""


class ShardClosed(StreamdError):
    """The shard was sealed by a reshard: the records go to its children."""


class ShardMissing(StreamdError):
    """The store has no such shard: its stream was deleted."""


class StreamNotFound(StreamdError):
    """No stream of that name exists (or it was deleted and made again)."""

    def __init__(self, stream_name: str) -> None:
        super().__init__(stream_name)
        self.stream_name = stream_name


class StreamExists(StreamdError):
    """A stream of that name exists already."""

    def __init__(self, stream_name: str) -> None:
        super().__init__(stream_name)
        self.stream_name = stream_name


class StreamNotActive(StreamdError):
    """The stream is being created, changed or deleted, and the operation needs it ACTIVE."""

    def __init__(self, stream_name: str, status: str) -> None:
        super().__init__(stream_name, status)
        self.stream_name = stream_name
        self.status = status


class ShardNotFound(StreamdError):
    """The stream has no such shard, or all the shard held has expired."""

    def __init__(self, stream_name: str, shard_id: str) -> None:
        super().__init__(stream_name, shard_id)
        self.stream_name = stream_name
        self.shard_id = shard_id


class ConsumerNotFound(StreamdError):
    """The stream has no such registered consumer."""

    def __init__(self, stream_name: str, consumer_name: str) -> None:
        super().__init__(stream_name, consumer_name)
        self.stream_name = stream_name
        self.consumer_name = consumer_name


class SubscriptionTaken(StreamdError):
    """The consumer has another subscription to the shard: a later one, or one that is too young to be taken over."""

    def __init__(self, stream_name: str, shard_id: str, consumer_name: str) -> None:
        super().__init__(stream_name, shard_id, consumer_name)
        self.stream_name = stream_name
        self.shard_id = shard_id
        self.consumer_name = consumer_name


class TokenInvalid(StreamdError):
    """An opaque token was not made by this store, or was altered."""


class TokenExpired(StreamdError):
    """A pagination token is older than it may be."""


class IteratorExpired(StreamdError):
    """A shard iterator is older than it may be."""

    def __init__(self, *, created_ms: int, now_ms: int) -> None:
        super().__init__(created_ms, now_ms)
        self.created_ms = created_ms
        self.now_ms = now_ms


class GroupFull(StreamdError):
    """A stream has as many groups, or a group as many members or leases, as may be: nothing was added."""


class PutForgotten(StreamdError):
    """A producer's number is so old that a shard may have forgotten what became of it: nothing is stored there now."""

    def __init__(self, sequence: int) -> None:
        super().__init__(sequence)
        self.sequence = sequence

    def __str__(self) -> str:
        return f"the producer's number {self.sequence} is too old: what became of it is no longer remembered"


class PutMismatched(StreamdError):
    """A producer used one number for two different requests: nothing of the later one is stored in that shard."""

    def __init__(self, sequence: int) -> None:
        super().__init__(sequence)
        self.sequence = sequence

    def __str__(self) -> str:
        return f"the producer's number {self.sequence} was used for other records"


class GroupNotFound(StreamdError):
    """A stream has no group of readers of that name (any more)."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.group = group

    def __str__(self) -> str:
        return f"there is no group {self.group}"


class LeaseLost(StreamdError):
    """A shard's lease has another owner or epoch by now: what its former owner says is refused, nothing changed."""

    def __init__(self, shard_id: str, *, member_id: str, epoch: int) -> None:
        super().__init__(shard_id, member_id, epoch)
        self.shard_id = shard_id
        self.member_id = member_id
        self.epoch = epoch

    def __str__(self) -> str:
        return f"member {self.member_id} no longer has the lease of {self.shard_id} with epoch {self.epoch}"


class PlaceBehind(StreamdError):
    """A checkpoint would move a shard's place back, which only a seek may: nothing was changed."""

    def __init__(self, shard_id: str, *, place: str) -> None:
        super().__init__(shard_id, place)
        self.shard_id = shard_id
        self.place = place

    def __str__(self) -> str:
        return f"the place {self.place} of {self.shard_id} lies before the one that its lease has already"


class MasterKeyMissing(StreamdError):
    """An encrypted block cannot be opened: the master key is another one than when it was written."""


class MessageDamaged(StreamdError):
    """A message of an event stream is not whole, or not as it was sent: nothing of it is used."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"a message of the event stream is damaged: {self.reason}"


class FunctionMissing(StreamdError):
    """There is no such function, version or alias."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn

    def __str__(self) -> str:
        return f"Function not found: {self.arn}"


class SandboxFailed(StreamdError):
    """An environment could not be started: the machine's fault, not the function's."""


class MemberMistyped(StreamdError):
    """A member of a request is of another type than its shape's; the sentence is AWS's."""


class PackageInvalid(StreamdError):
    """A package of code cannot be used; the sentence is AWS's where it has one."""


class QueueFull(StreamdError):
    """So many events wait already that no more are taken: nothing of this one was kept."""


class TargetUnknown(StreamdError):
    """A destination that cannot be reached: the sentence says why, and what to configure."""


class DeliveryFailed(StreamdError):
    """A destination did not take a document."""


class PatternInvalid(StreamdError):
    """A filter's pattern cannot be used: it is no JSON, or says what patterns of mappings cannot say."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the pattern is invalid: {self.reason}"


class SourceMissing(StreamdError):
    """A stream that a mapping reads is not there."""

    def __init__(self, arn: str) -> None:
        super().__init__(arn)
        self.arn = arn

    def __str__(self) -> str:
        return f"Stream not found: {self.arn}"


class OutsideUnreachable(StreamdError):
    """A service elsewhere did not answer, or not with what it was asked for; the sentence says how."""


class OutsideRefused(StreamdError):
    """A service elsewhere answered with an error of its own."""

    def __init__(self, code: str, sentence: str, *, status: int) -> None:
        super().__init__(code, sentence, status)
        self.code = code
        self.sentence = sentence
        self.status = status

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}" if self.sentence else self.code


class EventMalformed(StreamdError):
    """What was pushed is not what its route takes; the sentence says what is wrong with it."""


class MessageUnproven(StreamdError):
    """A message does not prove that it comes from where it says; the sentence says what is missing."""
