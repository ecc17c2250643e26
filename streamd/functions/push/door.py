"""The door of the push routes: what is let in becomes an asynchronous invocation, durable before it is answered.

A sender is asked for its proof before anything is made of its body. What a filter drops is answered like what is
taken, so that nobody sends it again; what may work later (a full queue, a function that is not there yet) is answered
so that senders try again, and what never will so that they do not.
"""

import logging
from typing import Final

from streamd.core.push_events import Pushed, PushedEvent, PushedNothing, read_pushed
from streamd.core.push_sns import SnsKind, SnsMessage
from streamd.engine.clock import Clock
from streamd.errors import EventMalformed, MessageUnproven, OutsideUnreachable, QueueFull
from streamd.functions.calls import Answer, Call, Route
from streamd.functions.faults import Fault, not_found
from streamd.functions.host import Enqueues
from streamd.functions.push.policies import Allows
from streamd.functions.push.routes import PushRoute, PushRoutes
from streamd.functions.push.sns_desk import SnsDesk

__all__ = ["PushDoor"]

_LOG = logging.getLogger(__name__)
_EVENT_BYTE_COUNT_MAX: Final = 1 << 20
_LATER: Final = {"Retry-After": "5"}


class PushDoor:
    """Answers what is pushed."""

    def __init__(
        self, routes: PushRoutes, *, queue: Enqueues, policies: Allows, sns: SnsDesk, clock: Clock, region: str
    ) -> None:
        self._routes = routes
        self._queue = queue
        self._policies = policies
        self._sns = sns
        self._clock = clock
        self._region = region

    def routes(self) -> list[Route]:
        """Give what reaches the door. Pushers sign nothing of AWS's; the list is for those with keys."""
        return [
            Route("Push", "POST", "/_push/{route}", self.push, is_raw=True, is_open=True),
            Route("LookForPush", "HEAD", "/_push/{route}", self.look, is_raw=True, is_open=True),
            Route("LookForServer", "HEAD", "/", self.look, is_raw=True, is_open=True),
            Route("ListPushRoutes", "GET", "/_streamd/push-routes", self.list_routes),
        ]

    async def push(self, call: Call) -> Answer:
        """Take what is pushed. Raises Fault."""
        route = self._route(call)
        if len(call.body) > route.body_byte_count_max:
            raise _too_large(route.body_byte_count_max)
        if not route.proofs.hold(call.headers, call.body, peer=call.peer):
            raise _denied(f"The request does not show that it may push to {route.name}.")
        pushed = Pushed(
            headers=call.headers,
            body=call.body,
            route=route.name,
            region=self._region,
            now_ms=self._clock.now_ms(),
        )
        try:
            read = read_pushed(pushed, form=route.format, wanted=route.filter)
            match read:
                case PushedNothing(reason=reason):
                    return Answer(document={"accepted": False, "reason": reason})
                case SnsMessage():
                    return await self._take_sns(route, read)
                case PushedEvent():
                    return await self._take(route, read)
        except EventMalformed as error:
            document = {"Type": "User", "message": f"This is nothing that {route.name} takes: {error}."}
            raise Fault(400, "InvalidRequestContentException", document) from None
        except MessageUnproven as error:
            _LOG.warning("push route %r refused a message: %s", route.name, error)
            raise _denied(f"The message is refused: {error}.") from None
        except OutsideUnreachable as error:
            _LOG.warning("push route %r could not ask SNS: %s", route.name, error)
            return _later(f"SNS could not be asked: {error}")

    async def look(self, call: Call) -> Answer:
        """Tell a sender that somebody listens. Raises Fault for a route that is not there."""
        if "route" in call.path:
            self._route(call)
        return Answer(status=200, body=b"")

    async def list_routes(self, call: Call) -> Answer:  # noqa: ARG002  # every operation takes its call
        """List the routes by name, without anything secret."""
        routes = sorted(self._routes, key=lambda route: route.name)
        return Answer(document={"PushRoutes": [_shown(route) for route in routes]})

    def _route(self, call: Call) -> PushRoute:
        name = call.path["route"]
        route = self._routes.find(name)
        if route is None:
            raise not_found(f"Push route not found: {name[:64]}")
        return route

    async def _take_sns(self, route: PushRoute, message: SnsMessage) -> Answer:
        """Take a message of SNS's. Raises MessageUnproven and OutsideUnreachable."""
        await self._sns.prove(message, route)
        if message.kind is not SnsKind.NOTIFICATION:
            return Answer(document={"accepted": False, "reason": await self._sns.settle(message, route)})
        return await self._take(route, PushedEvent(message.to_event(), (message.topic,)))

    async def _take(self, route: PushRoute, event: PushedEvent) -> Answer:
        """Keep an event for the function. Raises Fault."""
        if len(event.payload) > _EVENT_BYTE_COUNT_MAX:
            raise _too_large(_EVENT_BYTE_COUNT_MAX)
        self._check_sources(route, event)
        if not self._policies.is_there(route.arn):
            return _later(f"Function not found: {route.arn}")
        try:
            request_id = await self._queue.enqueue(route.arn, event.payload)
        except QueueFull as full:
            document = {"Reason": "CallerRateLimitExceeded", "Type": "User", "message": str(full)}
            return Answer(status=429, document=document, headers=_LATER)
        return Answer(document={"accepted": True, "requestId": request_id}, headers={"x-amzn-RequestId": request_id})

    def _check_sources(self, route: PushRoute, event: PushedEvent) -> None:
        """Refuse what comes from elsewhere, or what the function's policy does not let in. Raises Fault."""
        for source in event.sources:
            if not route.takes_from(source):
                raise _denied(f"{route.name} takes nothing from {source[:512]}.")
        if not route.principal:
            return
        for source in event.sources or (route.source_arn,):
            if not self._policies.allows(route.arn, route.principal, source):
                raise _denied(f"The policy of {route.arn} does not let {route.principal} invoke it for {source[:512]}.")


def _shown(route: PushRoute) -> dict[str, object]:
    return {
        "Name": route.name,
        "Path": f"/_push/{route.name}",
        "FunctionArn": route.arn,
        "Format": route.format.value,
        "Auth": route.auth,
        "Filter": {
            "Bucket": route.filter.bucket,
            "Prefix": route.filter.prefix,
            "Suffix": route.filter.suffix,
            "Events": list(route.filter.events),
        },
        "Principal": route.principal,
        "SourceArn": route.source_arn,
    }


def _denied(sentence: str) -> Fault:
    return Fault(403, "AccessDeniedException", {"Message": sentence})


def _too_large(byte_count_max: int) -> Fault:
    sentence = f"Request must be smaller than {byte_count_max} bytes for an event"
    return Fault(413, "RequestTooLargeException", {"Type": "User", "message": sentence})


def _later(sentence: str) -> Answer:
    """Answer so that a sender tries again: what it sent was right."""
    return Answer(status=503, document={"Type": "Service", "Message": sentence}, headers=_LATER)
