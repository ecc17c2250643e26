"""One request, from bytes to bytes: what AWS's front end does, in its order, around every operation.

Method, content type, body, target, signature, types, constraints, rate, operation. Whatever an operation raises
becomes AWS's fault in the request's own codec; an error that is a bug becomes a 500 and a traceback in the log, and
the next request is served.
"""

import logging
import time
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from random import getrandbits
from typing import Protocol

from streamd.core.limits import BODY_BYTE_COUNT_MAX, WAIT_MS_MAX
from streamd.core.lineage import depth_of
from streamd.core.put_tokens import PRODUCER_HEADER, SEQUENCE_HEADER, PutToken, read_put_token
from streamd.core.replies import Reply
from streamd.core.sigv4 import Caller, SignedRequest
from streamd.engine.engine import Engine
from streamd.errors import StreamdError
from streamd.kinesis.codecs import CBOR, JSON, PLAIN_JSON, Codec, codec_of
from streamd.kinesis.exchange import TARGET_PREFIX, Answer, Call, Handler
from streamd.kinesis.faults import Fault, InternalFailure, SerializationFailed, UnknownOperation
from streamd.kinesis.groups import GROUP_HANDLER_BY_OPERATION, GROUP_TARGET_PREFIX
from streamd.kinesis.operations import HANDLER_BY_OPERATION, LATER_OPERATIONS
from streamd.kinesis.plain_puts import PlainPut, put_plainly, read_plain_put
from streamd.kinesis.rates import RATE_BY_OPERATION, RateScope
from streamd.kinesis.refusals import fault_of
from streamd.kinesis.validation import check, check_entries, check_group_call

__all__ = ["Authenticates", "KinesisDialect"]

_LOG = logging.getLogger(__name__)
_PUT_RECORD = "PutRecord"
_EVENT_STREAM = "application/vnd.amazon.eventstream"
_XML_NO_SERVICE = (
    b"<AccessDeniedException>\n"
    b"  <Message>Unable to determine service/operation name to be authorized</Message>\n"
    b"</AccessDeniedException>\n"
)
_WAIT_HEADER = "x-streamd-wait-ms"
_WAIT_DIGIT_COUNT_MAX = 9


class Authenticates(Protocol):
    """Ties a request to a caller. The daemon hands one that knows the access keys."""

    def authenticate(self, request: SignedRequest) -> Caller:
        """Tell who sent a request. Raises AuthenticationError."""
        ...

    def admit(self, request: SignedRequest) -> None:
        """Let a request in for which it does not matter who sent it. Raises AuthenticationError."""
        ...


class KinesisDialect:
    """Answers Kinesis requests."""

    def __init__(self, engine: Engine, authenticator: Authenticates) -> None:
        self._engine = engine
        self._authenticator = authenticator

    async def answer(self, request: SignedRequest) -> Reply:
        """Answer one request. Never raises: whatever goes wrong is an answer too."""
        started = time.perf_counter()
        if request.method != "POST":
            return _reply(403, _XML_NO_SERVICE, content_type=None)
        codec = codec_of(request.headers.get("content-type"))
        target = request.headers.get("x-amz-target", "")
        handlers, operation = _looked_up(target)
        is_known = operation in handlers or operation in LATER_OPERATIONS
        if codec is PLAIN_JSON and request.body:
            return _plain_json_reply(request)
        spoken = codec if codec in (JSON, CBOR) else CBOR
        try:
            answer = await self._answer(request, codec, handlers, operation if is_known else None)
            reply, error = _good_reply(answer, spoken), ""
        except Exception as cause:
            fault = self._fault(operation, cause)
            reply, error = _fault_reply(fault, spoken), fault.code
        name = operation if is_known else "Unknown"
        self._engine.metrics.answered(name, error=error, durations_s=[time.perf_counter() - started])
        return reply

    def read_plain_put(self, request: SignedRequest) -> PlainPut | None:
        """Read a request as a plain put; None for one that `answer` has to look at. Never raises."""
        if self._engine.quotas.is_on:
            return None
        try:
            put = read_plain_put(request)
            if put is not None:
                self._authenticator.admit(request)
        except Exception:
            # A wrong signature, or a bug of ours: `answer` meets it again, and says so to the client or to the log.
            return None
        return put

    async def answer_plain_puts(self, puts: Sequence[PlainPut]) -> list[Reply]:
        """Store plain puts of one stream together and answer each, in order. Never raises."""
        outcomes: Sequence[Answer | Exception]
        try:
            outcomes = await put_plainly(self._engine, puts)
        except Exception as cause:
            outcomes = [cause] * len(puts)
        # One trouble is told to each, and logged once.
        causes = {outcome for outcome in outcomes if isinstance(outcome, Exception)}
        fault_by_cause = {cause: self._fault(_PUT_RECORD, cause) for cause in causes}
        now_s = time.perf_counter()
        durations_s_by_error: dict[str, list[float]] = {}
        replies: list[Reply] = []
        for put, outcome in zip(puts, outcomes, strict=True):
            if isinstance(outcome, Exception):
                fault = fault_by_cause[outcome]
                reply, error = _fault_reply(fault, put.codec), fault.code
            else:
                reply, error = _good_reply(outcome, put.codec), ""
            durations_s_by_error.setdefault(error, []).append(now_s - put.read_s)
            replies.append(reply)
        for error, durations_s in durations_s_by_error.items():
            self._engine.metrics.answered(_PUT_RECORD, error=error, durations_s=durations_s)
        return replies

    def _fault(self, operation: str, cause: Exception) -> Fault:
        """Give AWS's fault for whatever went wrong; a bug of ours goes to the log with its traceback."""
        match cause:
            case Fault():
                return cause
            case StreamdError():
                fault = fault_of(cause, account_id=self._engine.account_id)
                if fault.status >= 500:
                    _LOG.error("%s failed: %s", operation, cause)
                return fault
            case _:
                _LOG.error("%s failed; this is a bug in streamd", operation, exc_info=cause)
                return InternalFailure("The server failed to process the request; its log says why.")

    async def _answer(
        self, request: SignedRequest, codec: Codec | None, handlers: Mapping[str, Handler], operation: str | None
    ) -> Answer:
        if not request.body:
            # AWS says what it missed most: a body, or anything it knows at all.
            raise SerializationFailed if operation else UnknownOperation
        if codec is None:
            raise UnknownOperation
        document = codec.decode(_plain_body(request))
        if not isinstance(document, dict | list):
            raise SerializationFailed
        if operation is None:
            raise UnknownOperation
        caller = self._authenticator.authenticate(request)
        handler = handlers.get(operation)
        if handler is None:
            raise Fault("UnsupportedOperationException", f"{operation} is not supported by this version of streamd.")
        if operation == "PutRecords":
            members, entries = check_entries(document)
            members["Records"] = entries
        elif handlers is GROUP_HANDLER_BY_OPERATION:
            members = check_group_call(operation, document)
        else:
            members = check(operation, document)
        _refuse_stream_id(members)
        call = Call(
            operation=operation,
            members=members,
            region=caller.region,
            codec=codec,
            wait_ms=_wait_ms(request.headers),
            depth=depth_of(request.headers.get("x-amzn-trace-id")),
            token=_token(request.headers, operation),
        )
        if self._engine.quotas.is_on:
            self._take_call(call)
        return await handler(self._engine, call)

    def _take_call(self, call: Call) -> None:
        """Count a call against AWS's rate for its operation. Raises Fault when it is over."""
        scope, rate_per_s = RATE_BY_OPERATION.get(call.operation, (None, 0))
        if scope is None:
            return
        account_id = self._engine.account_id
        named = call.get("StreamName") or call.get("StreamARN") or call.get("ResourceARN") or call.get("ConsumerARN")
        stream = str(named or "").rpartition("stream/")[2].partition("/")[0]
        shard = call.get("ShardId")
        place = {RateScope.ACCOUNT: account_id, RateScope.STREAM: stream, RateScope.SHARD: f"{stream}/{shard}"}[scope]
        label = "" if scope is RateScope.ACCOUNT else stream
        if self._engine.quotas.call(call.operation, scope=place, stream_name=label, rate_per_s=rate_per_s):
            return
        match scope:
            case RateScope.ACCOUNT:
                raise Fault("LimitExceededException", f"Rate exceeded for account {account_id}.")
            case RateScope.STREAM:
                sentence = f"Rate exceeded for stream {stream} under account {account_id}."
                raise Fault("LimitExceededException", sentence)
            case RateScope.SHARD:
                sentence = f"Rate exceeded for shard {shard} in stream {stream} under account {account_id}."
                raise Fault("ProvisionedThroughputExceededException", sentence)


def _looked_up(target: str) -> tuple[Mapping[str, Handler], str]:
    """Find whose operation a target names: Kinesis' or ours on groups; the name is empty when it is neither's."""
    if target.startswith(GROUP_TARGET_PREFIX):
        operation = target.removeprefix(GROUP_TARGET_PREFIX)
        return GROUP_HANDLER_BY_OPERATION, operation if operation in GROUP_HANDLER_BY_OPERATION else ""
    return HANDLER_BY_OPERATION, target.removeprefix(TARGET_PREFIX) if target.startswith(TARGET_PREFIX) else ""


def _refuse_stream_id(members: Mapping[str, object]) -> None:
    """Refuse the member that AWS reserves for later: ignoring it could name another stream than was meant."""
    if "StreamId" in members:
        raise Fault("InvalidArgumentException", "StreamId is not implemented. Use StreamName or StreamARN.")


def _token(headers: Mapping[str, str], operation: str) -> PutToken | None:
    """Read a producer's number of the request. Raises Fault for one that is none, or does not belong there."""
    try:
        token = read_put_token(headers.get(PRODUCER_HEADER), headers.get(SEQUENCE_HEADER))
    except ValueError as error:
        raise Fault("InvalidArgumentException", str(error)) from None
    if token is not None and operation not in {_PUT_RECORD, "PutRecords"}:
        raise Fault("InvalidArgumentException", f"{PRODUCER_HEADER} belongs to PutRecord and PutRecords.")
    return token


def _wait_ms(headers: Mapping[str, str]) -> int:
    text = headers.get(_WAIT_HEADER)
    if text is None:
        return 0
    # The length counts first: a text of thousands of digits cannot be turned into a number.
    if not (text.isascii() and text.isdigit() and len(text) <= _WAIT_DIGIT_COUNT_MAX) or int(text) > WAIT_MS_MAX:
        raise Fault("InvalidArgumentException", f"{_WAIT_HEADER} must be 0 to {WAIT_MS_MAX} milliseconds")
    return int(text)


def _plain_body(request: SignedRequest) -> bytes:
    """Undo the content encoding, which the signature covers and so cannot be undone before."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return request.body
    if encoding not in ("gzip", "x-gzip"):
        raise SerializationFailed
    inflater = zlib.decompressobj(wbits=31)
    try:
        body = inflater.decompress(request.body, BODY_BYTE_COUNT_MAX)
    except zlib.error:
        raise SerializationFailed from None
    if not inflater.eof or inflater.unused_data:
        # Cut short, larger than any request may be once it is inflated, or followed by something else.
        raise SerializationFailed
    return body


def _good_reply(answer: Answer, codec: Codec) -> Reply:
    match answer:
        case AsyncGenerator():
            return _reply(200, b"", content_type=_EVENT_STREAM)._replace(frames=answer)
        case None:
            body = b""
        case bytes():
            body = answer
        case _:
            body = codec.encode(answer)
    return _reply(200, body, content_type=codec.content_type)


def _fault_reply(fault: Fault, codec: Codec) -> Reply:
    return _reply(fault.status, codec.encode_fault(fault), content_type=codec.content_type)


def _plain_json_reply(request: SignedRequest) -> Reply:
    """Answer a request in plain JSON, which AWS's front end parses and then does not know what to do with."""
    try:
        PLAIN_JSON.decode(request.body)
    except SerializationFailed:
        status, code = 400, "SerializationException"
    else:
        status, code = 404, "UnknownOperationException"
    body = PLAIN_JSON.encode({"Output": {"__type": f"com.amazon.coral.service#{code}"}, "Version": "1.0"})
    return _reply(status, body, content_type=PLAIN_JSON.content_type)


def _reply(status: int, body: bytes, *, content_type: str | None) -> Reply:
    # Two identities by which AWS's support would find a request; nothing depends on their being hard to guess.
    identity = f"{getrandbits(416):0104x}"
    fields = (
        f"x-amzn-RequestId: {identity[:8]}-{identity[8:12]}-{identity[12:16]}-{identity[16:20]}-{identity[20:32]}\r\n"
        f"x-amz-id-2: {identity[32:]}\r\n"
    )
    if content_type is not None:
        fields += f"Content-Type: {content_type}\r\n"
    return Reply(status, fields.encode(), body)
