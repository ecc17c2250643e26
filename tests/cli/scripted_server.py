"""A server that answers each operation with what a test lined up, to show a client faults that ours never makes."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

__all__ = ["Asked", "ScriptedServer"]


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    operation: str
    headers: Mapping[str, str]
    document: Any


@dataclass
class ScriptedServer:
    """Answers in the order in which `will_answer` was called, by operation; the last answer stays."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _answers: dict[str, deque[tuple[int, bytes]]] = field(default_factory=dict)
    _runner: web.ServerRunner | None = None

    def will_answer(self, operation: str, document: Any, *, status: int = 200) -> None:
        """Line up an answer; bytes are sent as they are."""
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        self._answers.setdefault(operation, deque()).append((status, body))

    def will_refuse(self, operation: str, code: str, *, status: int = 400) -> None:
        """Line up an error."""
        self.will_answer(operation, {"__type": code, "message": "as the script says"}, status=status)

    def documents(self, operation: str) -> list[Any]:
        """List what an operation was asked for."""
        return [asked.document for asked in self.asked if asked.operation == operation]

    async def start(self) -> None:
        """Listen."""
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        self.asked.append(Asked(operation, request.headers, orjson.loads(await request.content.read())))
        answers = self._answers[operation]
        status, body = answers.popleft() if len(answers) > 1 else answers[0]
        return web.Response(status=status, body=body, content_type="application/x-amz-json-1.1")
