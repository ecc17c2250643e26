"""Data directories that the first version of each format wrote: opened, checked and read by the version of today."""

from pathlib import Path

import orjson
import pytest

from streamd.storage.directory import FORMAT_VERSION
from streamd.storage.inspect import check
from tests.clocks import ManualClock
from tests.conftest import DaemonFactory
from tests.durability.golden_data import Golden, goldens
from tests.engine.rooms import open_rooms
from tests.functions.lambdas import lambda_client
from tests.workers.wire import Wire, until

GOLDENS = [pytest.param(golden, id=golden.format) for golden in goldens()]
PATIENCE_S = 300


def test_every_format_there_was_has_a_golden_directory() -> None:
    assert [golden.format for golden in goldens()] == [str(number + 1) for number in range(int(FORMAT_VERSION))]


@pytest.mark.parametrize("golden", GOLDENS)
async def test_a_golden_directory_is_read_as_it_was_when_it_was_made(golden: Golden, tmp_path: Path) -> None:
    data = golden.unpack(tmp_path)
    found = check(data, progress=lambda _done, _total: None)

    # Years from now its records have expired, so the clock is set back to when they were put.
    kinds: dict[str, set[str]] = {}
    async with open_rooms(data, ManualClock(golden.manifest["made_ms"])) as rooms:
        for name, stream in golden.manifest["streams"].items():
            listed = await rooms.ask("ListShards", StreamName=name)
            read = {
                shard_id: await rooms.ask("GetRecords", ShardIterator=iterator)
                for shard_id, iterator in stream["iterators"].items()
            }

            assert listed["Shards"] == stream["shards"]
            for shard_id, answer in read.items():
                assert answer["MillisBehindLatest"] == 0
                records = [{key: row[key] for key in row if key != "EncryptionType"} for row in answer["Records"]]
                assert records == stream["records"][shard_id]
                kinds.setdefault(name, set()).update(row.get("EncryptionType", "NONE") for row in answer["Records"])
        summary = await rooms.ask("DescribeStreamSummary", StreamName="sealed")
        consumers = await rooms.ask(
            "ListStreamConsumers", StreamARN="arn:aws:kinesis:us-east-1:000000000000:stream/plain"
        )
        tags = await rooms.ask("ListTagsForStream", StreamName="plain")

    assert found.faults == []
    assert found.record_count >= sum(
        len(records) for stream in golden.manifest["streams"].values() for records in stream["records"].values()
    )
    assert kinds == {"plain": {"NONE"}, "sealed": {"NONE", "KMS"}, "failed": set()}
    assert summary["StreamDescriptionSummary"]["EncryptionType"] == "KMS"
    assert [consumer["ConsumerName"] for consumer in consumers["Consumers"]] == ["reader"]
    assert tags["Tags"] == [{"Key": "who", "Value": "golden"}]


@pytest.mark.timeout(PATIENCE_S + 120)
@pytest.mark.parametrize("golden", GOLDENS)
def test_a_daemon_goes_on_from_a_golden_directory(
    daemon_factory: DaemonFactory, golden: Golden, tmp_path: Path
) -> None:
    data = golden.unpack(tmp_path)
    known = golden.manifest["streams"]["sealed"]["shards"]

    daemon = daemon_factory("--workers", "2", data=data)
    functions = lambda_client(daemon)
    versions = [
        orjson.loads(functions.invoke(FunctionName=name, Payload=b"1")["Payload"].read()) for name in ("f:live", "f")
    ]
    mapping = functions.get_event_source_mapping(UUID=golden.manifest["mapping"])
    functions.update_event_source_mapping(UUID=golden.manifest["mapping"], Enabled=True)
    with Wire(daemon) as wire:
        put = [place for number in range(20) for place in wire.put("sealed", (f"key-{number}", b"later"))]
        until(lambda: _has_failed_event(wire), patience_s=PATIENCE_S)

    assert versions == [["golden", 1], 2]
    assert mapping["State"] == "Disabled"
    starts = {shard["ShardId"]: int(shard["SequenceNumberRange"]["StartingSequenceNumber"]) for shard in known}
    last = {
        shard_id: max([starts[shard_id], *(int(row["SequenceNumber"]) for row in records)])
        for shard_id, records in golden.manifest["streams"]["sealed"]["records"].items()
    }
    assert {shard_id for shard_id, _ in put} <= {
        shard["ShardId"] for shard in known if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    }
    for shard_id, number in put:
        assert int(number) > last[shard_id]
        last[shard_id] = int(number)
    until(lambda: functions.get_event_source_mapping(UUID=golden.manifest["mapping"])["State"] == "Enabled")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()
    assert check(data, progress=lambda _done, _total: None).faults == []


def _has_failed_event(wire: Wire) -> bool:
    """Tell whether the event that waited was given up, and its destination told."""
    place = wire.iterator("failed", "shardId-000000000000", "TRIM_HORIZON")
    return bool(wire.ask("GetRecords", ShardIterator=place)["Records"])
