"""Stands in for awslambdaric's compiled ``runtime_client`` where that was built for another Python.

It lies in the runtime's folder as ``runtime_client.py``; an interpreter that can load the compiled one takes that one.
It promises the same four functions and answers, over one connection that is kept. Nothing of streamd can be imported
here: the function's interpreter runs it.
"""

import http.client
import os
from typing import Any

__all__ = ["initialize_client", "next", "post_error", "post_invocation_result"]

_PREFIX = "/2018-06-01/runtime/invocation"
_connections: list[http.client.HTTPConnection] = []
_agents: list[str] = []


def initialize_client(user_agent: str) -> None:
    """Take note of who speaks; the address is the environment's."""
    _agents[:] = [user_agent]


def next() -> tuple[bytes, dict[str, str | None]]:  # noqa: A001 - the name that awslambdaric calls
    """Wait for an event: its body, and the fields of its head."""
    response, body = _call("GET", "/next", None, {})
    if response.status != http.client.OK:
        raise RuntimeError(f"Failed to get next invocation: {response.status}")
    names = ("Request-Id", "Tenant-Id")
    fields = {f"Lambda-Runtime-Aws-{name}": response.getheader(f"Lambda-Runtime-Aws-{name}") for name in names}
    for name in ("Trace-Id", "Invoked-Function-Arn", "Deadline-Ms", "Client-Context", "Cognito-Identity"):
        fields[f"Lambda-Runtime-{name}"] = response.getheader(f"Lambda-Runtime-{name}")
    fields["Content-Type"] = response.getheader("Content-Type")
    return body, fields


def post_invocation_result(invoke_id: str, content: bytes, content_type: str, *_: Any) -> None:
    """Answer an event."""
    _post(f"/{invoke_id}/response", content, {"Content-Type": content_type})


def post_error(invoke_id: str, content: str, xray_cause: str, *_: Any) -> None:
    """Answer an event with an error."""
    fields = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled"}
    if xray_cause:
        fields["Lambda-Runtime-Function-XRay-Error-Cause"] = xray_cause.encode("ascii", "backslashreplace").decode()
    _post(f"/{invoke_id}/error", content.encode(), fields)


def _post(path: str, content: bytes, fields: dict[str, str]) -> None:
    response, _ = _call("POST", path, content, fields)
    if response.status != http.client.ACCEPTED:
        raise RuntimeError(f"Failed to post invocation response: {response.status}")


def _call(
    method: str, path: str, content: bytes | None, fields: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    if not _connections:
        _connections.append(http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"]))
    connection = _connections[0]
    connection.request(method, _PREFIX + path, content, {"User-Agent": "".join(_agents), **fields})
    response = connection.getresponse()
    return response, response.read()
