"""The members that requests are made of, each with its constraints, named by what they hold.

`shapes` puts them together into requests. Closed sets of values stand in AWS's printed order, which is
the order of Java's hash codes: it explains the sets in recorded answers.
"""

from __future__ import annotations

from types import MappingProxyType

from streamd.core.shapes import (
    BlobShape,
    BooleanShape,
    IntegerShape,
    ListShape,
    MapShape,
    Shape,
    StructureShape,
    TextShape,
    TimestampShape,
)

__all__ = [
    "BOOLEAN",
    "COMMITMENT",
    "CONSUMER_ARN",
    "DATA",
    "DISTRIBUTION",
    "ENCRYPTION_TYPE",
    "ENTRIES",
    "HASH_KEY",
    "INTEGER",
    "KEY_ID",
    "LIMIT",
    "METRICS",
    "MODE_DETAILS",
    "NAME",
    "NATURAL",
    "NEXT_TOKEN",
    "PARTITION_KEY",
    "POSITIVE",
    "RECORD_SIZE_KIB",
    "RESOURCE_ARN",
    "SCALING_TYPE",
    "SEQUENCE_NUMBER",
    "SHARD_FILTER",
    "SHARD_ITERATOR",
    "SHARD_ITERATOR_TYPE",
    "STARTING_POSITION",
    "STREAM_ARN",
    "STREAM_ID",
    "TAGS",
    "TAG_KEY",
    "TAG_KEYS",
    "TAG_LIMIT",
    "TEXT",
    "TIMESTAMP",
    "structure",
]


def structure(name: str, *, required: tuple[str, ...] = (), **members: Shape) -> StructureShape:
    """Return a structure; its members keep the order of the arguments."""
    return StructureShape(name, MappingProxyType(members), frozenset(required))


# Plain members -----------------------------------------------------------------------------------------

BOOLEAN = BooleanShape()
TIMESTAMP = TimestampShape()
INTEGER = IntegerShape()
NATURAL = IntegerShape(minimum=0)
POSITIVE = IntegerShape(minimum=1)
LIMIT = IntegerShape(minimum=1, maximum=10_000)
TAG_LIMIT = IntegerShape(minimum=1, maximum=50)
RECORD_SIZE_KIB = IntegerShape(minimum=1_024, maximum=10_240)
DATA = BlobShape(minimum=0, maximum=10_485_760)

TEXT = TextShape()
NAME = TextShape(minimum=1, maximum=128, pattern=r"[a-zA-Z0-9_.-]+")
STREAM_ID = TextShape(minimum=1, maximum=24, pattern=r"[a-z0-9]{20}-[a-z0-9]{3}")
STREAM_ARN = TextShape(minimum=1, maximum=2_048, pattern=r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+")
RESOURCE_ARN = TextShape(minimum=1, maximum=2_048, pattern=r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+")
CONSUMER_ARN = TextShape(
    minimum=1,
    maximum=2_048,
    pattern=(r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"),
)
PARTITION_KEY = TextShape(minimum=1, maximum=256)
HASH_KEY = TextShape(pattern=r"^(0|([1-9]\d{0,38}))$")
SEQUENCE_NUMBER = TextShape(pattern=r"^(0|([1-9]\d{0,128}))$")
SHARD_ITERATOR = TextShape(minimum=1, maximum=512)
NEXT_TOKEN = TextShape(minimum=1, maximum=1_048_576)
KEY_ID = TextShape(minimum=1, maximum=2_048)
TAG_KEY = TextShape(minimum=1, maximum=128)
_TAG_VALUE = TextShape(minimum=0, maximum=256)

# Closed sets -------------------------------------------------------------------------------------------

ENCRYPTION_TYPE = TextShape(enum=("KMS", "NONE"))
_STREAM_MODE = TextShape(enum=("PROVISIONED", "ON_DEMAND"))
SCALING_TYPE = TextShape(enum=("UNIFORM_SCALING",))
DISTRIBUTION = TextShape(enum=("USER_PARTITION_KEY", "AUTO"))
_COMMITMENT_STATUS = TextShape(enum=("ENABLED", "DISABLED"))
SHARD_ITERATOR_TYPE = TextShape(
    enum=("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
)
_SHARD_FILTER_TYPE = TextShape(
    enum=(
        "FROM_TIMESTAMP",
        "FROM_TRIM_HORIZON",
        "AT_LATEST",
        "AT_TRIM_HORIZON",
        "AT_TIMESTAMP",
        "AFTER_SHARD_ID",
    )
)
_METRIC = TextShape(
    enum=(
        "ALL",
        "WriteProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
        "IncomingBytes",
        "OutgoingRecords",
        "ReadProvisionedThroughputExceeded",
        "IncomingRecords",
        "OutgoingBytes",
    )
)

# Members made of members -------------------------------------------------------------------------------

TAGS = MapShape(TAG_KEY, _TAG_VALUE, minimum=1, maximum=200)
TAG_KEYS = ListShape(TAG_KEY, minimum=1, maximum=50)
METRICS = ListShape(_METRIC, minimum=1, maximum=7)
MODE_DETAILS = structure("StreamModeDetails", required=("StreamMode",), StreamMode=_STREAM_MODE)
COMMITMENT = structure("MinimumThroughputBillingCommitmentInput", required=("Status",), Status=_COMMITMENT_STATUS)
SHARD_FILTER = structure("ShardFilter", required=("Type",), Timestamp=TIMESTAMP, ShardId=NAME, Type=_SHARD_FILTER_TYPE)
STARTING_POSITION = structure(
    "StartingPosition",
    required=("Type",),
    Timestamp=TIMESTAMP,
    Type=SHARD_ITERATOR_TYPE,
    SequenceNumber=SEQUENCE_NUMBER,
)
_ENTRY = structure(
    "PutRecordsRequestEntry",
    required=("Data",),
    PartitionKey=PARTITION_KEY,
    ExplicitHashKey=HASH_KEY,
    Data=DATA,
)
ENTRIES = ListShape(_ENTRY, minimum=1, maximum=500)
