"""The five operations on event source mappings, and the status document beside them.

What they change is on disk when it is answered; the pollers hear of it, drain what is in hand and go on from the
checkpoint, and until they have the state says so.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamd.core.mapping import EventSourceMapping, Transition
from streamd.core.mapping_settings import StartingPosition
from streamd.errors import OutsideUnreachable, SourceMissing, TargetUnknown
from streamd.functions.calls import Answer, Call
from streamd.functions.faults import conflict, invalid, validation
from streamd.functions.host import Host
from streamd.functions.mappings.members import checked_members, kind_of, shown_members
from streamd.functions.mappings.registry import MappingRegistry, mapping_missing
from streamd.functions.mappings.sources import FindsSources, Source, Start
from streamd.functions.naming import FunctionName, parse_name
from streamd.functions.pages import page_of
from streamd.functions.tags import checked_tags

__all__ = ["MappingCalls"]

_COUNT_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingCalls:
    """The operations, over the functions and the mappings. ``last_result`` tells how a mapping fares."""

    host: Host
    mappings: MappingRegistry
    sources: FindsSources
    last_result: Callable[[str], str]
    status: Callable[[str], Awaitable[dict[str, Any]]]

    def operations(self) -> dict[str, Callable[[Call], Awaitable[Answer]]]:
        """Give the operations by their names in the API."""
        return {
            "CreateEventSourceMapping": self.create,
            "DeleteEventSourceMapping": self.delete,
            "GetEventSourceMapping": self.get,
            "ListEventSourceMappings": self.list,
            "UpdateEventSourceMapping": self.update,
        }

    async def create(self, call: Call) -> Answer:
        """Feed a stream to a function from now on. Raises Fault."""
        members = call.members
        source_arn = members.get("EventSourceArn")
        if not source_arn:
            raise invalid("Unrecognized event source.")
        kind = kind_of(source_arn)
        function_arn = self._function_arn(members["FunctionName"])
        start = _start(members, kind, now_ms=self.host.clock.now_ms())
        checked = checked_members(members, {}, check_target=self.host.require_target, kind=kind)
        tags = checked_tags(members.get("Tags") or {}, {})
        source = self._source(source_arn)
        identity, starts = await self._pinned(source, start)
        is_enabled = members.get("Enabled") is not False
        checked["StartingPosition"] = start.position.value
        if start.time_ms is not None:
            checked["StartingPositionTimestamp"] = start.time_ms / 1000
        mapping = EventSourceMapping(
            uuid=str(uuid.uuid4()),
            source_arn=source_arn,
            function_arn=function_arn,
            members=checked,
            is_enabled=is_enabled,
            transition=Transition.CREATING,
            starts=starts,
            identity=identity,
            tags=tags,
            modified_ms=self.host.clock.now_ms(),
        )
        await self.mappings.create(mapping, lambda: self._refuse_double(source_arn, function_arn, ""))
        return Answer(status=202, document=self._document(mapping))

    async def get(self, call: Call) -> Answer:
        """Tell of a mapping. Raises Fault."""
        return Answer(document=self._document(self._find(call)))

    async def list(self, call: Call) -> Answer:
        """List mappings, those of a source or a function if it is named. Raises Fault."""
        found = list(self.mappings)
        if source_arn := call.get("EventSourceArn"):
            found = [mapping for mapping in found if mapping.source_arn == source_arn]
        if function := call.get("FunctionName"):
            name = parse_name(self.host.account, function)
            found = [mapping for mapping in found if self._is_of(mapping, name)]
        chosen, marker = page_of(self.host, found, call, key=lambda mapping: mapping.uuid, count_max=_COUNT_MAX)
        return Answer(document={"EventSourceMappings": [self._document(mapping) for mapping in chosen], **marker})

    async def update(self, call: Call) -> Answer:
        """Change a mapping; it goes on from its checkpoint. Raises Fault."""
        members = call.members
        function_arn = self._function_arn(members["FunctionName"]) if members.get("FunctionName") else None

        def decide(present: EventSourceMapping) -> EventSourceMapping:
            if present.transition is Transition.DELETING:
                raise mapping_missing()
            checked = checked_members(
                members, present.members, check_target=self.host.require_target, kind=kind_of(present.source_arn)
            )
            if function_arn is not None and function_arn != present.function_arn:
                self._refuse_double(present.source_arn, function_arn, present.uuid)
            is_enabled = present.is_enabled if members.get("Enabled") is None else members["Enabled"]
            return replace(
                present,
                members=checked,
                function_arn=function_arn or present.function_arn,
                is_enabled=is_enabled,
                transition=_transition(present, is_enabled=is_enabled),
                modified_ms=self.host.clock.now_ms(),
            )

        mapping = await self.mappings.change(self._find(call).uuid, decide)
        return Answer(status=202, document=self._document(mapping))

    async def delete(self, call: Call) -> Answer:
        """Stop a mapping for good. Raises Fault."""
        mapping = await self.mappings.change(
            self._find(call).uuid, lambda present: replace(present, transition=Transition.DELETING)
        )
        return Answer(status=202, document=self._document(mapping))

    async def tell_status(self, call: Call) -> Answer:
        """Tell how far a mapping has come in each shard, and what blocks it. Raises Fault."""
        mapping = self.mappings.find(call.path["uuid"])
        if mapping is None:
            raise mapping_missing()
        return Answer(
            document={
                "uuid": mapping.uuid,
                "source": mapping.source_arn,
                "function": mapping.function_arn,
                "state": mapping.state,
                "last_result": self.last_result(mapping.uuid),
                **await self.status(mapping.uuid),
            }
        )

    def _find(self, call: Call) -> EventSourceMapping:
        mapping = self.mappings.find(call.members["UUID"])
        if mapping is None:
            raise mapping_missing()
        return mapping

    def _function_arn(self, identifier: str) -> str:
        function, name = self.host.named(identifier)
        self.host.require_qualifier(function, name)
        return function.arn if name.qualifier is None else f"{function.arn}:{name.qualifier}"

    def _is_of(self, mapping: EventSourceMapping, name: FunctionName) -> bool:
        own = parse_name(self.host.account, mapping.function_arn)
        return own.name == name.name and name.qualifier in (None, own.qualifier)

    def _refuse_double(self, source_arn: str, function_arn: str, own_uuid: str) -> None:
        for other in self.mappings:
            if (other.source_arn, other.function_arn) == (source_arn, function_arn) and other.uuid != own_uuid:
                name = function_arn.partition(":function:")[2]
                raise conflict(
                    f'The event source arn (" {source_arn} ") and function (" {name} ") provided mapping already '
                    f"exists. Please update or delete the existing mapping with UUID {other.uuid}"
                )

    def _source(self, arn: str) -> Source:
        try:
            return self.sources.source_of(arn)
        except TargetUnknown as unknown:
            raise invalid(str(unknown)) from None

    async def _pinned(self, source: Source, start: Start) -> tuple[str, dict[str, str]]:
        """Tell where each shard is begun that is there now; LATEST is this very moment. Raises Fault."""
        try:
            identity = await source.identity()
            shards = await source.shards()
            return identity, {each.shard_id: str(await source.pin(each.shard_id, start)) for each in shards}
        except SourceMissing:
            raise invalid(f"Stream not found: {source.arn}") from None
        except OutsideUnreachable as unreachable:
            raise invalid(f"Cannot access stream {source.arn}: {unreachable}") from None

    def _document(self, mapping: EventSourceMapping) -> dict[str, Any]:
        region, account = mapping.function_arn.split(":")[3:5]
        return {
            "UUID": mapping.uuid,
            "EventSourceArn": mapping.source_arn,
            "EventSourceMappingArn": f"arn:aws:lambda:{region}:{account}:event-source-mapping:{mapping.uuid}",
            "FunctionArn": mapping.function_arn,
            "LastModified": mapping.modified_ms / 1000,
            "LastProcessingResult": self.last_result(mapping.uuid),
            "State": mapping.state,
            "StateTransitionReason": "User action",
            **shown_members(mapping.members),
        }


def _start(members: Mapping[str, Any], kind: str, *, now_ms: int) -> Start:
    """Read where a mapping is to begin. Raises Fault."""
    told = members.get("StartingPosition")
    if told is None:
        raise validation("Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.")
    position = StartingPosition(told)
    time_ms = members.get("StartingPositionTimestamp")
    if position is StartingPosition.AT_TIMESTAMP:
        if kind == "dynamodb":
            raise invalid("Unsupported starting position for arn type: AT_TIMESTAMP")
        if time_ms is None:
            raise invalid("StartingPositionTimestamp must be provided when StartingPosition is AT_TIMESTAMP.")
        if time_ms > now_ms:
            raise invalid("StartingPositionTimestamp must not be in the future.")
    elif time_ms is not None:
        raise invalid("StartingPositionTimestamp can only be set when StartingPosition is AT_TIMESTAMP.")
    return Start(position, time_ms)


def _transition(present: EventSourceMapping, *, is_enabled: bool) -> Transition:
    if present.transition is Transition.CREATING:
        return Transition.CREATING
    if is_enabled == present.is_enabled:
        return Transition.UPDATING
    return Transition.ENABLING if is_enabled else Transition.DISABLING
