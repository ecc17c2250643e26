"""Invoke, InvokeAsync and InvokeWithResponseStream."""

import uuid
from base64 import b64decode, b64encode

import orjson

from streamd.core.event_stream import Message, encode
from streamd.core.function import Function
from streamd.core.lineage import depth_of, is_too_deep
from streamd.errors import FunctionMissing, PackageInvalid, QueueFull, SandboxFailed
from streamd.functions.calls import Answer, Call
from streamd.functions.faults import Fault, invalid
from streamd.functions.host import Host
from streamd.functions.naming import FunctionName, function_missing
from streamd.functions.running import Finished, Invocation, Throttled, Trigger

__all__ = ["invoke", "invoke_async", "invoke_with_response_stream"]

_PAYLOAD_BYTE_COUNT_MAX = 6_291_456
_EVENT_BYTE_COUNT_MAX = 1_048_576
_CONTEXT_LENGTH_MAX = 3583
_EVENT_STREAM = "application/vnd.amazon.eventstream"


async def invoke(host: Host, call: Call) -> Answer:
    """Run a function and answer with what it answers, keep the event for later, or only look. Raises Fault."""
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    arn = _arn(host, function, name)
    if call.get("DurableExecutionName") or call.get("TenantId"):
        raise invalid("Durable executions and tenants are not supported by streamd.")
    match call.get("InvocationType"):
        case "DryRun":
            return Answer(status=204)
        case "Event":
            request_id = await _keep(host, call, arn)
            return Answer(status=202, body=b"", headers={"x-amzn-RequestId": request_id})
        case _:
            _refuse_loop(function, call)
            finished = await _run(host, call, arn)
    headers = {"X-Amz-Executed-Version": finished.version, "x-amzn-RequestId": finished.request_id}
    if finished.error is not None:
        headers["X-Amz-Function-Error"] = finished.error
    if call.get("LogType") == "Tail":
        headers["X-Amz-Log-Result"] = b64encode(finished.log_tail).decode()
    return Answer(body=finished.payload, headers=headers)


async def invoke_async(host: Host, call: Call) -> Answer:
    """Keep an event for later. Raises Fault."""
    function, name = host.named(call.members["FunctionName"])
    await _keep(host, call, _arn(host, function, name))
    return Answer(status=202, document={"Status": 202})


async def invoke_with_response_stream(host: Host, call: Call) -> Answer:
    """Run a function and answer with an event stream: what it answered as one chunk, and the end. Raises Fault."""
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    arn = _arn(host, function, name)
    if call.get("InvocationType") == "DryRun":
        return Answer(status=204)
    _refuse_loop(function, call)
    finished = await _run(host, call, arn)
    end: dict[str, str] = {}
    messages = []
    if finished.error is None:
        messages.append(_event("PayloadChunk", "application/octet-stream", finished.payload))
    else:
        document = orjson.loads(finished.payload)
        end = {"ErrorCode": finished.error, "ErrorDetails": orjson.dumps(document).decode()}
    if call.get("LogType") == "Tail":
        end["LogResult"] = b64encode(finished.log_tail).decode()
    messages.append(_event("InvokeComplete", "application/json", orjson.dumps(end)))
    headers = {"X-Amz-Executed-Version": finished.version, "x-amzn-RequestId": finished.request_id}
    return Answer(body=b"".join(messages), headers=headers, content_type=_EVENT_STREAM)


def _arn(host: Host, function: Function, name: FunctionName) -> str:
    """Give the ARN as it is invoked. Raises Fault when there is nothing behind it, or nothing yet."""
    if name.qualifier is None:
        configuration, arn = function.latest, function.arn
    else:
        _, configuration = host.configured(function.name, name.qualifier)
        arn = f"{function.arn}:{name.qualifier}"
    if configuration.is_new and not configuration.is_settled(host.clock.now_ms()):
        sentence = (
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
        raise Fault(409, "ResourceConflictException", {"Type": "User", "message": sentence})
    return arn


def _depth(call: Call) -> int:
    return depth_of(call.headers.get("x-amzn-trace-id"))


def _refuse_loop(function: Function, call: Call) -> None:
    """Stop a chain of functions that call each other without end; the queue stops those of events. Raises Fault."""
    if function.recursion != "Allow" and is_too_deep(_depth(call)):
        sentence = (
            "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services "
            "resources and stopped your function's invocation."
        )
        raise Fault(400, "RecursiveInvocationException", {"Type": "User", "Message": sentence})


async def _run(host: Host, call: Call, arn: str) -> Finished:
    invocation = Invocation(
        request_id=str(uuid.uuid4()),
        arn=arn,
        payload=_payload(call.body, byte_count_max=_PAYLOAD_BYTE_COUNT_MAX),
        trigger=Trigger.API,
        client_context=_client_context(call.get("ClientContext")),
        depth=_depth(call),
    )
    try:
        return await host.invoker.invoke(invocation, may_wait=False)
    except Throttled as throttled:
        document = {"Reason": throttled.reason, "Type": "User", "message": "Rate Exceeded."}
        raise Fault(429, "TooManyRequestsException", document) from None
    except FunctionMissing:
        raise function_missing(arn) from None
    except (SandboxFailed, PackageInvalid) as failure:
        raise Fault(500, "ServiceException", {"Type": "Service", "Message": f"{arn}: {failure}"}) from None


async def _keep(host: Host, call: Call, arn: str) -> str:
    payload = _payload(call.body, byte_count_max=_EVENT_BYTE_COUNT_MAX)
    try:
        return await host.queue.enqueue(arn, payload, depth=_depth(call))
    except QueueFull as full:
        document = {"Reason": "CallerRateLimitExceeded", "Type": "User", "message": str(full)}
        raise Fault(429, "TooManyRequestsException", document) from None


def _payload(body: bytes, *, byte_count_max: int) -> bytes:
    """Check what a function is to be given; nothing is an empty document. Raises Fault."""
    if not body:
        return b"{}"
    if len(body) > byte_count_max:
        sentence = f"Request must be smaller than {byte_count_max} bytes for the InvokeFunction operation"
        raise Fault(413, "RequestTooLargeException", {"Type": "User", "message": sentence})
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        sentence = f"Could not parse request body into json: Could not parse payload into json: {error.msg}"
        raise Fault(400, "InvalidRequestContentException", {"Type": "User", "message": sentence}) from None
    return body


def _client_context(text: str | None) -> str | None:
    """Undo the base64 of a client context. Raises Fault."""
    if not text:
        return None
    try:
        plain = b64decode(text, validate=True)
        orjson.loads(plain)
    except ValueError:
        raise invalid("ClientContext must be base64 of a JSON document.") from None
    if len(plain) > _CONTEXT_LENGTH_MAX:
        raise invalid(f"ClientContext must hold at most {_CONTEXT_LENGTH_MAX} bytes.")
    return plain.decode()


def _event(kind: str, content_type: str, payload: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": kind, ":content-type": content_type}
    return encode(Message(headers, payload))
