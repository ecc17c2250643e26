"""Golden data directories: one for each format there ever was, with what it must be read as.

``python -m tests.durability.golden_data`` makes the one of the format of today, in ``golden/``: run it once, when a
format is new, with the first version that writes it, and never again for that format. It is small and has some of
everything: plain and sealed streams, splits and merges, a deleted stream, consumers, tags, functions with versions,
an alias and a layer, a mapping with its checkpoints, an event that waits.
"""

import sys
import tarfile
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

from streamd import __version__
from streamd.storage.backup import copy_data
from streamd.storage.directory import FORMAT_VERSION
from tests.daemons import Daemon, start_daemon
from tests.functions.lambdas import deploy, lambda_client, package
from tests.workers.wire import until

__all__ = ["FOLDER", "Golden", "goldens"]

FOLDER = Path(__file__).with_name("golden")
_FAILS = "def handler(event, context):\n    raise RuntimeError('not today')\n"
_LAYERED = "import shared\ndef handler(event, context):\n    return [shared.WORD, event]\n"
_HOURS_MAX = 8760
_HASH_KEY_MIDDLE = 1 << 127


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden directory: its format, the archive, and what it must be read as."""

    format: str
    archive: Path
    manifest: dict[str, Any]

    def unpack(self, place: Path) -> Path:
        """Unpack it below a folder, and give the data directory."""
        with tarfile.open(self.archive) as archive:
            archive.extractall(place, filter="data")
        return place / "data"


def goldens() -> list[Golden]:
    """Give all there are."""
    return [
        Golden(
            path.name.removeprefix("format-").removesuffix(".tar.xz"),
            path,
            orjson.loads(path.with_name(path.name.removesuffix(".tar.xz") + ".json").read_bytes()),
        )
        for path in sorted(FOLDER.glob("format-*.tar.xz"))
    ]


def main() -> int:
    """Make the golden directory of today's format, unless there is one."""
    name = f"format-{FORMAT_VERSION}"
    if (FOLDER / f"{name}.tar.xz").exists():
        sys.stderr.write(f"{name} is there already, and must never change\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        daemon = start_daemon(Path(folder) / "origin", "--workers", "2")
        try:
            manifest = _filled(daemon)
            copy_data(daemon.data, Path(folder) / "data")
        finally:
            daemon.stop()
        with tarfile.open(FOLDER / f"{name}.tar.xz", "w:xz") as archive:
            archive.add(Path(folder) / "data", "data", filter=_anonymous)
    (FOLDER / f"{name}.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _filled(daemon: Daemon) -> dict[str, Any]:
    client = daemon.client()
    _fill_streams(client)
    mapping = _fill_functions(daemon)
    client.delete_stream(StreamName="deleted")
    streams = {name: _stream(client, name) for name in ("plain", "sealed", "failed")}
    return {
        "written_by": __version__,
        "made_ms": time.time_ns() // 1_000_000,
        "mapping": mapping,
        "streams": streams,
    }


def _fill_streams(client: Any) -> None:
    random = Random(0)
    for name in ("plain", "sealed", "failed", "deleted"):
        client.create_stream(StreamName=name, ShardCount=1 if name == "failed" else 2)
        client.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=_HOURS_MAX)
    client.add_tags_to_stream(StreamName="plain", Tags={"who": "golden"})
    arn = client.describe_stream_summary(StreamName="plain")["StreamDescriptionSummary"]["StreamARN"]
    client.register_stream_consumer(StreamARN=arn, ConsumerName="reader")
    # A stream that was sealed only later has blocks of both kinds.
    _put(client, "sealed", random)
    client.start_stream_encryption(StreamName="sealed", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    for name in ("plain", "sealed", "deleted"):
        _put(client, name, random)
        middle = str(_HASH_KEY_MIDDLE // 2)
        client.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=middle)
        _put(client, name, random)
        client.merge_shards(
            StreamName=name, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
        )
        _put(client, name, random)


def _put(client: Any, name: str, random: Random) -> None:
    """Put single records and batches, empty and larger ones, to every shard."""
    for count in (1, 12, 1):
        records = [
            {
                "PartitionKey": f"key-{random.randrange(9)}-ü",
                "ExplicitHashKey": str(random.randrange(1 << 128)),
                "Data": random.randbytes(random.choice((0, 1, 40, 300))),
            }
            for _ in range(count)
        ]
        client.put_records(StreamName=name, Records=records)


def _fill_functions(daemon: Daemon) -> str:
    """Deploy functions, and leave one event waiting for its next try; the mapping's UUID."""
    functions = lambda_client(daemon)
    layer = functions.publish_layer_version(
        LayerName="words", Content={"ZipFile": package("WORD = 'golden'\n", "python/shared.py")}
    )
    deploy(functions, "f", _LAYERED, Layers=[layer["LayerVersionArn"]], Publish=True)
    functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    functions.update_function_code(FunctionName="f", ZipFile=package("def handler(event, context):\n    return 2\n"))
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/"
    made = functions.create_event_source_mapping(
        FunctionName="f:live", EventSourceArn=f"{arn}plain", StartingPosition="TRIM_HORIZON"
    )
    mapping = str(made["UUID"])
    until(lambda: functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    until(lambda: functions.get_event_source_mapping(UUID=mapping)["State"] == "Disabled")
    deploy(functions, "fails", _FAILS)
    functions.put_function_event_invoke_config(
        FunctionName="fails",
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": f"{arn}failed"}},
    )
    functions.invoke(FunctionName="fails", InvocationType="Event", Payload=b'"waits"')
    logs = lambda_client(daemon, "logs")
    until(lambda: "not today" in str(logs.filter_log_events(logGroupName="/aws/lambda/fails")["events"]))
    return mapping


def _stream(client: Any, name: str) -> dict[str, Any]:
    """Read all there is to know of a stream, as a client does."""
    shards = client.list_shards(StreamName=name)["Shards"]
    iterators = {
        shard["ShardId"]: client.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for shard in shards
    }
    return {
        "shards": shards,
        "iterators": iterators,
        "records": {shard_id: _records(client, iterator) for shard_id, iterator in iterators.items()},
    }


def _records(client: Any, iterator: str) -> list[dict[str, Any]]:
    answer = client.get_records(ShardIterator=iterator)
    assert answer["MillisBehindLatest"] == 0
    return [
        {
            "SequenceNumber": record["SequenceNumber"],
            "PartitionKey": record["PartitionKey"],
            "Data": b64encode(record["Data"]).decode(),
            "ApproximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
        }
        for record in answer["Records"]
    ]


if __name__ == "__main__":
    sys.exit(main())
