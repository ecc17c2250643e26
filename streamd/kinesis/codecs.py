"""The two languages of the Kinesis dialect, JSON 1.1 and CBOR 1.1, behind one value each.

A request is answered in the language it came in, errors too: a Java client that sent CBOR fails on a
JSON error. `decode` gives plain values and raises only `SerializationFailed`; `encode` takes plain
dictionaries in which blobs are `bytes` and moments are `Timestamp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamd.core.moments import Timestamp
from streamd.kinesis.codecs_cbor import decode_cbor, encode_cbor, encode_records_cbor
from streamd.kinesis.codecs_json import decode_json, encode_json, encode_records_json
from streamd.kinesis.codecs_values import RecordColumns
from streamd.kinesis.faults import Fault

__all__ = ["CBOR", "JSON", "PLAIN_JSON", "Codec", "RecordColumns", "Timestamp", "codec_of"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One language: how a body becomes a document, and a document a body."""

    content_type: str
    decode: Callable[[bytes], object]
    encode: Callable[[Mapping[str, object]], bytes]
    encode_records: Callable[[RecordColumns, Mapping[str, object]], bytes]

    def encode_fault(self, fault: Fault) -> bytes:
        """Return the body of an answer that says no."""
        return self.encode(fault.document())


JSON = Codec("application/x-amz-json-1.1", decode_json, encode_json, encode_records_json)
PLAIN_JSON = replace(JSON, content_type="application/json")
CBOR = Codec("application/x-amz-cbor-1.1", decode_cbor, encode_cbor, encode_records_cbor)

_CODEC_BY_CONTENT_TYPE = {codec.content_type: codec for codec in (JSON, PLAIN_JSON, CBOR)}


def codec_of(content_type: str | None) -> Codec | None:
    """Return the codec of a content type, whatever follows its semicolon, or None if it is unknown."""
    if content_type is None:
        return None
    return _CODEC_BY_CONTENT_TYPE.get(content_type.partition(";")[0].strip().lower())
