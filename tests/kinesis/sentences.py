"""What AWS says to requests that are wrong: by operation, and by type.

Where a sentence or an order was recorded from AWS it stands here as recorded; the rest follows the same
rules with the constraints of the newest service model.
"""

from __future__ import annotations

from typing import Any

from streamd.kinesis.codecs import Timestamp

__all__ = ["VIOLATIONS", "WRONG_TYPES"]

ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
NAME_PATTERN = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
NOT_NULL = "Member must not be null"
LENGTH_1 = "Member must have length greater than or equal to 1"
LENGTH_128 = "Member must have length less than or equal to 128"
LONG_NAME = "a" * 129
ARN_PATTERN = r"Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+"
RESOURCE_PATTERN = (
    r"Member must satisfy regular expression pattern: "
    r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+"
)
CONSUMER_PATTERN = (
    r"Member must satisfy regular expression pattern: "
    r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
)
TAG_KEY_LENGTHS = f"[{LENGTH_128}, {LENGTH_1}]"
NUMBER_CLASS = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
IN_A_STRUCTURE = "Start of structure or map found where not expected."
IN_A_LIST = "Start of list found where not expected"


def broken(path: str, constraint: str, value: str | None = None) -> str:
    """Word one broken constraint."""
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


EMPTY_NAME = [broken("streamName", NAME_PATTERN, ""), broken("streamName", LENGTH_1, "")]
ITERATOR_TYPES = (
    "Member must satisfy enum value set: "
    "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"
)
METRICS = (
    "Member must satisfy constraint: [Member must satisfy enum value set: [ALL, "
    "WriteProvisionedThroughputExceeded, IteratorAgeMilliseconds, IncomingBytes, OutgoingRecords, "
    "ReadProvisionedThroughputExceeded, IncomingRecords, OutgoingBytes]]"
)

VIOLATIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("AddTagsToStream", {}, [broken("tags", NOT_NULL)]),
    ("AddTagsToStream", {"StreamName": "", "Tags": {}}, [broken("tags", LENGTH_1, "{}"), *EMPTY_NAME]),
    (
        "AddTagsToStream",
        {"Tags": {LONG_NAME: "v" * 257, "a": "b"}},
        [
            broken(
                "tags",
                f"Map keys must satisfy constraint: {TAG_KEY_LENGTHS}",
                f"{{{LONG_NAME}={'v' * 257}, a=b}}",
            ),
            broken(
                "tags",
                "Map value must satisfy constraint: [Member must have length less than or equal to 256, "
                "Member must have length greater than or equal to 0]",
                f"{{{LONG_NAME}={'v' * 257}, a=b}}",
            ),
        ],
    ),
    ("CreateStream", {"ShardCount": 1}, [broken("streamName", NOT_NULL)]),
    (
        "CreateStream",
        {"StreamName": "", "ShardCount": 0},
        [broken("shardCount", "Member must have value greater than or equal to 1", "0"), *EMPTY_NAME],
    ),
    (
        "CreateStream",
        {"StreamName": "s", "StreamModeDetails": {}},
        [broken("streamModeDetails.streamMode", NOT_NULL)],
    ),
    (
        "CreateStream",
        {"StreamName": "s", "MaxRecordSizeInKiB": 1, "WarmThroughputMiBps": -1},
        [
            broken("maxRecordSizeInKiB", "Member must have value greater than or equal to 1024", "1"),
            broken("warmThroughputMiBps", "Member must have value greater than or equal to 0", "-1"),
        ],
    ),
    (
        "DecreaseStreamRetentionPeriod",
        {"StreamName": ""},
        [broken("retentionPeriodHours", NOT_NULL), *EMPTY_NAME],
    ),
    ("DeleteResourcePolicy", {"ResourceARN": "x"}, [broken("resourceARN", RESOURCE_PATTERN, "x")]),
    ("DeleteStream", {"StreamName": LONG_NAME}, [broken("streamName", LENGTH_128, LONG_NAME)]),
    ("DeregisterStreamConsumer", {"ConsumerARN": ARN}, [broken("consumerARN", CONSUMER_PATTERN, ARN)]),
    (
        "DescribeStream",
        {"StreamName": "", "Limit": 0, "ExclusiveStartShardId": ""},
        [
            broken("limit", "Member must have value greater than or equal to 1", "0"),
            broken("exclusiveStartShardId", NAME_PATTERN, ""),
            broken("exclusiveStartShardId", LENGTH_1, ""),
            *EMPTY_NAME,
        ],
    ),
    ("DescribeStreamConsumer", {"StreamARN": "x"}, [broken("streamARN", ARN_PATTERN, "x")]),
    (
        "DescribeStreamSummary",
        {"StreamId": "x"},
        [
            broken(
                "streamId",
                "Member must satisfy regular expression pattern: [a-z0-9]{20}-[a-z0-9]{3}",
                "x",
            )
        ],
    ),
    ("DisableEnhancedMonitoring", {}, [broken("shardLevelMetrics", NOT_NULL)]),
    (
        "EnableEnhancedMonitoring",
        {"ShardLevelMetrics": ["ALL", "x"]},
        [broken("shardLevelMetrics", METRICS, "[ALL, x]")],
    ),
    (
        "GetRecords",
        {"ShardIterator": "", "Limit": 0},
        [
            broken("limit", "Member must have value greater than or equal to 1", "0"),
            broken("shardIterator", LENGTH_1, ""),
        ],
    ),
    (
        "GetRecords",
        {"ShardIterator": "a" * 513, "Limit": 100_000},
        [
            broken("limit", "Member must have value less than or equal to 10000", "100000"),
            broken("shardIterator", "Member must have length less than or equal to 512", "a" * 513),
        ],
    ),
    ("GetResourcePolicy", {}, [broken("resourceARN", NOT_NULL)]),
    (
        "GetShardIterator",
        {"StreamName": "", "ShardIteratorType": "", "ShardId": "", "StartingSequenceNumber": ""},
        [
            broken("shardId", NAME_PATTERN, ""),
            broken("shardId", LENGTH_1, ""),
            broken("shardIteratorType", ITERATOR_TYPES, ""),
            broken(
                "startingSequenceNumber",
                r"Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,128}))$",
                "",
            ),
            *EMPTY_NAME,
        ],
    ),
    (
        "GetShardIterator",
        {},
        [broken("shardId", NOT_NULL), broken("shardIteratorType", NOT_NULL)],
    ),
    ("IncreaseStreamRetentionPeriod", {}, [broken("retentionPeriodHours", NOT_NULL)]),
    (
        "ListShards",
        {"ShardFilter": {"ShardId": ""}, "MaxResults": 10_001},
        [
            broken("shardFilter.shardId", NAME_PATTERN, ""),
            broken("shardFilter.shardId", LENGTH_1, ""),
            broken("shardFilter.type", NOT_NULL),
            broken("maxResults", "Member must have value less than or equal to 10000", "10001"),
        ],
    ),
    ("ListStreamConsumers", {}, [broken("streamARN", NOT_NULL)]),
    (
        "ListStreams",
        {"ExclusiveStartStreamName": "", "Limit": 0},
        [
            broken("limit", "Member must have value greater than or equal to 1", "0"),
            broken("exclusiveStartStreamName", NAME_PATTERN, ""),
            broken("exclusiveStartStreamName", LENGTH_1, ""),
        ],
    ),
    (
        "ListTagsForResource",
        {"ResourceARN": ""},
        [
            broken("resourceARN", RESOURCE_PATTERN, ""),
            broken("resourceARN", LENGTH_1, ""),
        ],
    ),
    (
        "ListTagsForStream",
        {"StreamName": "", "ExclusiveStartTagKey": "", "Limit": 51},
        [
            broken("limit", "Member must have value less than or equal to 50", "51"),
            broken("exclusiveStartTagKey", LENGTH_1, ""),
            *EMPTY_NAME,
        ],
    ),
    (
        "MergeShards",
        {"StreamName": LONG_NAME},
        [
            broken("shardToMerge", NOT_NULL),
            broken("adjacentShardToMerge", NOT_NULL),
            broken("streamName", LENGTH_128, LONG_NAME),
        ],
    ),
    ("PutRecord", {}, [broken("data", NOT_NULL)]),
    (
        "PutRecord",
        {
            "StreamName": "",
            "PartitionKey": "",
            "Data": "",
            "ExplicitHashKey": "",
            "SequenceNumberForOrdering": "",
        },
        [
            broken(
                "sequenceNumberForOrdering",
                r"Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,128}))$",
                "",
            ),
            broken("partitionKey", LENGTH_1, ""),
            broken(
                "explicitHashKey",
                r"Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,38}))$",
                "",
            ),
            *EMPTY_NAME,
        ],
    ),
    (
        "PutRecord",
        {"Data": bytes(10_485_761)},
        [
            broken(
                "data",
                "Member must have length less than or equal to 10485760",
                "java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]",
            )
        ],
    ),
    ("PutRecords", {"StreamName": "", "Records": []}, [broken("records", LENGTH_1, "[]"), *EMPTY_NAME]),
    (
        "PutRecords",
        {"Records": [{"Data": b""}, {"PartitionKey": "k" * 257, "ExplicitHashKey": "-1"}]},
        [
            broken(
                "records.2.member.partitionKey",
                "Member must have length less than or equal to 256",
                "k" * 257,
            ),
            broken(
                "records.2.member.explicitHashKey",
                r"Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,38}))$",
                "-1",
            ),
            broken("records.2.member.data", NOT_NULL),
        ],
    ),
    ("PutRecords", {"Records": [None]}, [broken("records.1.member", NOT_NULL)]),
    (
        "PutRecords",
        {"Records": [{}] * 12},
        [broken(f"records.{number}.member.data", NOT_NULL) for number in range(1, 11)],
    ),
    ("PutResourcePolicy", {"ResourceARN": ARN}, [broken("policy", NOT_NULL)]),
    (
        "RegisterStreamConsumer",
        {"StreamARN": ARN, "ConsumerName": "a b"},
        [broken("consumerName", NAME_PATTERN, "a b")],
    ),
    (
        "RemoveTagsFromStream",
        {"TagKeys": ["a", LONG_NAME, "b"]},
        [broken("tagKeys", f"Member must satisfy constraint: {TAG_KEY_LENGTHS}", f"[a, {LONG_NAME}, b]")],
    ),
    (
        "RemoveTagsFromStream",
        {"TagKeys": [str(number) for number in range(51)]},
        [
            broken(
                "tagKeys",
                "Member must have length less than or equal to 50",
                f"[{', '.join(str(number) for number in range(51))}]",
            )
        ],
    ),
    (
        "RemoveTagsFromStream",
        {"TagKeys": ["a", None]},
        [broken("tagKeys", f"Member must satisfy constraint: {TAG_KEY_LENGTHS}", "[a, null]")],
    ),
    (
        "SplitShard",
        {"NewStartingHashKey": "01"},
        [
            broken(
                "newStartingHashKey",
                r"Member must satisfy regular expression pattern: ^(0|([1-9]\d{0,38}))$",
                "01",
            ),
            broken("shardToSplit", NOT_NULL),
        ],
    ),
    (
        "StartStreamEncryption",
        {"EncryptionType": "x"},
        [
            broken("keyId", NOT_NULL),
            broken("encryptionType", "Member must satisfy enum value set: [KMS, NONE]", "x"),
        ],
    ),
    (
        "StopStreamEncryption",
        {},
        [broken("keyId", NOT_NULL), broken("encryptionType", NOT_NULL)],
    ),
    (
        "SubscribeToShard",
        {"ShardId": "s", "StartingPosition": {"Type": "x"}},
        [
            broken("consumerARN", NOT_NULL),
            broken("startingPosition.type", ITERATOR_TYPES, "x"),
        ],
    ),
    ("TagResource", {"ResourceARN": ARN}, [broken("tags", NOT_NULL)]),
    ("UntagResource", {"ResourceARN": ARN, "TagKeys": []}, [broken("tagKeys", LENGTH_1, "[]")]),
    (
        "UpdateAccountSettings",
        {"MinimumThroughputBillingCommitment": {"Status": "x"}},
        [
            broken(
                "minimumThroughputBillingCommitment.status",
                "Member must satisfy enum value set: [ENABLED, DISABLED]",
                "x",
            )
        ],
    ),
    (
        "UpdateMaxRecordSize",
        {"MaxRecordSizeInKiB": 10_241},
        [broken("maxRecordSizeInKiB", "Member must have value less than or equal to 10240", "10241")],
    ),
    (
        "UpdateShardCount",
        {"StreamName": "", "ScalingType": "", "TargetShardCount": 0},
        [
            broken("scalingType", "Member must satisfy enum value set: [UNIFORM_SCALING]", ""),
            *EMPTY_NAME,
            broken("targetShardCount", "Member must have value greater than or equal to 1", "0"),
        ],
    ),
    (
        "UpdateStreamMode",
        {"StreamModeDetails": {"StreamMode": "x"}},
        [
            broken(
                "streamModeDetails.streamMode",
                "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]",
                "x",
            ),
            broken("streamARN", NOT_NULL),
        ],
    ),
    (
        "UpdateStreamRecordDistributionStrategy",
        {"StreamARN": ARN, "RecordDistributionStrategy": "x"},
        [
            broken(
                "recordDistributionStrategy",
                "Member must satisfy enum value set: [USER_PARTITION_KEY, AUTO]",
                "x",
            )
        ],
    ),
    ("UpdateStreamWarmThroughput", {}, [broken("warmThroughputMiBps", NOT_NULL)]),
]


def _in_both_puts(value: object, sentence: str) -> list[tuple[str, dict[str, Any], str]]:
    """Put a wrong blob into one record and into a batch, where the quick way meets it."""
    good: dict[str, Any] = {"Data": "YQ==", "PartitionKey": "k"}
    return [
        ("PutRecord", {"Data": value}, sentence),
        ("PutRecords", {"Records": [good, {"Data": value}]}, sentence),
    ]


WRONG_TYPES: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("PutRecord", {"PartitionKey": value}, sentence)
        for value, sentence in [
            (True, "class java.lang.Boolean can not be converted to an String"),
            (23, f"{NUMBER_CLASS} can not be converted to an String"),
            (34.56, f"{NUMBER_CLASS} can not be converted to an String"),
            (b"k", "class java.nio.HeapByteBuffer can not be converted to an String"),
            (Timestamp(1), "class java.util.Date can not be converted to an String"),
            ([], IN_A_LIST),
            ({}, IN_A_STRUCTURE),
        ]
    ),
    *(
        ("GetRecords", {"Limit": value}, sentence)
        for value, sentence in [
            ("23", "class java.lang.String can not be converted to an Integer"),
            (True, "class java.lang.Boolean can not be converted to an Integer"),
            (float("nan"), f"{NUMBER_CLASS} can not be converted to an Integer"),
            ([], IN_A_LIST),
            ({}, IN_A_STRUCTURE),
        ]
    ),
    *(
        ("GetRecords", {"DryRun": value}, sentence)
        for value, sentence in [
            ("23", "'23' can not be converted to an Boolean"),
            ("hello", "'HELLO' can not be converted to an Boolean"),
            (23, f"{NUMBER_CLASS} can not be converted to an Boolean"),
            (-2147483648, f"{NUMBER_CLASS} can not be converted to an Boolean"),
            ([], IN_A_LIST),
            ({}, IN_A_STRUCTURE),
        ]
    ),
    *(
        told
        for value, sentence in [
            (True, "class java.lang.Boolean can not be converted to a Blob"),
            (23, f"{NUMBER_CLASS} can not be converted to a Blob"),
            ([], IN_A_LIST),
            ({}, IN_A_STRUCTURE),
            (
                "23456",
                (
                    "'23456' can not be converted to a Blob: "
                    "Base64 encoded length is expected a multiple of 4 bytes but found: 5"
                ),
            ),
            ("=+/=", "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"),
            ("é===", "'é===' can not be converted to a Blob: Invalid Base64 character: 'é'"),
            (
                "+/+=",
                "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
            ),
            (
                "YR==",
                "'YR==' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
            ),
        ]
        for told in _in_both_puts(value, sentence)
    ),
    *(
        ("ListShards", {"StreamCreationTimestamp": value}, sentence)
        for value, sentence in [
            ("1515322000", "class java.lang.String can not be converted to milliseconds since epoch"),
            (False, "class java.lang.Boolean can not be converted to milliseconds since epoch"),
            ([], IN_A_LIST),
            ({}, IN_A_STRUCTURE),
        ]
    ),
    *(("RemoveTagsFromStream", {"TagKeys": value}, "Expected list or null") for value in ("23", True, 23, 1.5)),
    ("RemoveTagsFromStream", {"TagKeys": {}}, IN_A_STRUCTURE),
    (
        "RemoveTagsFromStream",
        {"TagKeys": [True]},
        "class java.lang.Boolean can not be converted to an String",
    ),
    *(("AddTagsToStream", {"Tags": value}, "Expected map or null") for value in ("23", True, 23, 1.5)),
    ("AddTagsToStream", {"Tags": []}, IN_A_LIST),
    ("AddTagsToStream", {"Tags": {"a": 1}}, f"{NUMBER_CLASS} can not be converted to an String"),
    (
        "AddTagsToStream",
        {"Tags": {b"a": "b"}},
        "class java.nio.HeapByteBuffer can not be converted to an String",
    ),
    *(("PutRecords", {"Records": [value]}, "Expected null") for value in ("23", True, 23, 1.5)),
    ("PutRecords", {"Records": [[]]}, IN_A_LIST),
    ("PutRecords", {"Records": "x"}, "Expected list or null"),
]
