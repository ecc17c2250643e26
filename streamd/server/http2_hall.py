"""What the HTTP/2 connections of a worker share."""

import asyncio
import logging
import time
from collections.abc import Mapping
from email.utils import formatdate

from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.server.lean_hall import LeanHall
from streamd.server.pages import Page
from streamd.server.put_lanes import Asker

__all__ = ["Http2Hall"]

_LOG = logging.getLogger(__name__)
# A stream holds what a connection of HTTP/1.1 holds, so a worker has as many of them.
_STREAM_COUNT_MAX = 20_000


class Http2Hall:
    """Bounds the streams of all connections together; connections themselves are the lean hall's to bound and end."""

    def __init__(self, lean: LeanHall, pages: Mapping[str, Page]) -> None:
        self.lean = lean
        self._pages = pages
        self.stream_count = 0
        self._date_s = 0
        self._date = b""

    def has_room(self) -> bool:
        """Tell whether one more stream may be opened."""
        return self.stream_count < _STREAM_COUNT_MAX

    def date(self) -> bytes:
        """Give the time as answers' heads have it; written anew once a second."""
        now_s = int(time.time())
        if self._date_s != now_s:
            self._date_s, self._date = now_s, formatdate(now_s, usegmt=True).encode()
        return self._date

    @property
    def group(self) -> asyncio.TaskGroup:
        """The parent of every task."""
        assert self.lean.group is not None
        return self.lean.group

    def take(self, asker: Asker, request: SignedRequest) -> None:
        """Have a request answered: what is posted as over HTTP/1.1, a page by whoever writes it."""
        if request.method == "POST":
            self.lean.take(asker, request)
        elif request.method in ("GET", "HEAD") and (page := self._pages.get(request.path)) is not None:
            self.group.create_task(self._show(asker, page))
        else:
            self.group.create_task(self.lean.answer(asker, request))

    async def _show(self, asker: Asker, page: Page) -> None:
        try:
            status, content_type, content = await page()
        except Exception:  # a page that cannot be written is no reason to end the worker
            _LOG.exception("a page could not be written")
            asker.reply(Reply(500, b""))
            return
        asker.reply(Reply(status, f"Content-Type: {content_type}\r\n".encode(), content))
