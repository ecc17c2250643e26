"""Repeats: full jitter, and a budget after which errors are raised at once; errors by their classes."""

import asyncio

import pytest

from streamd.core.retry_budget import CAPACITY, RETRY_COST
from streamd.errors import StreamdError
from streamd.sdk.client import KinesisClient
from streamd.sdk.failures import (
    CallerRefused,
    InUse,
    IteratorExpired,
    NotFound,
    RequestInvalid,
    ServiceFaltered,
    ServiceRefused,
    ServiceUnreachable,
    Throttled,
)
from tests.cli.scripted_server import ScriptedServer


async def test_when_nothing_succeeds_the_budget_ends_and_errors_come_at_once(scripted: ScriptedServer) -> None:
    scripted.will_refuse("DescribeLimits", "InternalFailureException", status=500)
    call_count = 60

    async with KinesisClient(scripted.url) as client:
        calls = [client.call("DescribeLimits") for _ in range(call_count)]
        endings = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(ending, ServiceFaltered) for ending in endings)
    assert len(scripted.asked) == call_count + CAPACITY // RETRY_COST


async def test_success_fills_the_budget_again(scripted: ScriptedServer) -> None:
    scripted.will_refuse("DescribeLimits", "InternalFailureException", status=500)
    scripted.will_answer("ListStreams", {"StreamSummaries": [], "StreamNames": []})

    async with KinesisClient(scripted.url) as client:
        await asyncio.gather(*[client.call("DescribeLimits") for _ in range(60)], return_exceptions=True)
        for _ in range(RETRY_COST):
            await client.list_streams()
        asked = len(scripted.asked)
        with pytest.raises(ServiceFaltered):
            await client.call("DescribeLimits")

    assert len(scripted.asked) == asked + 2


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ResourceNotFoundException", 400, NotFound),
        ("ResourceInUseException", 400, InUse),
        ("ExpiredIteratorException", 400, IteratorExpired),
        ("ValidationException", 400, RequestInvalid),
        ("InvalidArgumentException", 400, RequestInvalid),
        ("UnrecognizedClientException", 400, CallerRefused),
        ("AccessDeniedException", 400, CallerRefused),
        ("SomethingElseException", 400, ServiceRefused),
    ],
)
async def test_an_error_has_the_class_that_says_why(
    scripted: ScriptedServer, code: str, status: int, kind: type[ServiceRefused]
) -> None:
    scripted.will_refuse("DescribeLimits", code, status=status)

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(ServiceRefused) as caught:
            await client.call("DescribeLimits")

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ProvisionedThroughputExceededException", 400, Throttled),
        ("AnyWord", 429, Throttled),
        ("InternalFailureException", 500, ServiceFaltered),
    ],
)
async def test_what_may_succeed_later_is_told_by_its_class(
    scripted: ScriptedServer, code: str, status: int, kind: type[ServiceRefused]
) -> None:
    scripted.will_refuse("DescribeLimits", code, status=status)

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(kind) as caught:
            await client.transport.call_once("DescribeLimits", b"{}")

    assert isinstance(caught.value, ServiceRefused)
    assert caught.value.is_temporary
    assert len(scripted.asked) == 1


def test_all_errors_have_one_base() -> None:
    assert issubclass(ServiceRefused, StreamdError)
    assert issubclass(ServiceUnreachable, StreamdError)
