"""A push door over a real socket: the real queue on a real store, real functions, and an SNS of the test's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from streamd.core.function import Configuration, Function, Statements
from streamd.errors import QueueFull
from streamd.functions.calls import Answer, Call, Route
from streamd.functions.faults import Fault
from streamd.functions.host import Enqueues
from streamd.functions.naming import Account
from streamd.functions.push.door import PushDoor
from streamd.functions.push.policies import RegistryPolicies
from streamd.functions.push.routes import PushRoutes
from streamd.functions.push.sns_desk import SnsDesk
from streamd.functions.queue.event_queue import EventQueue
from streamd.functions.queue.events import QueuedEvent, lane_of
from streamd.functions.registry import Registry
from streamd.server.outbound import Outbound
from streamd.storage.store import Store
from tests.clocks import ManualClock
from tests.core.sns_signer import signer
from tests.storage.stores import open_bench

__all__ = ["ACCOUNT", "ARN", "Doorstep", "FakeSns", "FullQueue", "configuration", "open_door"]

ACCOUNT = Account("000000000000", "us-east-1")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:thumbnails"


class FakeSns:
    """What SNS has at its addresses: a certificate, and the confirmation of subscriptions."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status = 200
        self.server = TestServer(self._application())

    @property
    def host(self) -> str:
        """Where it is reached, as a route lists it."""
        return f"127.0.0.1:{self.server.port}"

    @property
    def url(self) -> str:
        """Where it is reached, as a message tells it."""
        return f"http://{self.host}"

    async def answer(self, request: web.Request) -> web.Response:
        """Give the certificate for whatever ends in .pem, a word for anything else."""
        self.paths.append(request.path_qs)
        if self.status in (301, 302):
            return web.Response(status=self.status, headers={"Location": "/elsewhere.pem"})
        body = signer().certificate if request.path.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"
        return web.Response(status=self.status, body=body)

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        return application


class FullQueue:
    """A queue that holds as much as it may."""

    async def enqueue(self, arn: str, payload: bytes, *, request_id: str | None = None, depth: int = 0) -> str:
        """Refuse it."""
        raise QueueFull(f"{arn} has too many events waiting ({len(payload)} bytes, {request_id}, depth {depth})")


class Doorstep:
    """What a test pushes with and looks at."""

    def __init__(self, client: TestClient[Any, Any], store: Store, registry: Registry, door: PushDoor) -> None:
        self.client = client
        self.registry = registry
        self.door = door
        self._store = store

    async def push(self, route: str, body: bytes | object, **headers: str) -> tuple[int, Any]:
        """Push a body, or a document as JSON; the status and the answer. Underscores in names are hyphens."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.post(f"/_push/{route}", data=BytesIO(content), headers=sent) as response:
            return response.status, orjson.loads(await response.read())

    def queued(self, arn: str = ARN) -> list[QueuedEvent]:
        """Give what lies on disk for a function."""
        events = self._store.events.take(
            lane_of(arn), now_ms=1 << 50, count_max=100, byte_count_max=1 << 30, is_wanted=lambda _: True
        )
        return [QueuedEvent.from_content(each.content) for each in events]

    def documents(self) -> list[Any]:
        """Give what the function is to be handed."""
        return [orjson.loads(event.payload) for event in self.queued()]

    async def allow(self, *statements: dict[str, Any]) -> None:
        """Give the function a policy."""
        policy = Statements(statements=statements, revision="r")
        await self.registry.change("thumbnails", lambda present: replace(present, policies={"$LATEST": policy}))


def configuration() -> Configuration:
    """Give some $LATEST."""
    return Configuration(
        runtime="python3.11", handler="a.b", role="arn:aws:iam::000000000000:role/r", code_sha256="", code_size=0
    )


@asynccontextmanager
async def open_door(
    path: Path, tables: Sequence[dict[str, Any]], *, queue: Enqueues | None = None
) -> AsyncIterator[Doorstep]:
    """Open a door for routes; the function ``thumbnails`` is there."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(path, clock))
        outbound = await stack.enter_async_context(Outbound())
        registry = Registry(bench.store)
        await registry.create(Function(name="thumbnails", arn=ARN, latest=configuration()))
        door = PushDoor(
            PushRoutes.parse(list(tables), account=ACCOUNT),
            queue=queue or EventQueue(bench.store, clock),
            policies=RegistryPolicies(ACCOUNT, registry),
            sns=SnsDesk(outbound, clock),
            clock=clock,
            region="us-east-1",
        )
        client = await stack.enter_async_context(TestClient(TestServer(_application(door.routes()))))
        yield Doorstep(client, bench.store, registry, door)


def _application(routes: Sequence[Route]) -> web.Application:
    """Serve routes as the Lambda dialect does."""
    application = web.Application(client_max_size=32 << 20)

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        for route in routes:
            match = route.pattern.fullmatch(request.path)
            if route.method == request.method and match:
                headers = {name.lower(): value for name, value in request.headers.items()}
                call = Call(
                    path=match.groupdict(),
                    query={},
                    headers=headers,
                    document={},
                    body=body,
                    region="",
                    peer=request.remote or "",
                )
                return await _answered(route, call)
        return web.Response(status=404)

    application.router.add_route("*", "/{path:.*}", answer)
    return application


async def _answered(route: Route, call: Call) -> web.Response:
    try:
        answer = await route.operation(call)
    except Fault as fault:
        answer = Answer(status=fault.status, document=fault.document, headers={"x-amzn-errortype": fault.code})
    body = answer.body if answer.document is None else orjson.dumps(answer.document)
    return web.Response(status=answer.status, body=body, headers=dict(answer.headers))
