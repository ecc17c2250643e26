"""The SDK's client: documents, pages, waits, repeats and refusals."""

import asyncio
from typing import Any

import pytest

from streamd.errors import ConfigInvalid
from streamd.sdk.client import Credentials, KinesisClient, ServiceRefused, ServiceUnreachable, WaitTimedOut
from streamd.sdk.credentials import CREDENTIALS_STAND_IN, credentials_from
from tests.cli.scripted_server import ScriptedServer
from tests.cli.shell import run_program
from tests.daemons import Daemon


async def test_data_goes_in_and_comes_out_as_bytes(daemon: Daemon, stream_name: str) -> None:
    data = bytes(range(256))

    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=1)
        await client.wait_until_active(stream_name)
        await client.put_records(stream_name, [{"Data": data, "PartitionKey": "k"}])
        iterator = await client.get_shard_iterator(stream_name, "shardId-000000000000")
        answer = await client.get_records(iterator)

    assert [record["Data"] for record in answer["Records"]] == [data]


async def test_a_body_of_many_megabytes_is_sent(daemon: Daemon, stream_name: str) -> None:
    entries = [{"Data": b"x" * 1_000_000, "PartitionKey": str(number)} for number in range(10)]

    async with KinesisClient(daemon.url) as client:
        await client.create_stream(stream_name, shard_count=1)
        await client.wait_until_active(stream_name)
        answer = await client.put_records(stream_name, entries)

    assert answer["FailedRecordCount"] == 0


async def test_all_pages_of_shards_are_listed(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListShards", {"Shards": [{"ShardId": "a"}], "NextToken": "token"})
    scripted.will_answer("ListShards", {"Shards": [{"ShardId": "b"}]})

    async with KinesisClient(scripted.url) as client:
        shards = await client.list_shards("stream", shard_filter={"Type": "AT_LATEST"})

    assert [shard["ShardId"] for shard in shards] == ["a", "b"]
    assert scripted.documents("ListShards") == [
        {"StreamName": "stream", "ShardFilter": {"Type": "AT_LATEST"}},
        {"NextToken": "token"},
    ]


async def test_all_pages_of_streams_are_listed_even_as_names_alone(scripted: ScriptedServer) -> None:
    scripted.will_answer("ListStreams", {"StreamNames": ["a", "b"], "HasMoreStreams": True})
    scripted.will_answer("ListStreams", {"StreamNames": ["c"], "HasMoreStreams": False})

    async with KinesisClient(scripted.url) as client:
        summaries = await client.list_streams()

    assert summaries == [{"StreamName": "a"}, {"StreamName": "b"}, {"StreamName": "c"}]
    assert scripted.documents("ListStreams")[1] == {"ExclusiveStartStreamName": "b"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalFailureException", 500),
        ("ServiceUnavailable", 503),
        ("ProvisionedThroughputExceededException", 400),
        ("LimitExceededException", 400),
        ("AnyOtherWord", 429),
    ],
)
async def test_a_call_refused_for_the_moment_is_made_again(scripted: ScriptedServer, code: str, status: int) -> None:
    scripted.will_refuse("DescribeLimits", code, status=status)
    scripted.will_answer("DescribeLimits", {"ShardLimit": 5})

    async with KinesisClient(scripted.url) as client:
        answer = await client.call("DescribeLimits")

    assert answer == {"ShardLimit": 5}
    assert len(scripted.asked) == 2


async def test_callers_that_never_pause_keep_nobody_out(scripted: ScriptedServer) -> None:
    scripted.will_answer("GetRecords", {"Records": []})
    scripted.will_answer("DescribeLimits", {"ShardLimit": 5})

    began = asyncio.Event()

    async def read_for_ever(client: KinesisClient) -> None:
        while True:
            await client.get_records("iterator")
            began.set()

    async with KinesisClient(scripted.url, connection_count_max=2) as client, asyncio.TaskGroup() as group:
        readers = [group.create_task(read_for_ever(client)) for _ in range(8)]
        await began.wait()
        async with asyncio.timeout(10):
            answer = await client.call("DescribeLimits")
        for reader in readers:
            reader.cancel()

    assert answer == {"ShardLimit": 5}


async def test_a_call_is_made_five_times_at_most(scripted: ScriptedServer) -> None:
    scripted.will_refuse("DescribeLimits", "InternalFailureException", status=500)

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(ServiceRefused, match="InternalFailureException: as the script says"):
            await client.call("DescribeLimits")

    assert len(scripted.asked) == 5


async def test_any_other_refusal_is_raised_at_once_with_its_facts(daemon: Daemon) -> None:
    async with KinesisClient(daemon.url) as client:
        with pytest.raises(ServiceRefused) as caught:
            await client.describe_stream_summary("nowhere-to-be-found")

    refused = caught.value
    assert (refused.code, refused.status) == ("ResourceNotFoundException", 400)
    assert refused.sentence.startswith("Stream nowhere-to-be-found under account ")
    assert refused.request_id


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{"])
async def test_an_answer_that_is_not_the_service_s_is_told(scripted: ScriptedServer, body: bytes) -> None:
    scripted.will_answer("DescribeLimits", body, status=404)

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(ServiceRefused, match="HTTP 404 with something that is not JSON"):
            await client.call("DescribeLimits")


async def test_an_error_without_a_type_is_named_by_its_status(scripted: ScriptedServer) -> None:
    scripted.will_answer("DescribeLimits", {}, status=403)

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(ServiceRefused) as caught:
            await client.call("DescribeLimits")

    assert str(caught.value) == "HTTP 403"


async def test_an_endpoint_without_a_server_is_unreachable() -> None:
    async with KinesisClient("127.0.0.1:1") as client:
        with pytest.raises(ServiceUnreachable) as caught:
            await client.list_streams()

    assert str(caught.value) == "no answer from http://127.0.0.1:1: Connection refused"


@pytest.mark.parametrize("endpoint", ["", "ftp://example", "http://"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigInvalid):
        KinesisClient(endpoint)


async def test_waiting_for_a_state_ends_after_its_time(scripted: ScriptedServer) -> None:
    scripted.will_answer("DescribeStreamSummary", {"StreamDescriptionSummary": {"StreamStatus": "CREATING"}})

    async with KinesisClient(scripted.url) as client:
        with pytest.raises(WaitTimedOut, match=r"stream orders is CREATING and not ACTIVE after 0\.05 s"):
            await client.wait_until_active("orders", timeout_s=0.05)
        with pytest.raises(WaitTimedOut, match="stream orders is CREATING and not gone"):
            await client.wait_until_gone("orders", timeout_s=0.05)


async def test_requests_are_signed_for_the_region_and_the_key(scripted: ScriptedServer) -> None:
    scripted.will_answer("DescribeLimits", b"")
    credentials = Credentials("AKIAEXAMPLE", "a-secret", "a-session")

    async with KinesisClient(scripted.url, region="eu-west-1", credentials=credentials) as client:
        await client.call("DescribeLimits")

    headers = scripted.asked[0].headers
    assert "Credential=AKIAEXAMPLE/" in headers["Authorization"]
    assert "/eu-west-1/kinesis/aws4_request" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "a-session"
    assert "a-secret" not in str(dict(headers))


async def test_a_server_that_checks_signatures_accepts_ours(daemon_factory: Any, tmp_path: Any) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "AKIAEXAMPLEEXAMPLE00"\nsecret = "a-secret-of-forty-characters-for-a-test-0"\n')
    keys.chmod(0o600)
    url = daemon_factory("--auth", str(keys)).url
    credentials = Credentials("AKIAEXAMPLEEXAMPLE00", "a-secret-of-forty-characters-for-a-test-0")

    async with KinesisClient(url, credentials=credentials) as client:
        streams = await client.list_streams()
    async with KinesisClient(url, credentials=CREDENTIALS_STAND_IN) as stranger:
        with pytest.raises(ServiceRefused, match="UnrecognizedClientException"):
            await stranger.list_streams()

    assert streams == []


@pytest.mark.parametrize("command", [("stream", "list"), ("function", "list"), ("mapping", "list"), ("usage",)])
def test_commands_sign_with_the_keys_of_the_profile_that_is_named(
    daemon_factory: Any, tmp_path: Any, command: tuple[str, ...]
) -> None:
    key_id, secret = "AKIAEXAMPLEEXAMPLE00", "a-secret-of-forty-characters-for-a-test-0"
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nid = "{key_id}"\nsecret = "{secret}"\n')
    keys.chmod(0o600)
    shared = tmp_path / "credentials"
    shared.write_text(f"[edge]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
    daemon = daemon_factory("--auth", str(keys))
    environment = {"STREAMD_ENDPOINT": daemon.url, "AWS_SHARED_CREDENTIALS_FILE": str(shared)}

    named = run_program(*command, environment=environment | {"AWS_PROFILE": "edge"})
    unnamed = run_program(*command, environment=environment)

    assert named.status == 0, named.err
    assert unnamed.status == 1
    assert "UnrecognizedClientException" in unnamed.err


def test_credentials_come_from_aws_s_own_variables() -> None:
    pair = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}

    assert credentials_from({}) == CREDENTIALS_STAND_IN
    assert credentials_from(pair) == Credentials("id", "secret")
    assert credentials_from(pair | {"AWS_SESSION_TOKEN": "token"}) == Credentials("id", "secret", "token")
    assert "secret" not in repr(credentials_from(pair))


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_pair_of_credentials_is_refused(missing: str) -> None:
    pair = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    del pair[missing]

    with pytest.raises(ConfigInvalid, match=missing):
        credentials_from(pair)
