"""A real server on a free port that answers with given routes, and with the CloudWatch Logs API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote

import orjson
from aiohttp import web

from streamd.functions.calls import Answer, Call, Route
from streamd.functions.faults import Fault
from streamd.functions.journal.logs_dialect import LogsDialect

__all__ = ["call_of", "serving"]

_LOGS = "Logs_20140328."


def call_of(path: dict[str, str] | None = None, **query: str) -> Call:
    """Make a call as the dialect would; underscores in names stand for what Python has none of."""
    return Call(
        path=path or {},
        query={name.replace("_", "-"): [value] for name, value in query.items()},
        headers={},
        document={},
        body=b"",
        region="us-east-1",
    )


@asynccontextmanager
async def serving(routes: Sequence[Route], logs: LogsDialect | None = None) -> AsyncIterator[str]:
    """Serve; the address."""

    async def answer(request: web.BaseRequest) -> web.Response:
        target = request.headers.get("X-Amz-Target", "")
        body = await request.content.read()
        if logs is not None and target.startswith(_LOGS):
            return _response(await logs.answer(target, orjson.loads(body)))
        for route in routes:
            if route.method == request.method and (match := route.pattern.fullmatch(request.rel_url.raw_path)):
                path = {name: unquote(part) for name, part in match.groupdict().items()}
                query = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
                call = Call(path=path, query=query, headers={}, document={}, body=body, region="us-east-1")
                return await _carried_out(route, call)
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await asyncio.shield(runner.cleanup())


async def _carried_out(route: Route, call: Call) -> web.Response:
    try:
        return _response(await route.operation(call))
    except Fault as fault:
        headers = {"x-amzn-errortype": fault.code}
        return _response(Answer(status=fault.status, document=fault.document, headers=headers))


def _response(answer: Answer) -> web.Response:
    body = orjson.dumps(answer.document)
    return web.Response(status=answer.status, body=body, headers=answer.headers, content_type=answer.content_type)
