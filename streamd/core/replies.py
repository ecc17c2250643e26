"""An answer on its way out, as plain values: who wrote it knows no HTTP library, and who sends it no dialect."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

__all__ = ["Reply"]


class Reply(NamedTuple):
    """An answer, ready to be sent: a body, or frames that are sent one by one as they come.

    ``fields`` are the header lines as HTTP/1.1 has them, each with its end, since most answers go out just so.
    Whoever sends the frames closes the generator, also when the client goes away before its end.
    """

    status: int
    fields: bytes
    body: bytes = b""
    frames: AsyncGenerator[bytes, None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The header lines by name."""
        lines = self.fields.decode().split("\r\n")
        return dict(line.split(": ", 1) for line in lines if line)
