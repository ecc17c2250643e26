"""A reader of pushed answers that knows no SDK: HTTP by http.client, messages by their lengths."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cbor2
import orjson

from streamd.core.event_stream import PRELUDE_BYTE_COUNT, Message, decode, whole_byte_count

__all__ = ["Pushed", "pushed"]

_PATIENCE_S = 30
_CBOR = "application/x-amz-cbor-1.1"


@dataclass(frozen=True)
class Pushed:
    """An answer that goes on coming."""

    response: http.client.HTTPResponse

    def messages(self) -> Iterator[Message]:
        """Give the messages as they come, to the end."""
        while prelude := self.response.read(PRELUDE_BYTE_COUNT):
            rest = whole_byte_count(prelude) - len(prelude)
            yield decode(prelude + self.response.read(rest))

    def document(self) -> Any:
        """Give the whole body of an answer that is no event stream."""
        return _document(self.response.read(), self.response.headers["content-type"])

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Give the kind of each message, and what it says."""
        for message in self.messages():
            kind = message.headers.get(":event-type") or message.headers[":exception-type"]
            yield kind, _document(message.payload, message.headers[":content-type"])


@contextmanager
def pushed(port: int, members: dict[str, Any], *, codec: str = "json", is_chunked: bool = False) -> Iterator[Pushed]:
    """Ask for a subscription over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    content_type = f"application/x-amz-{codec}-1.1"
    body = orjson.dumps(members) if codec == "json" else cbor2.dumps(members)
    headers = {"content-type": content_type, "x-amz-target": "Kinesis_20131202.SubscribeToShard"}
    try:
        if is_chunked:
            connection.request("POST", "/", iter([body]), headers, encode_chunked=True)
        else:
            connection.request("POST", "/", body, headers)
        with connection.getresponse() as response:
            yield Pushed(response)
    finally:
        connection.close()


def _document(content: bytes, content_type: str) -> Any:
    if content_type == _CBOR:
        # Kinesis writes milliseconds under the tag of seconds, which is no date to others.
        return cbor2.loads(content, semantic_decoders={1: lambda value, _: value})
    return orjson.loads(content)
