"""Work that may end its process, done in one of its own: damaged pages may end whoever reads them."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, Self, TypeVar

from tests.audit.spawning import spawning

__all__ = ["Apart", "Ended"]

Q = TypeVar("Q")
A = TypeVar("A")
_PATIENCE_S = 60


class Ended(Exception):
    """The process ended over its work; the name of the signal."""


@dataclass(slots=True)
class Apart(Generic[Q, A]):
    """A process that answers questions one after another; after one that ended it, another process goes on."""

    work: Callable[[Q], A]
    _process: SpawnProcess | None = None
    _pipe: "Connection[Q, A] | None" = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, question: Q) -> A:
        """Have a question answered. Raises Ended, and AssertionError when no answer comes."""
        if self._process is None or self._pipe is None:
            context = spawning()
            self._pipe, end = context.Pipe()
            self._process = context.Process(target=_answer, args=(end, self.work), daemon=True)
            self._process.start()
            end.close()
        try:
            self._pipe.send(question)
            assert self._pipe.poll(_PATIENCE_S), "the process hangs"
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(_PATIENCE_S)
            exit_code = self._process.exitcode
            self._end()
            assert exit_code is not None
            raise Ended(signal.Signals(-exit_code).name if exit_code < 0 else f"status {exit_code}") from None

    def _end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def _answer(pipe: "Connection[A, Q]", work: Callable[[Q], A]) -> None:
    while pipe.poll(None):
        pipe.send(work(pipe.recv()))
