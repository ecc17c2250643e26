"""The way to the functions of a daemon, which are put together when they are first needed.

At the start if there are any or if they have settings, else by the first request for them: a daemon that only has
streams loads none of their modules, looks for no interpreters and tries no sandboxes.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from streamd.config import Config
from streamd.core.replies import Reply
from streamd.core.sigv4 import SignedRequest
from streamd.engine.engine import Engine
from streamd.server.auth import Authenticator
from streamd.storage.directory import DataDirectory

if TYPE_CHECKING:
    from streamd.assembly import FunctionsRoom

__all__ = ["FunctionsDoor"]

_ASSEMBLY = "streamd.assembly"
_PREFIXES = ("function/", "layer/", "mapping/")


class FunctionsDoor:
    """Answers requests for functions. ``run`` is the parent of everything that runs for them."""

    def __init__(
        self,
        config: Config,
        directory: DataDirectory,
        engine: Engine,
        authenticator: Authenticator,
        *,
        gateway: Callable[[], asyncio.Protocol],
        tls_port: int | None,
    ) -> None:
        self._config = config
        self._directory = directory
        self._engine = engine
        self._authenticator = authenticator
        self._gateway = gateway
        self._tls_port = tls_port
        self._wanted = asyncio.Event()
        self._built = asyncio.Event()
        self._room: FunctionsRoom | None = None

    async def look(self) -> None:
        """See whether there are functions already. Raises ConfigInvalid for settings that cannot be used."""
        if self._config.functions.settings is not None:
            self._room = await self._build()
        if self._room is not None or any([await self._engine.store.scan(each, limit=1) for each in _PREFIXES]):
            self._wanted.set()

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request; the first waits until everything is built."""
        self._wanted.set()
        await self._built.wait()
        assert self._room is not None
        return await self._room.answer(request)

    def about(self) -> dict[str, Any]:
        """Tell of the sandbox, for whoever asks whether the server is ready."""
        if self._room is None:
            return {"functions": {"sandbox": None, "reason": "no function was asked for yet"}}
        return self._room.about()

    async def drain(self) -> None:
        """Begin nothing more by itself, and wait a while until what is in hand is over; requests are still answered."""
        if self._room is not None:
            await self._room.drain()

    async def run(self) -> NoReturn:
        """Build everything when it is needed, and run it until cancelled. Raises ConfigInvalid."""
        await self._wanted.wait()
        room = self._room or await self._build()
        self._room = room
        self._built.set()
        await room.run()

    async def _build(self) -> "FunctionsRoom":
        # On a thread: there are many modules, and puts must not wait for them.
        module = await asyncio.to_thread(importlib.import_module, _ASSEMBLY)
        room: FunctionsRoom = module.FunctionsRoom(
            self._config,
            self._directory,
            self._engine,
            self._authenticator,
            gateway=self._gateway,
            tls_port=self._tls_port,
        )
        await room.load()
        return room
