"""What a client may cost an HTTP/2 connection: h2 reads no frame that was not counted here before.

h2 bounds single things: a header block's decoded size, CONTINUATION frames in a row, streams open at once, windows. It
does not bound how often a client may do what is cheap to send and dear to answer, and of some frames (a reset of a
stream that is gone) it does not even tell. So frames that carry nothing are paid for from an allowance that grows with
time, and window updates by the bytes that were sent: a client that works never notices, and a flood ends its own
connection (rapid reset CVE-2023-44487; SETTINGS, PING, PRIORITY, empty and tiny DATA, WINDOW_UPDATE of a byte at a
time; CONTINUATION CVE-2024-27316).

Rules only: bytes and moments come in, a verdict goes out.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

__all__ = ["PREFACE", "FrameGuard", "TooMuch"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every client's side of an HTTP/2 connection begins with."""

_FRAME_HEAD_BYTE_COUNT = 9
_END_STREAM = 0x1
_END_HEADERS = 0x4
# As much as a head of HTTP/1.1 may have, and h2's bound on the decoded list.
_HEADER_BLOCK_BYTE_COUNT_MAX = 64 * 1024
# A client may cancel all its streams a few times over at once, or ping as a monitor does; see the prices.
_ALLOWANCE = 1_000.0
_ALLOWANCE_PER_S = 100.0
# PRIORITY, and kinds that nobody knows: both are skipped, which costs a little.
_PRICE_OF_OTHERS = 1.0
_PRICE_OF_EMPTY_DATA = 5.0
# No client splits a body so finely; one that does pays for each piece beyond a few for each request. (Some send a small
# body and its end as two frames.)
_TINY_DATA_BYTE_COUNT = 256
_PRICE_OF_TINY_DATA = 1.0
_PIECES_PER_REQUEST = 4
_PIECES_IN_HAND_MAX = 1_000
# Two updates (stream and connection) for every 512 bytes that the client took are still free.
_SENT_BYTE_COUNT_PER_UPDATE = 256
_UPDATES_IN_HAND_MAX = 100_000.0
# Some clients reset every stream once they have read its answer, which costs nobody anything.
_RESETS_IN_HAND_MAX = 1_000


class _Kind(IntEnum):
    """The kinds of frames that are counted for themselves."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_PRICE_BY_KIND: Final[Mapping[int, float]] = MappingProxyType(
    {
        _Kind.RST_STREAM: 1.0,
        _Kind.SETTINGS: 10.0,
        _Kind.PING: 5.0,
        _Kind.GOAWAY: 10.0,
        _Kind.WINDOW_UPDATE: 1.0,
        # The largest head takes three; h2 itself would end a connection over the 65th, with a word that says less.
        _Kind.CONTINUATION: 30.0,
    }
)


class TooMuch(Exception):
    """The client did something too often: its connection ends."""


class FrameGuard:
    """Counts the frames of one connection. Its first bytes are the preface."""

    __slots__ = (
        "_allowance",
        "_block_byte_count",
        "_counted_s",
        "_head",
        "_is_in_block",
        "_pieces_in_hand",
        "_resets_in_hand",
        "_skipped_byte_count",
        "_updates_in_hand",
        "incomplete_since_s",
    )

    def __init__(self, *, now_s: float) -> None:
        self._allowance = _ALLOWANCE
        self._counted_s = now_s
        self._updates_in_hand = 0.0
        self._pieces_in_hand = 0
        self._resets_in_hand = 0
        self._head = b""
        self._skipped_byte_count = len(PREFACE)
        self._is_in_block = False
        self._block_byte_count = 0
        self.incomplete_since_s: float | None = now_s
        """Since when a frame or a header block has not come to its end; None between frames."""

    def is_incomplete_for(self, now_s: float, patience_s: float) -> bool:
        """Tell whether a frame or a header block has not come to its end for so long."""
        return self.incomplete_since_s is not None and now_s - self.incomplete_since_s > patience_s

    def sent(self, byte_count: int) -> None:
        """Note bytes of answers, which the client will grant new room for."""
        self._updates_in_hand = min(
            _UPDATES_IN_HAND_MAX, self._updates_in_hand + byte_count / _SENT_BYTE_COUNT_PER_UPDATE
        )

    def answered(self) -> None:
        """Note an answer that was sent to its end."""
        self._resets_in_hand = min(_RESETS_IN_HAND_MAX, self._resets_in_hand + 1)

    def look(self, data: bytes, *, now_s: float) -> None:
        """Look at bytes as they come. Raises TooMuch."""
        self._allowance = min(_ALLOWANCE, self._allowance + (now_s - self._counted_s) * _ALLOWANCE_PER_S)
        self._counted_s = now_s
        at, end = 0, len(data)
        while at < end:
            if self._skipped_byte_count:
                step = min(self._skipped_byte_count, end - at)
                self._skipped_byte_count -= step
                at += step
                continue
            piece = data[at : at + _FRAME_HEAD_BYTE_COUNT - len(self._head)]
            at += len(piece)
            head = self._head + piece
            if len(head) < _FRAME_HEAD_BYTE_COUNT:
                self._head = head
                break
            self._head = b""
            self._skipped_byte_count = int.from_bytes(head[:3], "big")
            self._count(head[3], head[4], self._skipped_byte_count)
        if not (self._head or self._skipped_byte_count or self._is_in_block):
            self.incomplete_since_s = None
        elif self.incomplete_since_s is None:
            self.incomplete_since_s = now_s

    def _count(self, kind: int, flags: int, byte_count: int) -> None:
        if kind in (_Kind.HEADERS, _Kind.CONTINUATION):
            self._count_block(kind, flags, byte_count)
        match kind:
            case _Kind.HEADERS:
                # What requests cost is bounded by the streams that are open at once; how often, by their resets.
                self._pieces_in_hand = min(_PIECES_IN_HAND_MAX, self._pieces_in_hand + _PIECES_PER_REQUEST)
            case _Kind.DATA:
                self._count_data(flags, byte_count)
            case _Kind.WINDOW_UPDATE if self._updates_in_hand >= 1:
                self._updates_in_hand -= 1
            case _Kind.RST_STREAM if self._resets_in_hand:
                self._resets_in_hand -= 1
            case _:
                self._pay(_PRICE_BY_KIND.get(kind, _PRICE_OF_OTHERS))

    def _count_block(self, kind: int, flags: int, byte_count: int) -> None:
        self._block_byte_count = byte_count + (self._block_byte_count if kind == _Kind.CONTINUATION else 0)
        if self._block_byte_count > _HEADER_BLOCK_BYTE_COUNT_MAX:
            raise TooMuch("header block too large")
        self._is_in_block = not flags & _END_HEADERS

    def _count_data(self, flags: int, byte_count: int) -> None:
        if flags & _END_STREAM or byte_count >= _TINY_DATA_BYTE_COUNT:
            return
        if self._pieces_in_hand:
            self._pieces_in_hand -= 1
            return
        self._pay(_PRICE_OF_TINY_DATA if byte_count else _PRICE_OF_EMPTY_DATA)

    def _pay(self, price: float) -> None:
        self._allowance -= price
        if self._allowance < 0:
            raise TooMuch("too many frames that carry nothing")
