"""What functions are called in requests: names and ARNs, whole or in part, with or without a qualifier."""

import re
from dataclasses import dataclass

from streamd.core.function import LATEST
from streamd.functions.faults import Fault, invalid, not_found, validation

__all__ = ["Account", "FunctionName", "alias_missing", "function_missing", "parse_name"]

_NAME_LENGTH_MAX = 64
_IDENTIFIER = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)
_VERSION = re.compile(r"\$LATEST|\d+")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose functions these are, and where; writes their ARNs."""

    id: str
    region: str

    def function_arn(self, name: str, region: str = "") -> str:
        """Give a function's ARN, without a qualifier."""
        return f"arn:aws:lambda:{region or self.region}:{self.id}:function:{name}"


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function as a request names it; the qualifier is None where none was given."""

    name: str
    qualifier: str | None

    @property
    def is_version(self) -> bool:
        """Whether the qualifier is a version, or there is none."""
        return self.qualifier is None or _VERSION.fullmatch(self.qualifier) is not None

    @property
    def version(self) -> str:
        """The qualifier, ``$LATEST`` for none."""
        return self.qualifier or LATEST


def parse_name(account: Account, identifier: str, qualifier: str | None = None) -> FunctionName:
    """Read a function's name or ARN, and the qualifier that came apart from it.

    Raises Fault when they disagree, are nothing of the kind, or mean another account's function.
    """
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None:
        raise invalid(f"{identifier} is not a valid function ARN or name.")
    name = match["name"]
    if len(name) > _NAME_LENGTH_MAX:
        raise validation(
            f"Value '{identifier}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_NAME_LENGTH_MAX}"
        )
    if match["account"] not in (None, account.id):
        raise not_found(f"Function not found: {identifier}")
    derived = match["qualifier"]
    if derived and qualifier and derived != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return FunctionName(name, derived or qualifier)


def function_missing(arn: str) -> Fault:
    """Make AWS's word for a function or version that is not there."""
    return not_found(f"Function not found: {arn}")


def alias_missing(arn: str) -> Fault:
    """Make AWS's word for an alias that is not there."""
    return not_found(f"Cannot find alias arn: {arn}")
