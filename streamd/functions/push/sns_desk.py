"""Where SNS's messages are proven, and subscriptions confirmed: whatever needs something fetched from SNS.

Nothing is fetched but from a host that the route lists. Certificates are kept, a bounded number of them; so is the
number of fetches under way, since whoever may push could make the server ask again and again.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from streamd.core.push_sns import SnsKind, SnsMessage
from streamd.core.sns_signatures import require_certificate_url, require_url, verify_sns
from streamd.engine.clock import Clock
from streamd.errors import MessageUnproven, OutsideUnreachable
from streamd.functions.push.routes import PushRoute

__all__ = ["Fetches", "SnsDesk"]

_LOG = logging.getLogger(__name__)
_CERTIFICATE_COUNT_MAX: Final = 64
# A server of one's own makes itself another certificate at its next start, under the same address.
_CERTIFICATE_AGE_MS_MAX: Final = 600_000
_CERTIFICATE_BYTE_COUNT_MAX: Final = 64 << 10
_ANSWER_BYTE_COUNT_MAX: Final = 64 << 10
_FETCH_COUNT_MAX: Final = 8


class Fetches(Protocol):
    """Gets what lies at an address, following no redirect: it could lead to a host that nobody listed."""

    async def fetch(self, url: str, byte_count_max: int) -> bytes:
        """Get it. Raises OutsideUnreachable: no answer, one that is too large, or any status but 200."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    """A certificate that proved a message, and until when it is used without being fetched again."""

    certificate: bytes
    until_ticks_ms: int


class SnsDesk:
    """Proves messages and confirms subscriptions."""

    def __init__(self, fetches: Fetches, clock: Clock) -> None:
        self._fetches = fetches
        self._clock = clock
        self._certificate_by_url: OrderedDict[str, _Kept] = OrderedDict()
        self._fetch_count = 0

    async def prove(self, message: SnsMessage, route: PushRoute) -> None:
        """Find out whether a message is SNS's, and from a topic of the route. Raises MessageUnproven.

        Raises OutsideUnreachable when the certificate could not be had just now.
        """
        if not route.takes_from(message.topic):
            raise MessageUnproven(f"the topic {message.topic} is not the route's")
        if not route.sns.is_verified:
            return
        url = message.certificate_url
        if not url:
            raise MessageUnproven("the SNS message carries no signature")
        require_certificate_url(url, hosts=route.sns.hosts, is_http_allowed=route.sns.is_http_allowed)
        now_ms, ticks_ms = self._clock.now_ms(), self._clock.ticks_ms()
        kept = self._certificate_by_url.get(url)
        if kept is not None and ticks_ms < kept.until_ticks_ms:
            verify_sns(message, kept.certificate, now_ms=now_ms)
            return
        certificate = await self._fetch(url, _CERTIFICATE_BYTE_COUNT_MAX)
        verify_sns(message, certificate, now_ms=now_ms)
        # Only what proved a message is kept: nobody can push the good ones out with others.
        self._certificate_by_url[url] = _Kept(certificate, ticks_ms + _CERTIFICATE_AGE_MS_MAX)
        self._certificate_by_url.move_to_end(url)
        if len(self._certificate_by_url) > _CERTIFICATE_COUNT_MAX:
            self._certificate_by_url.popitem(last=False)

    async def settle(self, message: SnsMessage, route: PushRoute) -> str:
        """Do what a proven message about a subscription asks for; what was done, as a word.

        Raises MessageUnproven for an address that the route does not list, and OutsideUnreachable.
        """
        if message.kind is SnsKind.UNSUBSCRIPTION:
            _LOG.warning("push route %r is no longer subscribed to %s", route.name, message.topic)
            return "unsubscribed"
        url = message.subscribe_url
        require_url(url, what="SubscribeURL", hosts=route.sns.hosts, is_http_allowed=route.sns.is_http_allowed)
        await self._fetch(url, _ANSWER_BYTE_COUNT_MAX)
        _LOG.info("push route %r is subscribed to %s", route.name, message.topic)
        return "subscribed"

    async def _fetch(self, url: str, byte_count_max: int) -> bytes:
        if self._fetch_count >= _FETCH_COUNT_MAX:
            raise OutsideUnreachable("too much is being asked of SNS at once")
        self._fetch_count += 1
        try:
            return await self._fetches.fetch(url, byte_count_max)
        finally:
            self._fetch_count -= 1
