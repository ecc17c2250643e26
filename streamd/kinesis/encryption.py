"""Encryption at rest: StartStreamEncryption and StopStreamEncryption.

There is no key service behind this server: a key's name is kept and shown as it was given, and each start makes a new
data key that the server's own master key wraps. What was written before a start or a stop stays readable.
"""

import re
from dataclasses import replace

from streamd.core.stream import Stream
from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.naming import invalid_argument, require_active, stream_name_of
from streamd.kinesis.quotas import with_daily_change

__all__ = ["start_stream_encryption", "stop_stream_encryption"]

_CHANGE_COUNT_MAX = 25
_KEY = r"(mrk-[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"
_ALIAS = r"alias/[a-zA-Z0-9/_-]{1,250}"
_KEY_ID = re.compile(rf"{_KEY}|{_ALIAS}|arn:aws[^:]*:kms:[^:]+:\d{{12}}:(key/{_KEY}|{_ALIAS})", re.ASCII)


async def start_stream_encryption(engine: Engine, call: Call) -> Answer:
    """Encrypt the records to come, under a new data key. Raises Fault and StreamNotFound."""
    _require_kms(call)

    def decide(stream: Stream) -> Stream:
        require_active(engine, stream)
        starts_ms = with_daily_change(engine, stream, stream.encryption_starts_ms, at_most=_CHANGE_COUNT_MAX)
        changed = replace(engine.keys.start(stream, key_id=_key_id(call)), encryption_starts_ms=starts_ms)
        return changed.updating(now_ms=engine.clock.now_ms(), transition_ms=engine.transition_ms)

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


async def stop_stream_encryption(engine: Engine, call: Call) -> Answer:
    """Write the records to come as they are. Raises Fault and StreamNotFound."""
    _require_kms(call)

    def decide(stream: Stream) -> Stream:
        require_active(engine, stream)
        if stream.encryption.key_id is None:
            raise invalid_argument("Cannot stop encrypting an unencrypted stream.")
        stops_ms = with_daily_change(engine, stream, stream.encryption_stops_ms, at_most=_CHANGE_COUNT_MAX)
        # Any name of a key will do, as an alias and an ARN may name the same one.
        _key_id(call)
        changed = replace(engine.keys.stop(stream), encryption_stops_ms=stops_ms)
        return changed.updating(now_ms=engine.clock.now_ms(), transition_ms=engine.transition_ms)

    await engine.streams.change(stream_name_of(engine, call), decide)
    return None


def _require_kms(call: Call) -> None:
    if call.members["EncryptionType"] != "KMS":
        raise invalid_argument("The only supported encryption type is KMS.")


def _key_id(call: Call) -> str:
    key_id: str = call.members["KeyId"]
    if _KEY_ID.fullmatch(key_id) is None:
        raise invalid_argument(
            f"KeyId {key_id} is not valid. Use the ID, the ARN, an alias or the ARN of an alias of a KMS key."
        )
    return key_id
