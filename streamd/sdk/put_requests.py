"""PutRecords as a producer sends it: the body for a batch of parcels, written at once, and the rows of the answer."""

from collections.abc import Sequence

import orjson

from streamd.sdk.answers import JsonObject
from streamd.sdk.base64_text import b64encode_as_string
from streamd.sdk.failures import ServiceRefused, refusal_of
from streamd.sdk.parcels import Parcel

__all__ = ["body_of", "failure_of"]


def body_of(stream: str, batch: Sequence[Parcel]) -> bytes:
    """Write the body of a request."""
    encoded = b64encode_as_string
    entries: list[JsonObject] = [
        {"Data": encoded(parcel.data), "PartitionKey": parcel.key}
        if parcel.hash_key is None
        else {"Data": encoded(parcel.data), "PartitionKey": parcel.key, "ExplicitHashKey": parcel.hash_key}
        for parcel in batch
    ]
    return orjson.dumps({"StreamName": stream, "Records": entries})


def failure_of(row: JsonObject) -> ServiceRefused:
    """Make the error for a record that was not stored, from its row of the answer."""
    code = str(row.get("ErrorCode") or "InternalFailure")
    status = 500 if code.startswith("Internal") else 400
    return refusal_of(code, str(row.get("ErrorMessage") or ""), status=status, request_id="")
