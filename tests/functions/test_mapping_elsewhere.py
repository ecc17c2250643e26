"""A stream of another server as the source of a mapping, by the endpoint that its ARN is reached at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.workers.wire import until

HANDLER = """
import base64
def handler(event, context):
    for record in event["Records"]:
        print("SAW", base64.b64decode(record["kinesis"]["data"]).decode())
"""


def test_a_stream_elsewhere_is_a_source_by_an_endpoint(
    daemon_factory: Callable[..., Daemon], daemon: Daemon, kinesis: Any, stream_name: str, tmp_path: Path
) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    source = f"arn:aws:kinesis:us-east-1:111111111111:stream/{stream_name}"
    settings = tmp_path / "functions.toml"
    settings.write_text(f'[[endpoint]]\narn = "arn:aws:kinesis:*:111111111111:*"\nendpoint_url = "{daemon.url}"\n')
    near = daemon_factory("--functions-config", str(settings))
    client = lambda_client(near)
    deploy(client, "f", HANDLER)
    client.create_event_source_mapping(FunctionName="f", EventSourceArn=source, StartingPosition="TRIM_HORIZON")

    kinesis.put_record(StreamName=stream_name, PartitionKey="k", Data=b"from afar")

    logs = lambda_client(near, "logs")

    def seen() -> list[str]:
        events = logs.filter_log_events(logGroupName="/aws/lambda/f", filterPattern="SAW")["events"]
        return [event["message"].strip() for event in events]

    until(lambda: seen() == ["SAW from afar"])
