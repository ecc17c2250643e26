"""Notes what a client of botocore's kind does: every operation that was answered well, as it happens."""

from typing import Any

from tests.clients.client_table import ClientRow

__all__ = ["note_operations"]

# Lambda answers with all four.
_GOOD = frozenset({200, 201, 202, 204})


def note_operations(origin: Any, row: ClientRow) -> None:
    """Have a row note each operation of a client, or of a session's clients, that was answered with success."""

    def note(http_response: Any, model: Any, **_: Any) -> None:
        if http_response.status_code in _GOOD:
            row.ran(model.name)

    events = origin.meta.events if hasattr(origin, "meta") else origin
    for service in ("kinesis", "lambda"):
        events.register(f"after-call.{service}", note)
