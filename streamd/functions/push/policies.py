"""What the functions say of who may push to them: that they are there, and whom their resource policies let in."""

from typing import Protocol

from streamd.core.function import Function
from streamd.errors import FunctionMissing
from streamd.functions.faults import Fault
from streamd.functions.naming import Account, FunctionName, parse_name
from streamd.functions.permissions import allows
from streamd.functions.registry import Registry

__all__ = ["Allows", "RegistryPolicies"]


class Allows(Protocol):
    """Knows the functions and their resource policies."""

    def is_there(self, function_arn: str) -> bool:
        """Tell whether there is such a function, version or alias."""
        ...

    def allows(self, function_arn: str, principal: str, source_arn: str) -> bool:
        """Tell whether a principal may invoke a function for a source; the source may be empty."""
        ...


class RegistryPolicies:
    """The policies of the functions that are registered."""

    def __init__(self, account: Account, registry: Registry) -> None:
        self._account = account
        self._registry = registry

    def is_there(self, function_arn: str) -> bool:
        """Tell whether there is such a function, version or alias."""
        found = self._find(function_arn)
        if found is None:
            return False
        function, name = found
        if not name.is_version:
            return name.version in function.aliases
        try:
            self._registry.configuration(function, name.version)
        except FunctionMissing:
            return False
        return True

    def allows(self, function_arn: str, principal: str, source_arn: str) -> bool:
        """Tell whether the policy of a function, version or alias lets a principal in for a source."""
        found = self._find(function_arn)
        return found is not None and allows(found[0], found[1].qualifier, principal, source_arn or None)

    def _find(self, arn: str) -> tuple[Function, FunctionName] | None:
        try:
            name = parse_name(self._account, arn)
        except Fault:
            return None
        function = self._registry.find(name.name)
        return None if function is None else (function, name)
