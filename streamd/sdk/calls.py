"""What every group of the client's coroutines stands on: a way to call any operation."""

from streamd.sdk.answers import JsonObject
from streamd.sdk.transport import Transport

__all__ = ["Calls"]


class Calls:
    """Calls one endpoint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def call(self, operation: str, document: JsonObject | None = None) -> JsonObject:
        """Call any operation by its name in the API, like ``"DescribeLimits"``.

        Raises ServiceRefused and ServiceUnreachable, as every coroutine here does.
        """
        return await self._transport.call(operation, document or {})
