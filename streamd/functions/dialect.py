"""One request of the Lambda API, from bytes to bytes.

Path, signature, body, members, operation: whatever goes wrong is AWS's error in AWS's form, and an error that is a bug
becomes a 500 and a traceback in the log. A request that deploys code must carry a signature even where any is accepted:
a page that somebody's browser shows can send requests to this machine, but it cannot sign them without asking first.
"""

import json
import logging
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs, unquote

import orjson

from streamd.core.replies import Reply
from streamd.core.sigv4 import Caller, SignedRequest, claimed_scope
from streamd.errors import StoreFull, StreamdError
from streamd.errors_auth import AuthenticationError, MissingAuthenticationToken, UnrecognizedClient
from streamd.functions.calls import Answer, Call, Operation, Route
from streamd.functions.faults import Fault, invalid
from streamd.functions.model import OperationModel, load_model
from streamd.functions.operations import REFUSED_FEATURE_BY_NAME
from streamd.metrics import Metrics

__all__ = ["AnswersLogs", "Authenticates", "LambdaDialect"]

_LOG = logging.getLogger(__name__)
_LAMBDA = frozenset({"lambda"})
_LOGS = frozenset({"logs"})


class Authenticates(Protocol):
    """Ties a request to a caller. The daemon hands one that knows the access keys."""

    def authenticate(self, request: SignedRequest, *, services: Collection[str]) -> Caller:
        """Tell who sent a request. Raises AuthenticationError."""
        ...


class AnswersLogs(Protocol):
    """Answers what CloudWatch Logs is asked, by ``X-Amz-Target``."""

    async def answer(self, target_operation: str, document: Mapping[str, object]) -> Answer:
        """Carry out an operation. What is refused is an answer."""
        ...


class LambdaDialect:
    """Answers Lambda requests and the server's own beside them."""

    def __init__(
        self,
        authenticator: Authenticates,
        metrics: Metrics,
        *,
        operations: Mapping[str, Operation],
        routes: Sequence[Route],
        logs: AnswersLogs | None = None,
        tls_port: int | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
        self._operations = operations
        self._routes = [(route, route.pattern) for route in routes]
        self._logs = logs
        self._tls_port = tls_port

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request. Never raises: whatever goes wrong is an answer too."""
        started = time.perf_counter()
        name, error = "Unknown", ""
        try:
            _refuse_other_origins(request)
            query = parse_qs(request.query, keep_blank_values=True)
            if (target := request.headers.get("x-amz-target")) and self._logs is not None:
                self._authenticate(request, services=_LOGS)
                answer = await self._logs.answer(target, _document(request.body))
            elif route := self._route(request):
                name = route[0].name
                answer = await self._carry_out_route(request, *route, query)
            else:
                found = load_model().find(request.method, request.path, query)
                if found is None:
                    raise Fault(404, "UnknownOperationException", {})
                name = found[0].name
                answer = await self._carry_out(request, *found, query)
            reply = _reply(answer)
        except Exception as cause:
            fault = _fault(name, cause)
            error = fault.code
            reply = _fault_reply(fault)
        self._metrics.answered(name, error=error, durations_s=[time.perf_counter() - started])
        return reply

    async def _carry_out(
        self,
        request: SignedRequest,
        operation: OperationModel,
        path: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
    ) -> Answer:
        caller = self._authenticate(request)
        if feature := REFUSED_FEATURE_BY_NAME.get(operation.name):
            verb = "are" if feature.endswith("s") else "is"
            raise invalid(f"{feature} {verb} not supported by streamd: {operation.name} is refused.")
        document = {} if operation.payload is not None else _document(request.body)
        call = Call(
            path=path,
            query=query,
            headers=request.headers,
            document=document,
            body=request.body,
            region=caller.region,
            origin=self._origin(request),
            members=operation.members(path, query, request.headers, document),
        )
        return await self._operations[operation.name](call)

    async def _carry_out_route(
        self, request: SignedRequest, route: Route, path: Mapping[str, str], query: Mapping[str, Sequence[str]]
    ) -> Answer:
        region = "" if route.is_open else self._authenticate(request).region
        call = Call(
            path=path,
            query=query,
            headers=request.headers,
            document={} if route.is_raw else _document(request.body),
            body=request.body,
            region=region,
            origin=self._origin(request),
            peer=request.peer,
        )
        return await route.operation(call)

    def _route(self, request: SignedRequest) -> tuple[Route, dict[str, str]] | None:
        """Find one of the server's own routes."""
        if not request.path.startswith("/_") and request.method != "HEAD":
            return None
        for route, pattern in self._routes:
            if route.method == request.method and (match := pattern.fullmatch(request.path)):
                return route, {name: unquote(part) for name, part in match.groupdict().items()}
        return None

    def _authenticate(self, request: SignedRequest, *, services: Collection[str] = _LAMBDA) -> Caller:
        """Tell who sent a request; unsigned ones are refused whatever else is accepted. Raises AuthenticationError."""
        if "authorization" not in request.headers and claimed_scope(request.headers, request.query) is None:
            raise MissingAuthenticationToken
        return self._authenticator.authenticate(request, services=services)

    def _origin(self, request: SignedRequest) -> str:
        """Give the address under which the caller reached the server."""
        host = request.headers.get("host", "")
        port = host.rpartition(":")[2]
        return f"{'https' if self._tls_port is not None and port == str(self._tls_port) else 'http'}://{host}"


def _refuse_other_origins(request: SignedRequest) -> None:
    """Refuse what a page of another site had a browser send. Raises Fault."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        raise Fault(403, "AccessDeniedException", {"Message": "Requests from pages of other sites are refused."})


def _document(body: bytes) -> Mapping[str, object]:
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        sentence = f"Could not parse request body into json: {error.msg}"
        raise Fault(400, "InvalidRequestContentException", {"Type": "User", "message": sentence}) from None
    if not isinstance(document, dict):
        sentence = "Could not parse request body into json: it is no object"
        raise Fault(400, "InvalidRequestContentException", {"Type": "User", "message": sentence})
    return document


def _fault(name: str, cause: Exception) -> Fault:
    """Give AWS's fault for whatever went wrong; a bug of ours goes to the log with its traceback."""
    match cause:
        case Fault():
            return cause
        case UnrecognizedClient():
            return Fault(403, "UnrecognizedClientException", {"message": str(cause)})
        case AuthenticationError():
            code = next(kind.__name__ for kind in type(cause).__mro__ if AuthenticationError in kind.__bases__)
            return Fault(403, f"{code}Exception", {"message": str(cause)})
        case StoreFull():
            return Fault(500, "ServiceException", {"Type": "Service", "Message": f"Nothing was stored: {cause}."})
        case StreamdError():
            _LOG.error("%s failed: %s", name, cause)
            return Fault(500, "ServiceException", {"Type": "Service", "Message": str(cause)})
        case _:
            _LOG.error("%s failed; this is a bug in streamd", name, exc_info=cause)
            sentence = "The server failed to process the request; its log says why."
            return Fault(500, "ServiceException", {"Type": "Service", "Message": sentence})


def _json(document: object) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:
        # The answer repeats bytes of the request that were no text. Whatever else cannot be written is a bug.
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _reply(answer: Answer) -> Reply:
    body = answer.body or b""
    if answer.document is not None:
        body = _json(answer.document)
    headers = {"x-amzn-RequestId": str(uuid.uuid4())} if "x-amzn-RequestId" not in answer.headers else {}
    if answer.status != 204:
        headers["Content-Type"] = answer.content_type
    lines = [f"{name}: {value}\r\n" for name, value in {**headers, **answer.headers}.items()]
    return Reply(answer.status, "".join(lines).encode(), body)


def _fault_reply(fault: Fault) -> Reply:
    reply = _reply(Answer(status=fault.status, document=fault.document))
    return reply._replace(fields=reply.fields + f"x-amzn-errortype: {fault.code}\r\n".encode())
