"""The counters that a life's workers share, in memory: gone with the last of them, as those of a server are."""

from streamd.storage.counters import Counters

__all__ = ["MemoryCounters"]


class MemoryCounters(Counters):
    """Claims by name; nothing is limited here, so nothing is counted."""

    def __init__(self) -> None:
        self._since_ms_by_name: dict[str, int] = {}

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def claim(self, name: str, *, now_ms: int, until_ms: int, guard_ms: int) -> bool:
        """Become the holder of a name, in place of any other; False if that one has held it for less than the guard."""
        del until_ms  # Nothing is forgotten in so short a life.
        since_ms = self._since_ms_by_name.get(name)
        if since_ms is not None and now_ms - since_ms < guard_ms:
            return False
        self._since_ms_by_name[name] = now_ms
        return True

    def claimed_ms(self, name: str) -> int | None:
        """Tell when a name was claimed last; None when it never was."""
        return self._since_ms_by_name.get(name)
