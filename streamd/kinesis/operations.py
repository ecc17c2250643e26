"""The table of operations: what each name is answered by, and the names that a later version will know."""

from types import MappingProxyType

from streamd.kinesis.account import describe_account_settings, describe_limits, update_account_settings
from streamd.kinesis.consumers import (
    deregister_stream_consumer,
    describe_stream_consumer,
    list_stream_consumers,
    register_stream_consumer,
)
from streamd.kinesis.encryption import start_stream_encryption, stop_stream_encryption
from streamd.kinesis.exchange import Handler
from streamd.kinesis.listing import list_shards
from streamd.kinesis.monitoring import disable_enhanced_monitoring, enable_enhanced_monitoring
from streamd.kinesis.policies import delete_resource_policy, get_resource_policy, put_resource_policy
from streamd.kinesis.pushing import subscribe_to_shard
from streamd.kinesis.reading import get_records, get_shard_iterator
from streamd.kinesis.records import put_record, put_records
from streamd.kinesis.resharding import merge_shards, split_shard, update_shard_count
from streamd.kinesis.settings import (
    decrease_stream_retention_period,
    increase_stream_retention_period,
    update_max_record_size,
    update_stream_mode,
    update_stream_record_distribution_strategy,
    update_stream_warm_throughput,
)
from streamd.kinesis.streams import (
    create_stream,
    delete_stream,
    describe_stream,
    describe_stream_summary,
    list_streams,
)
from streamd.kinesis.tags import (
    add_tags_to_stream,
    list_tags_for_resource,
    list_tags_for_stream,
    remove_tags_from_stream,
    tag_resource,
    untag_resource,
)

__all__ = ["HANDLER_BY_OPERATION", "LATER_OPERATIONS"]

HANDLER_BY_OPERATION: MappingProxyType[str, Handler] = MappingProxyType(
    {
        "AddTagsToStream": add_tags_to_stream,
        "CreateStream": create_stream,
        "DecreaseStreamRetentionPeriod": decrease_stream_retention_period,
        "DeleteResourcePolicy": delete_resource_policy,
        "DeleteStream": delete_stream,
        "DeregisterStreamConsumer": deregister_stream_consumer,
        "DescribeAccountSettings": describe_account_settings,
        "DescribeLimits": describe_limits,
        "DescribeStream": describe_stream,
        "DescribeStreamConsumer": describe_stream_consumer,
        "DescribeStreamSummary": describe_stream_summary,
        "DisableEnhancedMonitoring": disable_enhanced_monitoring,
        "EnableEnhancedMonitoring": enable_enhanced_monitoring,
        "GetRecords": get_records,
        "GetResourcePolicy": get_resource_policy,
        "GetShardIterator": get_shard_iterator,
        "IncreaseStreamRetentionPeriod": increase_stream_retention_period,
        "ListShards": list_shards,
        "ListStreamConsumers": list_stream_consumers,
        "ListStreams": list_streams,
        "ListTagsForResource": list_tags_for_resource,
        "ListTagsForStream": list_tags_for_stream,
        "MergeShards": merge_shards,
        "PutRecord": put_record,
        "PutRecords": put_records,
        "PutResourcePolicy": put_resource_policy,
        "RegisterStreamConsumer": register_stream_consumer,
        "RemoveTagsFromStream": remove_tags_from_stream,
        "SplitShard": split_shard,
        "StartStreamEncryption": start_stream_encryption,
        "StopStreamEncryption": stop_stream_encryption,
        "SubscribeToShard": subscribe_to_shard,
        "TagResource": tag_resource,
        "UntagResource": untag_resource,
        "UpdateAccountSettings": update_account_settings,
        "UpdateMaxRecordSize": update_max_record_size,
        "UpdateShardCount": update_shard_count,
        "UpdateStreamMode": update_stream_mode,
        "UpdateStreamRecordDistributionStrategy": update_stream_record_distribution_strategy,
        "UpdateStreamWarmThroughput": update_stream_warm_throughput,
    }
)

LATER_OPERATIONS = frozenset(
    {
        "AcknowledgeDeadLetterQueueRecords",
        "AcknowledgeQueueRecords",
        "CreateChannel",
        "CreateQueue",
        "DeleteChannel",
        "DeleteQueue",
        "DescribeChannel",
        "DescribeQueue",
        "ListChannels",
        "ListQueues",
        "ReceiveDeadLetterQueueRecords",
        "ReceiveQueueRecords",
        "RestoreDeadLetterQueueRecords",
        "UpdateChannel",
        "UpdateDeadLetterQueueRecordsVisibility",
        "UpdateQueue",
        "UpdateQueueRecordsVisibility",
    }
)
