"""The server's own pages: is it alive, may it be sent work, and what has it counted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson

from streamd.engine.engine import Engine
from streamd.metrics import CONTENT_TYPE, expose
from streamd.server.figures import store_figures

__all__ = ["Page", "pages"]

_JSON = "application/json"

Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""A page of the server's own: status, content type, body."""


def pages(engine: Engine, *, metrics_folder: str, about: Callable[[], Mapping[str, object]]) -> dict[str, Page]:
    """Make the pages by path; ``about`` tells what else is worth knowing of a server that is ready."""

    async def healthz() -> tuple[int, str, bytes]:
        return 200, _JSON, orjson.dumps({"status": "ok"})

    async def readyz() -> tuple[int, str, bytes]:
        # A read goes through the store, so an environment that was lost is noticed too.
        await engine.store.version("account/settings")
        if (failure := engine.store.failure) is not None:
            return 503, _JSON, orjson.dumps({"status": "not ready", "reason": str(failure)})
        return 200, _JSON, orjson.dumps({"status": "ready", **about()})

    async def metrics() -> tuple[int, str, bytes]:
        figures = await store_figures(engine)
        # With thousands of streams the text takes a while to write, and puts must not wait for it.
        return 200, CONTENT_TYPE, await asyncio.to_thread(expose, metrics_folder, figures)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
