"""What is asked of SNS: certificates once in a while, and never more at a time than is good for anybody."""

import asyncio

import pytest

from streamd.core.push_sns import SnsMessage, read_sns
from streamd.errors import MessageUnproven, OutsideUnreachable
from streamd.functions.push.routes import PushRoute, PushRoutes
from streamd.functions.push.sns_desk import SnsDesk
from tests.clocks import ManualClock
from tests.core.push_samples import SNS_NOTIFICATION
from tests.core.sns_signer import signer
from tests.functions.push.doors import ACCOUNT
from tests.functions.waiting import until


class Shelf:
    """Certificates by address; who asks waits until it is open."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.urls: list[str] = []
        self.opened = asyncio.Event()
        self.opened.set()

    async def fetch(self, url: str, byte_count_max: int) -> bytes:
        """Give the certificate of the signer of the moment."""
        self.urls.append(url)
        await self.opened.wait()
        certificate = signer(self.number).certificate
        assert len(certificate) <= byte_count_max
        return certificate


def news() -> PushRoute:
    table = {
        "name": "news",
        "function": "f",
        "format": "sns",
        "auth": "none",
        "source_arn": SNS_NOTIFICATION["TopicArn"],
    }
    (route,) = PushRoutes.parse([table], account=ACCOUNT)
    return route


def message(number: int = 0, url: str = "https://sns.us-east-1.amazonaws.com/x.pem") -> SnsMessage:
    return read_sns({}, signer(number).signed({**SNS_NOTIFICATION, "SigningCertURL": url}))


async def test_a_certificate_that_was_replaced_is_fetched_again_after_a_while() -> None:
    shelf, clock = Shelf(), ManualClock()
    desk = SnsDesk(shelf, clock)
    await desk.prove(message(), news())
    shelf.number = 1
    await desk.prove(message(), news())

    with pytest.raises(MessageUnproven):
        await desk.prove(message(1), news())
    clock.advance(600_000)
    await desk.prove(message(1), news())

    assert len(shelf.urls) == 2


async def test_a_certificate_is_not_kept_for_as_long_as_the_clock_was_set_back() -> None:
    shelf, clock = Shelf(), ManualClock()
    desk = SnsDesk(shelf, clock)
    await desk.prove(message(), news())

    clock.jump(-3_600_000)
    await desk.prove(message(), news())
    clock.advance(600_000)
    await desk.prove(message(), news())

    assert len(shelf.urls) == 2


async def test_no_more_than_a_few_certificates_are_kept() -> None:
    shelf = Shelf()
    desk = SnsDesk(shelf, ManualClock())

    for number in range(70):
        await desk.prove(message(url=f"https://sns.us-east-1.amazonaws.com/{number}.pem"), news())

    assert len(desk._certificate_by_url) == 64


async def test_no_more_than_a_few_are_asked_for_at_once() -> None:
    shelf = Shelf()
    desk = SnsDesk(shelf, ManualClock())
    shelf.opened.clear()

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(desk.prove(message(), news())) for _ in range(8)]
        await until(lambda: len(shelf.urls) == 8)
        with pytest.raises(OutsideUnreachable, match="too much is being asked"):
            await desk.prove(message(), news())
        waiting[0].cancel()
        await until(waiting[0].done)
        after = group.create_task(desk.prove(message(), news()))
        await until(lambda: len(shelf.urls) == 9)
        shelf.opened.set()

    assert after.exception() is None
    assert all(task.exception() is None for task in waiting[1:])
