"""What these tests talk to: moto as the services elsewhere, and a way out."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import boto3
import pytest
from botocore.config import Config

from streamd.server.outbound import Outbound

__all__: list[str] = []


@pytest.fixture
def elsewhere(moto_url: str) -> Iterator[Callable[[str], Any]]:
    """Give boto3 clients of moto, by service."""
    made: list[Any] = []

    def client(service: str) -> Any:
        made.append(
            boto3.client(
                service,
                endpoint_url=moto_url,
                region_name="us-east-1",
                aws_access_key_id="AKIAEXAMPLE",
                aws_secret_access_key="secret-for-tests-only",
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """Give the real way out."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(Outbound())
