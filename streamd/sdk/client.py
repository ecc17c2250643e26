"""A Kinesis client: one coroutine for each thing a program does with a stream.

``call`` reaches every operation of the API; the rest spare their callers the paging, waiting and member names
of the operations used most. Documents are the API's own. Works against streamd and against AWS; two things
are streamd's extensions and harmless elsewhere: ``wait_ms`` of ``get_records``, and needing no credentials.

    async with KinesisClient("http://127.0.0.1:4567") as client:
        await client.create_stream("orders", shard_count=2)
        await client.wait_until_active("orders")
        await client.put_records("orders", [{"Data": b"one", "PartitionKey": "a"}])

Without arguments the address, the region and the keys are those that boto3 would use (``settings``); without any
address that is AWS itself. Every coroutine may raise ServiceRefused (as a class below it that says why) and
ServiceUnreachable.
"""

from types import TracebackType
from typing import Self

from streamd.sdk.answers import JsonObject
from streamd.sdk.consumer_calls import ConsumerCalls
from streamd.sdk.credentials import Credentials
from streamd.sdk.failures import ServiceRefused, ServiceUnreachable, WaitTimedOut
from streamd.sdk.record_calls import IteratorType, RecordCalls
from streamd.sdk.settings import settings_of_process
from streamd.sdk.stream_calls import StreamCalls
from streamd.sdk.transport import Transport

__all__ = [
    "Credentials",
    "IteratorType",
    "JsonObject",
    "KinesisClient",
    "ServiceRefused",
    "ServiceUnreachable",
    "WaitTimedOut",
]


class KinesisClient(StreamCalls, RecordCalls, ConsumerCalls):
    """Calls one endpoint; use it inside ``async with``, and share it between tasks."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        region: str | None = None,
        profile: str | None = None,
        credentials: Credentials | None = None,
        connection_count_max: int = 64,
    ) -> None:
        """Take an address like ``http://127.0.0.1:4567``; what is not given is found as boto3 finds it.

        Raises ConfigInvalid for settings that are wrong, missing or not supported.
        """
        settings = settings_of_process(endpoint=endpoint, region=region, profile=profile, credentials=credentials)
        super().__init__(
            Transport(
                settings.endpoint,
                region=settings.region,
                credentials=settings.credentials,
                connection_count_max=connection_count_max,
            )
        )

    @property
    def endpoint(self) -> str:
        """The address every call goes to."""
        return self._transport.endpoint

    @property
    def region(self) -> str:
        """The region every call is signed for."""
        return self._transport.region

    @property
    def transport(self) -> Transport:
        """What sends the calls: for what is built on the client, like the Producer."""
        return self._transport

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()
