"""Which dialect a request speaks: Kinesis posts to the root, Lambda has paths, and both share one port."""

from collections.abc import Sequence
from typing import Protocol

from streamd.core.limits import BODY_BYTE_COUNT_MAX, DEPLOY_BYTE_COUNT_MAX
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.kinesis.plain_puts import PlainPut
from streamd.server.lean_hall import Dialect

__all__ = ["TOO_LARGE", "AnswersRequests", "Dialects", "body_byte_count_max", "too_large_body"]

TOO_LARGE = "RequestEntityTooLargeException"
"""Lambda's word for a request that is larger than any may be."""

_LOGS_TARGET = "Logs_20140328."


class AnswersRequests(Protocol):
    """Answers requests. Never raises."""

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request."""
        ...


class Dialects:
    """Hands each request to the dialect that it speaks. Plain puts are Kinesis'."""

    def __init__(self, kinesis: Dialect, functions: AnswersRequests) -> None:
        self._kinesis = kinesis
        self._functions = functions

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request."""
        if _is_for_functions(request):
            return await self._functions.answer(request)
        return await self._kinesis.answer(request)

    def read_plain_put(self, request: SignedRequest) -> PlainPut | None:
        """Read a request as one of those that are answered together; None for any other."""
        return self._kinesis.read_plain_put(request) if request.path == "/" else None

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        """Store puts of one stream together and answer each, in order."""
        return await self._kinesis.answer_plain_puts(puts)


def body_byte_count_max(path: str) -> int:
    """Tell how large the body of a request to a path may be: those of the Lambda API carry packages of code."""
    return DEPLOY_BYTE_COUNT_MAX if path.startswith("/2") else BODY_BYTE_COUNT_MAX


def too_large_body(path: str) -> bytes:
    """Write what a request to a path is told that is larger than it may be; Kinesis says nothing."""
    if not path.startswith("/2"):
        return b""
    return b'{"message":"Request must be smaller than %d bytes"}' % DEPLOY_BYTE_COUNT_MAX


def _is_for_functions(request: SignedRequest) -> bool:
    # Lambda's paths begin with the date of an API version, the server's own beside it with an underscore. S3 servers
    # look for a receiver of notifications with a HEAD of the root.
    if request.path.startswith(("/2", "/_")) or request.method == "HEAD":
        return True
    return request.headers.get("x-amz-target", "").startswith(_LOGS_TARGET)
