"""What an operation refuses with: its code and its sentence, from a real client's error."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

__all__ = ["ACCOUNT_ID", "consumer_arn_of", "refusal", "stream_arn_of"]

ACCOUNT_ID = "000000000000"


def refusal(operation: Callable[..., Any], **members: Any) -> tuple[str, str]:
    """Call an operation that must fail; give the code and the sentence of its error."""
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def stream_arn_of(name: str, *, region: str = "us-east-1", account_id: str = ACCOUNT_ID) -> str:
    """Write the ARN of a stream."""
    return f"arn:aws:kinesis:{region}:{account_id}:stream/{name}"


def consumer_arn_of(name: str, consumer_name: str, created_s: int) -> str:
    """Write the ARN of a consumer."""
    return f"{stream_arn_of(name)}/consumer/{consumer_name}:{created_s}"
