"""What tests of functions share: packages of code, and clients of the Lambda API that do not retry."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from tests.daemons import Daemon

__all__ = ["ROLE", "deploy", "lambda_client", "package"]

ROLE = "arn:aws:iam::000000000000:role/tests"
ECHO = "def handler(event, context):\n    return event\n"


def package(
    code: str | bytes = ECHO, name: str = "app.py", *, others: Mapping[str, str | bytes] | None = None
) -> bytes:
    """Zip a file, and others beside it; all may be executed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {name: code, **(others or {})}.items():
            entry = zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def lambda_client(daemon: Daemon, service: str = "lambda", **settings: Any) -> Any:
    """Make a boto3 client of a daemon."""
    return boto3.client(
        service,
        endpoint_url=settings.pop("url", daemon.url),
        region_name=settings.pop("region", "us-east-1"),
        aws_access_key_id=settings.pop("access_key", "AKIAEXAMPLE"),
        aws_secret_access_key=settings.pop("secret_key", "secret-for-tests-only"),
        config=Config(
            retries={"total_max_attempts": 1},
            parameter_validation=settings.pop("validate", False),
            max_pool_connections=settings.pop("connections", 20),
            read_timeout=settings.pop("patience_s", 60),
        ),
    )


def deploy(client: Any, name: str, code: str | bytes = ECHO, **settings: Any) -> Any:
    """Create a function and wait until it is active; the answer."""
    others = settings.pop("others", None)
    file = settings.pop("file", "app.py")
    answer = client.create_function(
        **{
            "FunctionName": name,
            "Runtime": "python3.11",
            "Role": ROLE,
            "Handler": "app.handler",
            "Code": {"ZipFile": package(code, file, others=others)},
            **settings,
        }
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return answer
