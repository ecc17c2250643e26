"""The settings of functions that have more than one value, as TOML: endpoints, push routes, destinations, runtimes.

What a table holds is read by whoever uses it; here it is only told apart, and anything else is refused.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamd.errors import ConfigInvalid

__all__ = ["FunctionSettings"]

_TABLES = frozenset({"destinations", "endpoint", "push_route", "runtime"})


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """The tables by name."""

    tables: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str | None) -> "FunctionSettings":
        """Read the file's text; without one there are no tables. Raises ConfigInvalid."""
        try:
            tables = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            raise ConfigInvalid(f"the settings of functions are not TOML: {error}") from None
        except (RecursionError, ValueError):
            raise ConfigInvalid("the settings of functions are not TOML: something is nested too deep") from None
        for name in tables:
            if name not in _TABLES:
                raise ConfigInvalid(
                    f"unknown table {name!r} in the settings of functions: {', '.join(sorted(_TABLES))}"
                )
        destinations = tables.get("destinations", {})
        if not isinstance(destinations, dict) or destinations.keys() - {"folders"}:
            raise ConfigInvalid("[destinations] in the settings of functions holds folders, a list of absolute paths")
        return cls(tables)

    @property
    def endpoints(self) -> Any:
        """The ``[[endpoint]]`` tables."""
        return self.tables.get("endpoint", [])

    @property
    def push_routes(self) -> Any:
        """The ``[[push_route]]`` tables."""
        return self.tables.get("push_route", [])

    @property
    def folders(self) -> Any:
        """The folders that destinations may write to."""
        return self.tables.get("destinations", {}).get("folders", [])
