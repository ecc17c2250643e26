"""What the registry knows of a function's asynchronous invocations."""

from streamd.core.function import LATEST, EventSettings
from streamd.errors import FunctionMissing
from streamd.functions.faults import Fault
from streamd.functions.naming import Account, parse_name
from streamd.functions.queue.dispatcher import EventTargets
from streamd.functions.registry import Registry

__all__ = ["RegistrySettings"]


class RegistrySettings:
    """The event settings of functions."""

    def __init__(self, account: Account, registry: Registry) -> None:
        self._account = account
        self._registry = registry

    def targets_of(self, arn: str) -> EventTargets:
        """Tell what is configured for a function, version or alias. Raises FunctionMissing."""
        try:
            name = parse_name(self._account, arn)
        except Fault:
            raise FunctionMissing(arn) from None
        function = self._registry.find(name.name)
        if function is None:
            raise FunctionMissing(arn)
        version = name.version
        if not name.is_version:
            alias = function.aliases.get(version)
            if alias is None:
                raise FunctionMissing(arn)
            version = alias.version
        return EventTargets(
            settings=function.event_settings.get(name.qualifier or LATEST, EventSettings()),
            dead_letter=self._registry.configuration(function, version).dead_letter,
            is_stopped=function.reserved == 0,
            stops_loops=function.recursion != "Allow",
        )
