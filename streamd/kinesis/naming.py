"""Names of streams and consumers: by name, by ARN, or both, as the model allows; and the ARNs in answers."""

import re
from typing import NamedTuple

from streamd.core.stream import Consumer, Status, Stream
from streamd.engine.engine import Engine
from streamd.errors import StreamNotActive, StreamNotFound
from streamd.kinesis.exchange import Call
from streamd.kinesis.faults import Fault

__all__ = [
    "ConsumerName",
    "consumer_arn",
    "invalid_argument",
    "load_active_stream",
    "load_stream",
    "read_consumer_arn",
    "read_stream_arn",
    "require_active",
    "require_readable",
    "stream_arn",
    "stream_name_of",
    "stream_not_found",
]

_STREAM_ARN = re.compile(r"arn:aws[^:]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]{1,128})", re.ASCII)
_CONSUMER_ARN = re.compile(
    r"arn:aws[^:]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]{1,128})"
    r"/consumer/([a-zA-Z0-9_.-]{1,128}):(\d{1,12})",
    re.ASCII,
)


class ConsumerName(NamedTuple):
    """What a consumer's ARN says."""

    stream_name: str
    consumer_name: str
    created_s: int


def invalid_argument(sentence: str) -> Fault:
    """Make AWS's fault for an argument that cannot be used."""
    return Fault("InvalidArgumentException", sentence)


def stream_not_found(name: str, account_id: str) -> Fault:
    """Make AWS's fault for a stream that is not there."""
    return Fault("ResourceNotFoundException", f"Stream {name} under account {account_id} not found.")


def stream_arn(engine: Engine, call: Call, name: str) -> str:
    """Write a stream's ARN, in the region that the request was signed for."""
    return f"arn:aws:kinesis:{call.region}:{engine.account_id}:stream/{name}"


def consumer_arn(engine: Engine, call: Call, stream_name: str, consumer: Consumer) -> str:
    """Write a consumer's ARN, which carries the second it was registered."""
    return f"{stream_arn(engine, call, stream_name)}/consumer/{consumer.name}:{consumer.created_ms // 1000}"


def read_stream_arn(engine: Engine, arn: str) -> str:
    """Read the stream's name out of its ARN. Raises Fault: malformed, or another account's."""
    found = _STREAM_ARN.fullmatch(arn)
    if found is None:
        raise invalid_argument(f"Invalid stream ARN: {arn}")
    _, account_id, name = found.groups()
    if account_id != engine.account_id:
        raise stream_not_found(name, account_id)
    return name


def read_consumer_arn(engine: Engine, arn: str) -> ConsumerName:
    """Read what a consumer's ARN says. Raises Fault: malformed, or another account's."""
    found = _CONSUMER_ARN.fullmatch(arn)
    if found is None:
        raise invalid_argument(f"Invalid consumer ARN: {arn}")
    _, account_id, stream_name, consumer_name, created_s = found.groups()
    if account_id != engine.account_id:
        raise Fault(
            "ResourceNotFoundException",
            f"Consumer {consumer_name} with creation timestamp {created_s} "
            f"under stream: {stream_name}, account {account_id} not found.",
        )
    return ConsumerName(stream_name, consumer_name, int(created_s))


def stream_name_of(engine: Engine, call: Call) -> str:
    """Give the name of the stream that a call means. Raises Fault: neither name nor ARN, or two that differ."""
    name, arn = call.get("StreamName"), call.get("StreamARN")
    if arn is None:
        if name is None:
            raise invalid_argument("Stream arn and stream name can't be empty at the same time")
        return str(name)
    inferred = read_stream_arn(engine, arn)
    if name is not None and name != inferred:
        raise invalid_argument(f"Input stream name {name} doesn't match the inferred name in stream arn {inferred}")
    return inferred


async def load_stream(engine: Engine, call: Call) -> Stream:
    """Load the stream that a call means, whatever its state. Raises Fault and StreamNotFound."""
    return await engine.streams.load(stream_name_of(engine, call))


async def load_active_stream(engine: Engine, call: Call) -> Stream:
    """Load the stream that a call means. Raises also StreamNotActive."""
    stream = await load_stream(engine, call)
    require_active(engine, stream)
    return stream


def require_active(engine: Engine, stream: Stream) -> None:
    """Refuse a stream that is not ACTIVE. Raises StreamNotActive."""
    status = stream.status(engine.clock.now_ms())
    if status is not Status.ACTIVE:
        raise StreamNotActive(stream.name, status)


def require_readable(stream: Stream, *, now_ms: int) -> None:
    """Refuse a stream that is still being created: AWS answers as if it were not there. Raises StreamNotFound."""
    if stream.status(now_ms) is Status.CREATING:
        raise StreamNotFound(stream.name)
