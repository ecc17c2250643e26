"""`streamd stream`: every verb, on a real daemon."""

from typing import Any

import pytest

from tests.cli.shell import Shell


def test_a_stream_is_created_with_what_was_asked_for(shell: Shell, kinesis: Any, stream_name: str) -> None:
    said = shell.at(
        *("stream", "create", stream_name, "--shards", "3", "--retention", "48", "--max-record-kib", "2048"),
        *("--tag", "team=web", "--tag", "note=a=b"),
    )

    assert (said.status, said.out, said.err) == (0, f"{stream_name}: created\n", "")
    summary = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]
    assert (summary["StreamStatus"], summary["OpenShardCount"]) == ("ACTIVE", 3)
    assert (summary["RetentionPeriodHours"], summary["MaxRecordSizeInKiB"]) == (48, 2048)
    tags = kinesis.list_tags_for_stream(StreamName=stream_name)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "web", "note": "a=b"}


def test_an_on_demand_stream_starts_with_four_shards(shell: Shell, stream_name: str) -> None:
    said = shell.at("stream", "create", stream_name, "--on-demand", "--json")

    assert said.status == 0
    assert said.json()["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert said.json()["OpenShardCount"] == 4


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--shards", "1", "--on-demand"], "exclude each other"),
        (["--retention", "48", "--no-wait"], "without --no-wait"),
        (["--tag", "alone"], "KEY=VALUE"),
        (["--retention", "23"], "24<=x<=8760"),
    ],
)
def test_a_stream_asked_for_in_a_wrong_way_is_not_made(
    shell: Shell, stream_name: str, flags: list[str], reason: str
) -> None:
    said = shell.at("stream", "create", stream_name, *flags)

    assert said.status == 2
    assert reason in said.err
    assert shell.at("stream", "describe", stream_name).status == 1


def test_a_name_that_is_taken_is_refused_in_the_service_s_words(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")

    said = shell.at("stream", "create", stream_name, "--shards", "1")

    assert said.status == 1
    assert said.err.startswith("streamd: ResourceInUseException: ")
    assert said.err.count("\n") == 1


def test_all_streams_are_listed(shell: Shell, stream_name: str) -> None:
    names = [f"{stream_name}-{letter}" for letter in "abc"]
    for name in names:
        shell.at("stream", "create", name, "--shards", "1", "--no-wait")

    table, document = shell.at("stream", "list"), shell.at("stream", "list", "--json")

    listed = [summary["StreamName"] for summary in document.json()]
    assert [name for name in listed if name.startswith(stream_name)] == names
    assert all(f"\n{name} " in table.out for name in names)


def test_a_stream_is_described_with_its_shards(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "2")

    page, document = (
        shell.at("stream", "describe", stream_name),
        shell.at("stream", "describe", stream_name, "--json"),
    )

    shards = document.json()["Shards"]
    assert [shard["ShardId"] for shard in shards] == ["shardId-000000000000", "shardId-000000000001"]
    rows = [line.split() for line in page.out.splitlines() if line.startswith("shardId-")]
    first_numbers = [shard["SequenceNumberRange"]["StartingSequenceNumber"] for shard in shards]
    assert rows == [
        ["shardId-000000000000", "OPEN", "50.00", "%", first_numbers[0]],
        ["shardId-000000000001", "OPEN", "50.00", "%", first_numbers[1]],
    ]


def test_a_stream_that_is_not_there_is_told_with_the_way_to_find_others(shell: Shell) -> None:
    said = shell.at("stream", "describe", "nowhere-to-be-found")

    assert said.status == 1
    assert said.err.startswith("streamd: ResourceNotFoundException: Stream nowhere-to-be-found under account ")
    assert said.err.endswith("`streamd stream list` shows the streams there are.\n")


def test_a_shard_is_split_in_halves_unless_told_where(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")

    half = shell.at("stream", "split", stream_name, "0", "--json")
    told = shell.at("stream", "split", stream_name, "shardId-000000000001", "--at", "1000", "--json")

    starts = {shard["ShardId"][-1]: int(shard["HashKeyRange"]["StartingHashKey"]) for shard in told.json()["Shards"]}
    assert (half.status, told.status) == (0, 0)
    assert starts == {"0": 0, "1": 0, "2": 1 << 127, "3": 0, "4": 1000}


def test_a_shard_that_is_not_there_cannot_be_split(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")

    said = shell.at("stream", "split", stream_name, "7")

    assert said.status == 1
    assert said.err == (
        f"streamd: Stream {stream_name} has no shard shardId-000000000007. "
        f"`streamd stream describe {stream_name}` shows those it has.\n"
    )


def test_two_neighbours_are_merged(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "2")

    said = shell.at("stream", "merge", stream_name, "0", "1")

    rows = [line.split() for line in said.out.splitlines() if line.startswith("shardId-")]
    assert said.status == 0
    assert [row[:3] + row[5:] for row in rows] == [
        ["shardId-000000000002", "OPEN", "100.00", "shardId-000000000000", "shardId-000000000001"]
    ]


def test_a_stream_is_scaled_and_its_closed_shards_can_be_left_out(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "2")

    said = shell.at("stream", "scale", stream_name, "4")

    everything = shell.at("stream", "describe", stream_name, "--json").json()["Shards"]
    open_only = shell.at("stream", "describe", stream_name, "--open", "--json").json()["Shards"]
    assert said.status == 0
    assert said.out.count("OPEN") == 4
    assert (len(everything), len(open_only)) == (6, 4)


def test_a_change_can_be_left_unawaited(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "2")

    said = shell.at("stream", "scale", stream_name, "4", "--no-wait")

    assert said.status == 0
    assert said.out in {f"{stream_name}: ACTIVE\n", f"{stream_name}: UPDATING\n"}


@pytest.mark.parametrize("hours", [24, 48, 8760])
def test_retention_goes_up_and_down_and_may_stay(shell: Shell, stream_name: str, hours: int) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1", "--retention", "48")

    said = shell.at("stream", "retention", stream_name, str(hours))

    assert said.out == f"{stream_name}: keeps records for {hours} hours\n"
    assert shell.at("stream", "describe", stream_name, "--json").json()["RetentionPeriodHours"] == hours


def test_nothing_is_deleted_without_a_yes(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")

    said = shell.at("stream", "delete", stream_name)

    assert said.status == 2
    assert "--yes" in said.err
    assert shell.at("stream", "describe", stream_name).status == 0


def test_a_stream_is_deleted_and_its_name_is_free(shell: Shell, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")

    said = shell.at("stream", "delete", stream_name, "--yes")

    assert (said.status, said.out) == (0, f"{stream_name}: deleted\n")
    assert shell.at("stream", "create", stream_name, "--shards", "1").status == 0


def test_a_stream_with_consumers_is_deleted_only_when_told_to(shell: Shell, kinesis: Any, stream_name: str) -> None:
    shell.at("stream", "create", stream_name, "--shards", "1")
    summary = kinesis.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]
    kinesis.register_stream_consumer(StreamARN=summary["StreamARN"], ConsumerName="reader")

    refused = shell.at("stream", "delete", stream_name, "--yes")
    deleted = shell.at("stream", "delete", stream_name, "--yes", "--enforce-consumer-deletion", "--json")

    assert refused.status == 1
    assert deleted.json() == {"StreamName": stream_name, "Deleted": True}
