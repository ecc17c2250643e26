"""A body while it comes: kept in few pieces, however small those are in which the client sends it.

Each object of Python's takes some fifty bytes beside what it holds, so kept as they come, pieces of two bytes would
take up to thirty times what was sent.
"""

__all__ = ["Pieces"]

# Below this a piece is copied to the others, above it that would cost more than the object does.
_SMALL_BYTE_COUNT_MAX = 4096
# What grows is moved now and then: nothing much longer than this is.
_JOINED_BYTE_COUNT_MAX = 64 * 1024


class Pieces:
    """What has come of a body."""

    __slots__ = ("_pieces", "byte_count")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.byte_count = 0

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        self.byte_count += len(data)
        if len(data) > _SMALL_BYTE_COUNT_MAX:
            self._pieces.append(data)
            return
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < _JOINED_BYTE_COUNT_MAX:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def take(self) -> bytes:
        """Give all of it, and hold it no longer."""
        # A single one that was never copied is given as it is.
        whole = b"".join(self._pieces)
        self._pieces, self.byte_count = [], 0
        return whole
