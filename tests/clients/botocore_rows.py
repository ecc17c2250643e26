"""Notes what a botocore client does: every operation that was answered well, as it happens."""

from typing import Any

from tests.clients.client_table import ClientRow

__all__ = ["note_operations"]


def note_operations(client: Any, row: ClientRow) -> None:
    """Have a row note each operation of a client that was answered with 200."""

    def note(http_response: Any, model: Any, **_: Any) -> None:
        if http_response.status_code == 200:
            row.ran(model.name)

    client.meta.events.register("after-call.kinesis", note)
