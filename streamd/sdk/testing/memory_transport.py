"""Calls that stay in the process: whatever a client's transport does, but for the socket."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from streamd.core.event_stream import Message, decode
from streamd.core.replies import Reply
from streamd.core.sigv4 import Credentials, SignedRequest
from streamd.sdk.answers import Answer, document_of
from streamd.sdk.credentials import FixedCredentials
from streamd.sdk.transport import Transport
from streamd.server.dialects import AnswersRequests

__all__ = ["NO_ADDRESS", "MemoryTransport"]

NO_ADDRESS = "http://memory.invalid"
"""Stands where an endpoint would: nothing is ever sent there, and no name below ``invalid`` leads anywhere."""


class MemoryTransport(Transport):
    """Hands requests to a dialect."""

    def __init__(self, dialect: AnswersRequests, *, region: str, credentials: Credentials) -> None:
        super().__init__(
            "http://memory.invalid",
            region=region,
            credentials=FixedCredentials(credentials),
            connection_count_max=1_000_000,
        )
        self._dialect = dialect

    async def open(self) -> None:
        """Do nothing: there are no connections."""

    async def _send(self, body: bytes, headers: Mapping[str, str], *, wait_ms: int) -> Answer:  # noqa: ARG002 - a header tells
        reply = await self._ask(body, headers)
        assert reply.frames is None, "an operation that answers with events is asked for them"
        return _answer(reply)

    async def _messages(
        self, operation: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncGenerator[tuple[Message, str], None]:
        reply = await self._ask(body, headers)
        if reply.frames is None:
            document_of(operation, _answer(reply))
            raise AssertionError("an operation without events has none to give")
        request_id = _answer(reply).headers.get("x-amzn-RequestId", "")
        async with aclosing(reply.frames) as frames:
            async for frame in frames:
                yield decode(frame), request_id

    async def _ask(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        lowered = {name.lower(): value for name, value in headers.items()}
        return await self._dialect.answer(SignedRequest("POST", "/", "", lowered, body))


def _answer(reply: Reply) -> Answer:
    return Answer(reply.status, reply.headers, reply.body)
