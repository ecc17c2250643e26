"""Functions that tell what they were handed, and the reading of what they told.

The handler puts a line for each invocation into a stream of one shard before it answers: the lines are in the order in
which the invocations happened, and outlive any kill of the daemon. What the handler answers is the test's own.
"""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.daemons import Daemon
from tests.functions.lambdas import deploy, lambda_client
from tests.workers.wire import until

__all__ = ["PATIENCE_S", "Invocation", "Row", "Stage"]

PATIENCE_S = 90
_PUT_COUNT_MAX = 500

_WITNESS = """
import json, os, urllib.request
from base64 import b64decode, b64encode

def handler(event, context):
    rows = [
        (r["kinesis"]["sequenceNumber"], r["kinesis"]["partitionKey"], b64decode(r["kinesis"]["data"]).decode())
        for r in event["Records"]
    ]
    told = {key: value for key, value in event.items() if key != "Records"}
    told["name"] = context.function_name
    told["ids"] = [r["eventID"] for r in event["Records"]]
    told["sources"] = sorted({r["eventSourceARN"] for r in event["Records"]})
    told["rows"] = rows
    put(told)
    return answer(event, [text for _, _, text in rows])

def put(told):
    data = b64encode(json.dumps(told).encode()).decode()
    body = json.dumps({"StreamName": os.environ["SEEN"], "PartitionKey": "-", "Data": data}).encode()
    headers = {"X-Amz-Target": "Kinesis_20131202.PutRecord", "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"] + "/", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        reply.read()

"""
_FINE = "def answer(event, texts):\n    return None\n"


@dataclass(frozen=True, slots=True)
class Row:
    """A record: as it was put, or as a function was handed it."""

    number: int
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a function said of one invocation. ``told`` is the rest of the event, with the function's name."""

    rows: tuple[Row, ...]
    told: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        """The records' data."""
        return [row.text for row in self.rows]

    @property
    def shard_id(self) -> str:
        """The shard that the records are of."""
        return str(self.told["ids"][0].partition(":")[0])


@dataclass(slots=True)
class Stage:
    """A stream, functions that witness it, and the mappings between them, all of one daemon."""

    daemon: Daemon
    stream: str
    kinesis: Any = field(init=False)
    functions: Any = field(init=False)
    names: set[str] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.meet(self.daemon)

    def meet(self, daemon: Daemon) -> None:
        """Talk to this daemon from now on: it took over the data of the one before."""
        self.daemon = daemon
        self.kinesis = daemon.client()
        self.functions = lambda_client(daemon)

    def hang_up(self) -> None:
        """Close the connections; the next calls open others."""
        self.kinesis.close()
        self.functions.close()

    @property
    def seen_stream(self) -> str:
        """The stream that functions tell what they saw."""
        return f"{self.stream}-seen"

    @property
    def arn(self) -> str:
        """The source's ARN."""
        return self.arn_of(self.stream)

    def arn_of(self, stream: str) -> str:
        """Give a stream's ARN."""
        return f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}"

    def build(self, *, shard_count: int = 1) -> None:
        """Create the streams."""
        self.create_stream(self.stream, shard_count)
        self.create_stream(self.seen_stream)

    def keep_for_a_year(self) -> None:
        """Have the streams keep their records while a test sets the clock forward."""
        for name in self.streams:
            self.kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=8760)

    def create_stream(self, name: str, shard_count: int = 1) -> None:
        """Create a stream and wait until it is there."""
        self.streams.add(name)
        self.kinesis.create_stream(StreamName=name, ShardCount=shard_count)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})

    def clear(self) -> None:
        """Delete everything: others use the daemon too."""
        for name in self.names:
            self._forget_mappings(name)
            try:
                self.functions.delete_function(FunctionName=name)
            except self.functions.exceptions.ResourceNotFoundException:
                continue
        for name in self.streams:
            try:
                self.kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
            except self.kinesis.exceptions.ResourceNotFoundException:
                continue

    def _forget_mappings(self, name: str) -> None:
        for mapping in self.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            self.functions.delete_event_source_mapping(UUID=mapping["UUID"])

    def deploy(self, name: str, answer: str = _FINE) -> str:
        """Deploy a witness under a name of this stage's own; what it answers is Python's ``answer(event, texts)``."""
        own = f"{self.stream}-{name}"
        variables = {"SEEN": self.seen_stream}
        deploy(self.functions, own, _WITNESS + answer, Environment={"Variables": variables}, Timeout=60)
        self.names.add(own)
        return own

    def map(self, function: str, **members: Any) -> str:
        """Create a mapping from the start of the source, and wait until it works; its UUID."""
        given = {"FunctionName": function, "EventSourceArn": self.arn, "StartingPosition": "TRIM_HORIZON", **members}
        mapping = str(self.functions.create_event_source_mapping(**given)["UUID"])
        self.wait_for_state(mapping, "Enabled")
        return mapping

    def update(self, mapping: str, **members: Any) -> None:
        """Change a mapping, and wait until it is changed."""
        self.functions.update_event_source_mapping(UUID=mapping, **members)
        is_enabled = members.get("Enabled", True)
        self.wait_for_state(mapping, "Enabled" if is_enabled else "Disabled")

    def wait_for_state(self, mapping: str, state: str) -> None:
        """Wait until a mapping is in a state."""
        until(lambda: self.functions.get_event_source_mapping(UUID=mapping)["State"] == state, patience_s=PATIENCE_S)

    def put(self, *rows: tuple[str, str], stream: str = "") -> list[str]:
        """Put records given as key and text, in as few calls as can be; their texts."""
        for start in range(0, len(rows), _PUT_COUNT_MAX):
            records = [
                {"PartitionKey": key, "Data": text.encode()} for key, text in rows[start : start + _PUT_COUNT_MAX]
            ]
            answer = self.kinesis.put_records(StreamName=stream or self.stream, Records=records)
            assert answer["FailedRecordCount"] == 0
        return [text for _, text in rows]

    def invocations(self) -> list[Invocation]:
        """Read what functions told so far, in order."""
        lines = [json.loads(row.text) for shard in self.shards(self.seen_stream) for row in shard]
        return [Invocation(tuple(Row(int(n), key, text) for n, key, text in line.pop("rows")), line) for line in lines]

    def seen(self) -> list[Row]:
        """Read which records functions were handed so far, in order."""
        return [row for invocation in self.invocations() for row in invocation.rows]

    def wait_until_seen(self, texts: Sequence[str]) -> list[Row]:
        """Wait until functions were handed all of these texts; all that they were handed by then."""
        wanted = set(texts)
        until(lambda: wanted <= {row.text for row in self.seen()}, patience_s=PATIENCE_S)
        return self.seen()

    def wait_until_done(self, mapping: str) -> dict[str, Any]:
        """Wait until a mapping's checkpoints are at the end of every shard; its status then."""
        count = len(self.kinesis.list_shards(StreamName=self.stream)["Shards"])
        until(lambda: _is_done(self.status(mapping), shard_count=count), patience_s=PATIENCE_S)
        # Asked once more: the counters of that answer may be older than its checkpoints.
        return self.status(mapping)

    def status(self, mapping: str) -> dict[str, Any]:
        """Ask how far a mapping is."""
        url = f"{self.daemon.url}/_streamd/mappings/{mapping}"
        signed = AWSRequest("GET", url)
        SigV4Auth(Credentials("AKIAEXAMPLE", "secret-for-tests-only"), "lambda", "us-east-1").add_auth(signed)
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(signed.headers)), timeout=30) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def shards(self, stream: str = "") -> list[list[Row]]:
        """Read a stream from its start: the records of each shard."""
        name = stream or self.stream
        listed = self.kinesis.list_shards(StreamName=name)["Shards"]
        return [self._shard(name, shard["ShardId"]) for shard in listed]

    def _shard(self, stream: str, shard_id: str) -> list[Row]:
        iterator = self.kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        rows: list[Row] = []
        while iterator:
            # The rate of reads is bounded per shard, and a witness is asked again and again.
            try:
                answer = self.kinesis.get_records(ShardIterator=iterator)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ProvisionedThroughputExceededException":
                    raise
                continue
            rows += [
                Row(int(record["SequenceNumber"]), record["PartitionKey"], record["Data"].decode())
                for record in answer["Records"]
            ]
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                return rows
            iterator = answer.get("NextShardIterator")
        return rows


def _is_done(status: dict[str, Any], *, shard_count: int) -> bool:
    """Tell whether nothing is left to do; a shard that is not known yet is not done."""
    shards = status["shards"]
    return len(shards) >= shard_count and all(shard["is_done"] or shard["lag_records"] == 0 for shard in shards)
