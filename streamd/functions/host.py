"""What the operations of the Lambda API work on: the functions, their code, and who runs them."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamd.core.function import Configuration, Function
from streamd.engine.clock import Clock
from streamd.errors import FunctionMissing, TargetUnknown
from streamd.functions.documents import configuration_document, qualified
from streamd.functions.faults import Fault, invalid
from streamd.functions.layers import Layers
from streamd.functions.naming import Account, FunctionName, alias_missing, function_missing, parse_name
from streamd.functions.registry import Registry
from streamd.functions.running import Invokes
from streamd.storage.packages import Packages

__all__ = ["Concurrency", "Enqueues", "Host", "MappingTags"]


class Concurrency(Protocol):
    """How many environments there may be, and how many are kept for a version."""

    account_limit: int

    def provisioned(self, arn: str) -> int:
        """Tell how many environments of a qualified ARN are ready, those in use included."""
        ...


class Enqueues(Protocol):
    """Takes asynchronous invocations. They are durable when it returns."""

    async def enqueue(self, arn: str, payload: bytes, *, request_id: str | None = None, depth: int = 0) -> str:
        """Keep an event for a function, version or alias; its request id. Raises QueueFull."""
        ...


class MappingTags(Protocol):
    """The tags of event source mappings, by UUID."""

    def tags_of(self, mapping: str) -> Mapping[str, str]:
        """Give them. Raises Fault when there is no such mapping."""
        ...

    async def set_tags(self, mapping: str, tags: Mapping[str, str]) -> None:
        """Keep these in their place. Raises Fault."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The process that has the functions."""

    account: Account
    registry: Registry
    packages: Packages
    layers: Layers
    clock: Clock
    invoker: Invokes
    queue: Enqueues
    concurrency: Concurrency
    mapping_tags: MappingTags
    check_target: Callable[[str], None]
    runtimes: frozenset[str]
    secret: bytes
    transition_ms: int = 0
    timeout_s_max: int = 900

    def named(self, identifier: str, qualifier: str | None = None) -> tuple[Function, FunctionName]:
        """Find the function that a request names; the qualifier is not looked up. Raises Fault."""
        name = parse_name(self.account, identifier, qualifier)
        function = self.registry.find(name.name)
        if function is None:
            arn = self.account.function_arn(name.name)
            raise function_missing(arn if name.qualifier is None else f"{arn}:{name.qualifier}")
        return function, name

    def configured(self, identifier: str, qualifier: str | None = None) -> tuple[Function, Configuration]:
        """Find the version that a request names, by itself or by an alias. Raises Fault."""
        function, name = self.named(identifier, qualifier)
        version = name.version
        if not name.is_version:
            alias = function.aliases.get(version)
            if alias is None:
                raise alias_missing(f"{function.arn}:{version}")
            version = alias.version
        return function, self.configuration(function, version)

    def configuration(self, function: Function, version: str) -> Configuration:
        """Find a version. Raises Fault."""
        try:
            return self.registry.configuration(function, version)
        except FunctionMissing as missing:
            raise function_missing(missing.arn) from None

    async def change(self, function: Function, decide: Callable[[Function], Function]) -> Function:
        """Change a function by a decision on its present value. Raises Fault, and what the decision raises."""
        try:
            return await self.registry.change(function.name, decide)
        except FunctionMissing:
            raise function_missing(function.arn) from None

    def require_qualifier(self, function: Function, name: FunctionName) -> str:
        """Give the qualifier, ``$LATEST`` for none, of a version or alias that is there. Raises Fault."""
        if name.is_version:
            self.configuration(function, name.version)
        elif name.version not in function.aliases:
            raise alias_missing(f"{function.arn}:{name.version}")
        return name.version

    def document(
        self, function: Function, configuration: Configuration, *, is_settled: bool | None = None
    ) -> dict[str, object]:
        """Tell of a version as it is now; an answer to a change tells that it is not settled yet."""
        if is_settled is None:
            is_settled = configuration.is_settled(self.clock.now_ms())
        sizes = {arn: self.layers.size_of(arn) for arn in configuration.layers}
        return configuration_document(function, configuration, is_settled=is_settled, layer_sizes=sizes)

    def require_settled(self, function: Function, configuration: Configuration) -> None:
        """Refuse to change what is still changing. Raises Fault."""
        if not configuration.is_settled(self.clock.now_ms()):
            arn = qualified(function, configuration.version)
            sentence = f"The operation cannot be performed at this time. An update is in progress for resource: {arn}"
            raise Fault(409, "ResourceConflictException", {"Type": "User", "message": sentence})

    def require_target(self, target: str) -> None:
        """Refuse a destination that cannot be reached. Raises Fault."""
        try:
            self.check_target(target)
        except TargetUnknown as unknown:
            raise invalid(str(unknown)) from None

    def new_revision(self) -> str:
        """Make a revision."""
        return str(uuid.uuid4())
