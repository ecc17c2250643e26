"""The faults that AWS's Kinesis answers with: a code, a sentence and an HTTP status.

A fault is raised where the dialect knows what AWS would say, and `kinesis.operation` turns it into an
answer. It promises AWS's own body: `__type` first, then the sentence under `message`, except in a
`SerializationException`, which spells `Message` with a capital. It refuses to hold a traceback or
anything else the caller must not see.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "Fault",
    "InternalFailure",
    "MessageKey",
    "SerializationFailed",
    "UnknownOperation",
    "ValidationFailed",
]

MessageKey = Literal["message", "Message"]


class Fault(Exception):
    """An answer that says no, in AWS's words."""

    def __init__(
        self,
        code: str,
        sentence: str | None = None,
        *,
        status: int = 400,
        message_key: MessageKey = "message",
    ) -> None:
        """Hold what the answer says; without a sentence the body has no message at all."""
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence
        self.status = status
        self.message_key: MessageKey = message_key

    def __str__(self) -> str:
        """Return the code and the sentence, for logs."""
        return self.code if self.sentence is None else f"{self.code}: {self.sentence}"

    def document(self) -> dict[str, object]:
        """Return the body of the answer, to be encoded by the request's own codec."""
        if self.sentence is None:
            return {"__type": self.code}
        return {"__type": self.code, self.message_key: self.sentence}


class SerializationFailed(Fault):
    """A body that cannot be read, or a member of the wrong type."""

    def __init__(self, sentence: str | None = None) -> None:
        """Hold the sentence; a body that does not parse at all has none."""
        super().__init__("SerializationException", sentence, message_key="Message")


class ValidationFailed(Fault):
    """Members that break the constraints of the service model."""

    def __init__(self, sentence: str) -> None:
        """Hold the sentence that lists every broken constraint."""
        super().__init__("ValidationException", sentence)


class UnknownOperation(Fault):
    """A target that names no operation of this service."""

    def __init__(self) -> None:
        """Hold nothing: AWS answers this fault without a sentence."""
        super().__init__("UnknownOperationException")


class InternalFailure(Fault):
    """A failure that is the server's own, such as a full disk."""

    def __init__(self, sentence: str) -> None:
        """Hold a sentence that says what failed."""
        super().__init__("InternalFailureException", sentence, status=500)
