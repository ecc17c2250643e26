"""h2's state of a connection, with the bounds that we tell our clients."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from streamd.server.http2_heads import LiteralEncoder

__all__ = ["STREAM_COUNT_MAX", "WINDOW_BYTE_COUNT", "ending_on_a_bug", "new_state"]

_LOG = logging.getLogger(__name__)

STREAM_COUNT_MAX = 256
"""Requests at a time: four connections carry 1,000 pushes, and h2 walks all of them for each new one."""

WINDOW_BYTE_COUNT = 256 * 1024
"""What a stream may send unasked: nearly every put, and 64 MiB of a connection that opens all it may."""

HEADER_LIST_BYTE_COUNT_MAX = 64 * 1024
_CONNECTION_WINDOW_MAX = 2**31 - 1
_CONNECTION_WINDOW_AT_FIRST = 65_535


class _State(H2Connection):
    """h2's connection, which goes on after a client's GOAWAY and remembers fewer closed streams."""

    # They are kept only to name a late frame's error.
    MAX_CLOSED_STREAMS = 1024

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        # h2 closes for both sides here and forgets what is still to be sent; RFC 9113 (6.8) wants the requests that
        # were accepted to be answered.
        unsent = bytes(self._data_to_send)
        frames, events = super()._receive_goaway_frame(frame)
        self._data_to_send += unsent
        self.state_machine.state = ConnectionState.SERVER_OPEN
        return frames, events


def new_state() -> H2Connection:
    """Make the state of a new connection, with its first frames ready to be sent."""
    state = _State(
        H2Configuration(
            client_side=False,
            # server.http2_heads asks the same in less time.
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    # In force at once, and not only when the client has confirmed them.
    state.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAM_COUNT_MAX,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTE_COUNT,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTE_COUNT_MAX,
        },
    )
    state.decoder.max_header_list_size = HEADER_LIST_BYTE_COUNT_MAX
    state.encoder = LiteralEncoder()  # type: ignore[assignment]  # it has the two members that h2 uses
    state.initiate_connection()
    # What streams may send together is bounded by the windows of each.
    state.increment_flow_control_window(_CONNECTION_WINDOW_MAX - _CONNECTION_WINDOW_AT_FIRST)
    return state


@contextmanager
def ending_on_a_bug(end: Callable[[], None]) -> Iterator[None]:
    """End a connection, and not the worker, when h2 finds that we spoke out of turn."""
    try:
        yield
    except ProtocolError:
        _LOG.exception("an answer could not be sent; this is a bug in streamd")
        end()
