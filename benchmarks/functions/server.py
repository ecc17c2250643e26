"""The server under measurement, and the few calls that the benchmark makes of it."""

import io
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from sys import executable
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import orjson

from benchmarks.kinesis_calls import KinesisCaller
from benchmarks.programs import Program, free_port, started_program, wait_until

__all__ = ["FUNCTIONS", "Server", "served"]

FUNCTIONS = "/2015-03-31/functions"
_MAPPINGS = "/2015-03-31/event-source-mappings"
_ROLE = "arn:aws:iam::000000000000:role/benchmark"
_PATIENCE_S = 120
# Any signature is accepted without --auth, but there must be one.
CLAIM = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"


class Server:
    """A running ``streamd serve``."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.port = port
        self.kinesis = KinesisCaller(port, is_signed=False)

    def call(self, method: str, path: str, document: object = None, **query: str) -> Any:
        """Call the Lambda API; the answer's document. Raises HTTPError."""
        url = f"http://127.0.0.1:{self.port}{path}{'?' if query else ''}{urlencode(query)}"
        body = None if document is None else orjson.dumps(document)
        request = Request(url, data=body, method=method, headers={"Authorization": CLAIM})
        with urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310 - our own server
            content = answer.read()
        return orjson.loads(content) if content else None

    def deploy(self, name: str, code: str, **settings: Any) -> None:
        """Make a function of one module."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", code)
        document = {
            "FunctionName": name,
            "Runtime": "python3.11",
            "Role": _ROLE,
            "Handler": "app.handler",
            "Code": {"ZipFile": b64encode(buffer.getvalue()).decode()},
            **settings,
        }
        self.call("POST", FUNCTIONS, document)

    def create_stream(self, name: str, *, shard_count: int) -> str:
        """Make a stream; its ARN."""
        self.kinesis.call("CreateStream", {"StreamName": name, "ShardCount": shard_count})
        summary = self.kinesis.call("DescribeStreamSummary", {"StreamName": name})["StreamDescriptionSummary"]
        return str(summary["StreamARN"])

    def map(self, stream_arn: str, function: str, **settings: Any) -> str:
        """Feed a stream to a function; the mapping's UUID."""
        document = {
            "EventSourceArn": stream_arn,
            "FunctionName": function,
            "StartingPosition": "TRIM_HORIZON",
            **settings,
        }
        return str(self.call("POST", _MAPPINGS, document)["UUID"])

    def counters(self, mapping: str) -> Mapping[str, int]:
        """Tell what became of a mapping's records."""
        counters: Mapping[str, int] = self.call("GET", f"/_streamd/mappings/{mapping}")["counters"]
        return counters


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[Server]:
    """Run a server for as long as the context lasts."""
    port = free_port()
    command = [executable, "-m", "streamd", "serve", "--port", str(port), "--data", str(folder / "data"), *flags]
    program = started_program(command, folder=folder)
    try:
        wait_until(_answers(port), program=program)
        yield Server(program, port)
    finally:
        program.stop()


def _answers(port: int) -> Callable[[], bool]:
    def ask() -> bool:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    return ask
