"""What tests of functions are given."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemons import Daemon
from tests.functions.lambdas import lambda_client

__all__: list[str] = []


@pytest.fixture
def functions(daemon: Daemon) -> Iterator[Any]:
    """Give a boto3 client of the shared daemon's Lambda API."""
    client = lambda_client(daemon)
    yield client
    client.close()


@pytest.fixture
def name(functions: Any) -> Iterator[str]:
    """Give a function name that nobody else uses; the function is deleted after the test."""
    own = f"function-{uuid.uuid4().hex[:12]}"
    yield own
    try:
        functions.delete_function(FunctionName=own)
    except functions.exceptions.ResourceNotFoundException:
        return
