"""Short-lived facts that all workers share: how much of a limit was used in this second, and who holds what.

An LMDB environment of its own, never synced and emptied at each start. LMDB's lock recovers from a worker that dies
while it holds it, which plain shared memory would not. Its times are those of a clock that only grows.
"""

import struct
from pathlib import Path

import lmdb

__all__ = ["Counters"]

_WINDOW = struct.Struct("<QQ")
_SIZE = 256 << 20
_SWEEP_COUNT = 10_000


class Counters:
    """Counts by name within windows of time."""

    def __init__(self, path: Path) -> None:
        self._environment = lmdb.open(
            str(path), map_size=_SIZE, mode=0o600, sync=False, metasync=False, max_dbs=0, max_readers=1024
        )
        self._since_sweep = 0

    def close(self) -> None:
        """Close the environment."""
        self._environment.close()

    def take(self, name: str, amount: int, *, at_most: int, now_ms: int, window_ms: int = 1000) -> bool:
        """Add to a count if it stays within ``at_most`` in this window; False (nothing added) when it would not.

        An amount larger than the whole window's is let through when the window is still empty.
        """
        window = now_ms // window_ms
        key = name.encode()[:500]
        with self._environment.begin(write=True) as transaction:
            value = transaction.get(key)
            found, used = _WINDOW.unpack(value) if value else (window, 0)
            if found != window:
                used = 0
            if used and used + amount > at_most:
                return False
            transaction.put(key, _WINDOW.pack(window, used + amount))
            self._sweep_now_and_then(transaction, window)
        return True

    def owe(self, name: str, amount: int, *, rate_per_s: int, now_ms: int) -> None:
        """Add to a debt that is paid off at a rate; less than a second's worth is no debt."""
        key = name.encode()[:500]
        with self._environment.begin(write=True) as transaction:
            value = transaction.get(key)
            _, paid_ms = _WINDOW.unpack(value) if value else (0, 0)
            paid_ms = max(paid_ms, now_ms) + amount * 1000 // rate_per_s
            transaction.put(key, _WINDOW.pack(now_ms // 1000, paid_ms))

    def is_in_debt(self, name: str, *, now_ms: int) -> bool:
        """Tell whether more than a second's worth of the debt is still to be paid."""
        with self._environment.begin() as transaction:
            value = transaction.get(name.encode()[:500])
        return value is not None and _WINDOW.unpack(value)[1] > now_ms + 1000

    def claim(self, name: str, *, now_ms: int, until_ms: int, guard_ms: int) -> bool:
        """Become the holder of a name, in place of any other; False if that one has held it for less than the guard.

        A claim is known by the moment it was made, and forgotten some time after ``until_ms``.
        """
        key = name.encode()[:500]
        with self._environment.begin(write=True) as transaction:
            value = transaction.get(key)
            if value is not None and now_ms - _WINDOW.unpack(value)[1] < guard_ms:
                return False
            transaction.put(key, _WINDOW.pack(until_ms // 1000, now_ms))
            self._sweep_now_and_then(transaction, now_ms // 1000)
        return True

    def claimed_ms(self, name: str) -> int | None:
        """Tell when a name was claimed last; None when it never was."""
        with self._environment.begin() as transaction:
            value = transaction.get(name.encode()[:500])
        return None if value is None else int(_WINDOW.unpack(value)[1])

    def _sweep_now_and_then(self, transaction: lmdb.Transaction, window: int) -> None:
        self._since_sweep += 1
        if self._since_sweep > _SWEEP_COUNT:
            self._sweep(transaction, before=window - 10)
            self._since_sweep = 0

    def _sweep(self, transaction: lmdb.Transaction, *, before: int) -> None:
        """Forget windows long past, so that names of deleted streams take no room."""
        old = [bytes(key) for key, value in transaction.cursor() if _WINDOW.unpack(value)[0] < before]
        for key in old:
            transaction.delete(key)
