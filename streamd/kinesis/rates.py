"""How often AWS lets each operation be called: for ``--limits aws`` and ``shadow``.

From the service's quota page, calls per second, per account or per stream. An operation that is not here has no
published rate.
"""

from enum import Enum
from types import MappingProxyType

__all__ = ["RATE_BY_OPERATION", "RateScope"]


class RateScope(Enum):
    """What a rate is counted for."""

    ACCOUNT = "account"
    STREAM = "stream"
    SHARD = "shard"


_PER_ACCOUNT = {
    "AddTagsToStream": 5,
    "CreateStream": 5,
    "DeleteStream": 5,
    "ListStreams": 5,
    "PutResourcePolicy": 5,
    "GetResourcePolicy": 5,
    "DeleteResourcePolicy": 5,
    "DescribeAccountSettings": 5,
    "UpdateAccountSettings": 5,
    "UpdateStreamWarmThroughput": 5,
    "DescribeLimits": 1,
    "DescribeStream": 10,
    "DescribeStreamSummary": 20,
}
_PER_STREAM = {
    "IncreaseStreamRetentionPeriod": 5,
    "DecreaseStreamRetentionPeriod": 5,
    "EnableEnhancedMonitoring": 5,
    "DisableEnhancedMonitoring": 5,
    "RegisterStreamConsumer": 5,
    "DeregisterStreamConsumer": 5,
    "ListStreamConsumers": 5,
    "DescribeStreamConsumer": 20,
    "ListTagsForStream": 5,
    "RemoveTagsFromStream": 5,
    "SplitShard": 5,
    "MergeShards": 5,
    "StartStreamEncryption": 5,
    "StopStreamEncryption": 5,
    "ListShards": 1000,
    "UpdateShardCount": 10,
}

RATE_BY_OPERATION = MappingProxyType(
    {name: (RateScope.ACCOUNT, rate) for name, rate in _PER_ACCOUNT.items()}
    | {name: (RateScope.STREAM, rate) for name, rate in _PER_STREAM.items()}
    | {"GetShardIterator": (RateScope.SHARD, 5)}
)
