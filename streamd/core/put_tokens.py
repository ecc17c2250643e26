"""By what a repeated put is known: its producer's id and the number that the producer gave the request.

An extension of streamd. Both come in headers of PutRecord and PutRecords; a producer gives each new request the next
number, and sends a request whose answer it did not get again with the same number and the same records.
"""

import re
from typing import Final, NamedTuple

__all__ = ["PRODUCER_HEADER", "SEQUENCE_HEADER", "PutToken", "Remembered", "read_put_token"]

PRODUCER_HEADER: Final = "x-streamd-producer-id"
SEQUENCE_HEADER: Final = "x-streamd-producer-sequence"

_PRODUCER_ID: Final = re.compile("[0-9a-f]{32}")
_SEQUENCE: Final = re.compile("[1-9][0-9]{0,17}")


class PutToken(NamedTuple):
    """A producer's 16 bytes, and the number of its request."""

    producer_id: bytes
    sequence: int


class Remembered(NamedTuple):
    """What became of a request's records for one shard, the first time: so many, the first ones, are stored.

    The others were refused, and are refused whenever the request comes again.
    """

    first_position: int
    arrival_ms: int
    record_count: int
    is_repeat: bool


def read_put_token(producer_id: str | None, sequence: str | None) -> PutToken | None:
    """Read the two headers; None where neither was sent. Raises ValueError where they are no token."""
    if producer_id is None and sequence is None:
        return None
    if producer_id is None or _PRODUCER_ID.fullmatch(producer_id) is None:
        raise ValueError(f"{PRODUCER_HEADER} must be 32 hexadecimal digits in lower case")
    if sequence is None or _SEQUENCE.fullmatch(sequence) is None:
        raise ValueError(f"{SEQUENCE_HEADER} must be a decimal number from 1 to 999999999999999999")
    return PutToken(bytes.fromhex(producer_id), int(sequence))
