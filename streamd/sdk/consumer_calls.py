"""What a program does with registered consumers: registers and finds them, and has records pushed to them."""

from collections.abc import AsyncGenerator

from streamd.sdk.answers import JsonObject
from streamd.sdk.calls import Calls

__all__ = ["ConsumerCalls"]


class ConsumerCalls(Calls):
    """The operations on registered consumers (enhanced fan-out)."""

    async def register_stream_consumer(self, stream_arn: str, consumer: str) -> JsonObject:
        """Register a consumer of a stream and give its Consumer; it can be used once its status is ACTIVE."""
        answer = await self.call("RegisterStreamConsumer", {"StreamARN": stream_arn, "ConsumerName": consumer})
        registered: JsonObject = answer["Consumer"]
        return registered

    async def deregister_stream_consumer(self, consumer_arn: str) -> None:
        """End a consumer; its subscriptions end with it."""
        await self.call("DeregisterStreamConsumer", {"ConsumerARN": consumer_arn})

    async def describe_stream_consumer(
        self, *, consumer_arn: str | None = None, stream_arn: str | None = None, consumer: str | None = None
    ) -> JsonObject:
        """Give a ConsumerDescription, by the consumer's ARN or by its name and its stream's ARN."""
        found = {"ConsumerARN": consumer_arn, "StreamARN": stream_arn, "ConsumerName": consumer}
        answer = await self.call(
            "DescribeStreamConsumer", {name: value for name, value in found.items() if value is not None}
        )
        description: JsonObject = answer["ConsumerDescription"]
        return description

    async def list_stream_consumers(self, stream_arn: str) -> list[JsonObject]:
        """List a stream's consumers, all pages of them."""
        document: JsonObject = {"StreamARN": stream_arn}
        consumers: list[JsonObject] = []
        while True:
            answer = await self.call("ListStreamConsumers", document)
            consumers += answer["Consumers"]
            if not answer.get("NextToken"):
                return consumers
            document = {"StreamARN": stream_arn, "NextToken": answer["NextToken"]}

    def subscribe_to_shard(
        self, consumer_arn: str, shard_id: str, starting_position: JsonObject
    ) -> AsyncGenerator[JsonObject, None]:
        """Have a shard's records pushed, for 5 minutes at most; then subscribe again from where the last event ended.

        ``starting_position`` is like ``{"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "49…"}``. Gives events:
        ``Records`` (each with its ``Data`` as bytes, none in an event that only tells that all is well),
        ``MillisBehindLatest``, and ``ContinuationSequenceNumber``, or at the end of a closed shard ``ChildShards``.
        Close it (``contextlib.aclosing``) to hang up. The call is sent once and not repeated; it raises ServiceRefused
        and ServiceUnreachable, at once or after some events.
        """
        document = {"ConsumerARN": consumer_arn, "ShardId": shard_id, "StartingPosition": starting_position}
        return self._transport.events("SubscribeToShard", document)
