"""A whole Kinesis inside a test's own process: the server's own operations, log and errors, without a port or a daemon.

Requests go through everything that a client's do, the repeats and their budget too, and are handed to the dialect
instead of a socket. Records lie in a folder in memory (``/dev/shm``) where the system has one, else in a temporary one,
and are gone with the client.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Final, Self

from streamd.config import AccountConfig
from streamd.engine.clock import Clock, SystemClock
from streamd.engine.engine import Engine
from streamd.engine.retention import Janitor
from streamd.errors import StoreFailed
from streamd.kinesis.operation import KinesisDialect
from streamd.metrics import Metrics
from streamd.sdk.client import KinesisClient
from streamd.sdk.credentials import CREDENTIALS_STAND_IN
from streamd.sdk.testing.memory_transport import NO_ADDRESS, MemoryTransport
from streamd.server.auth import Authenticator
from streamd.storage.counters import Counters
from streamd.storage.directory import DataDirectory
from streamd.storage.environment import Environment
from streamd.storage.store import Store

__all__ = ["MemoryKinesis"]

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made below it
_SIZE_MAX: Final = 1 << 30


class MemoryKinesis(KinesisClient):
    """A client with a Kinesis of its own, which is empty at the start; it is taken wherever a KinesisClient is.

    ``clock`` tells what time it is there: one that a test moves makes records expire and iterators grow old at once.
    With ``limits`` the rates of a shard are AWS's, and what is over them is refused as there.
    """

    def __init__(self, *, clock: Clock | None = None, limits: bool = False, region: str = "us-east-1") -> None:
        super().__init__(NO_ADDRESS, region=region, credentials=CREDENTIALS_STAND_IN)
        self._clock = clock or SystemClock()
        self._account = AccountConfig(region=region, limits_mode="aws" if limits else "off")
        self._opened = AsyncExitStack()
        self._janitor: Janitor | None = None

    async def __aenter__(self) -> Self:
        folder = Path(mkdtemp(prefix="streamd-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self._opened.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            self._transport = await self._opened.enter_async_context(self._open(folder))
        except BaseException:
            await self._opened.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    async def expire(self) -> None:
        """Free the room of what is older than its stream's retention now; nobody can read it before either."""
        assert self._janitor is not None, "a client is used inside `async with`"
        await self._janitor.sweep()

    @asynccontextmanager
    async def _open(self, folder: Path) -> AsyncIterator[MemoryTransport]:
        """Open the rooms of a server on a folder, and close them again."""
        directory = DataDirectory(folder).open()
        metrics, clock, failures = Metrics(), self._clock, list[StoreFailed]()
        environment = Environment(directory.log_path, size_max=_SIZE_MAX)
        store = Store(environment, now_ms=clock.now_ms, metrics=metrics, on_failure=failures.append)
        counters = Counters(directory.counters_path)
        try:
            engine = Engine.on(
                store,
                counters=counters,
                clock=clock,
                metrics=metrics,
                account=self._account,
                master_key=lambda: directory.master_key(None),
                token_secret=directory.token_secret(),
            )
            self._janitor = Janitor(store, engine.streams, engine.resharder, clock, metrics)
            # Requests are signed by the machine's clock, whatever time it is in the streams.
            authenticator = Authenticator(None, SystemClock().now_ms, region=self._account.region)
            dialect = KinesisDialect(engine, authenticator)
            yield MemoryTransport(dialect, region=self._account.region, credentials=CREDENTIALS_STAND_IN)
        finally:
            await store.close()
            counters.close()
            directory.close()
