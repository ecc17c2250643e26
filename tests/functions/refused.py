"""Calls that are to be refused, and what the refusal says."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

__all__ = ["Refusal", "refusal_of"]


class Refusal(NamedTuple):
    """What a refused call was told."""

    status: int
    code: str
    message: str


def refusal_of(call: Callable[..., Any], **members: Any) -> Refusal:
    """Make a call that must be refused, and give its refusal."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    error = answer["Error"]
    return Refusal(
        answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error.get("Message") or answer.get("message", "")
    )
