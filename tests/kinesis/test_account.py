"""DescribeLimits, DescribeAccountSettings and UpdateAccountSettings."""

from typing import Any

from streamd.kinesis.account import Commitment
from streamd.kinesis.codecs import Timestamp
from tests.conftest import DaemonFactory
from tests.kinesis.calls import account_of
from tests.kinesis.refusals import refusal

__all__: list[str] = []

_DAY_MS = 24 * 3_600_000


def test_limits_count_open_shards_and_on_demand_streams(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--shard-quota", "77", "--on-demand-quota", "3").client()
    client.create_stream(StreamName="three", ShardCount=3)
    client.create_stream(StreamName="on-demand", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    client.create_stream(StreamName="gone", ShardCount=5)
    client.delete_stream(StreamName="gone")

    limits = client.describe_limits()

    del limits["ResponseMetadata"]
    assert limits == {
        "ShardLimit": 77,
        "OpenShardCount": 7,
        "OnDemandStreamCount": 1,
        "OnDemandStreamCountLimit": 3,
        "ChannelCount": 0,
        "ChannelCountLimit": 0,
    }


def test_shards_that_a_split_has_closed_no_longer_count(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()
    client.create_stream(StreamName="stream", ShardCount=1)

    client.split_shard(StreamName="stream", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(1 << 127))

    assert client.describe_limits()["OpenShardCount"] == 2


def test_limits_are_asked_for_once_a_second_when_limits_are_on(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory("--limits", "aws").client()

    # Of so many calls some fall into one second, however slow the machine is.
    codes = {_code(client) for _ in range(50)}

    assert "LimitExceededException: Rate exceeded for account 000000000000." in codes


def test_an_account_that_never_had_a_commitment_has_none(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()

    settings = client.describe_account_settings()

    assert settings["MinimumThroughputBillingCommitment"] == {"Status": "DISABLED"}


def test_a_commitment_lasts_a_day_and_its_early_end_is_taken_back(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()

    enabled = _update(client, "ENABLED")
    ending = _update(client, "DISABLED")
    described = client.describe_account_settings()["MinimumThroughputBillingCommitment"]
    again = _update(client, "ENABLED")

    assert enabled["Status"] == "ENABLED"
    assert (enabled["EarliestAllowedEndAt"] - enabled["StartedAt"]).total_seconds() == 86_400
    assert "EndedAt" not in enabled
    assert ending == enabled | {"Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END"}
    assert described == ending
    assert again == enabled


def test_ending_what_never_began_changes_nothing(daemon_factory: DaemonFactory) -> None:
    client = daemon_factory().client()

    answer = _update(client, "DISABLED")

    assert answer == {"Status": "DISABLED"}


def test_settings_hold_in_every_worker_and_after_a_restart(daemon_factory: DaemonFactory) -> None:
    first = daemon_factory("--workers", "2")
    _update(first.client(), "ENABLED")

    seen = {account_of(first.client()) for _ in range(10)}
    first.stop()
    second = daemon_factory(data=first.data)

    assert seen == {"ENABLED"}
    assert account_of(second.client()) == "ENABLED"


def test_a_status_that_nobody_may_ask_for_is_refused(kinesis: Any) -> None:
    code, sentence = refusal(
        kinesis.update_account_settings,
        MinimumThroughputBillingCommitment={"Status": "ENABLED_UNTIL_EARLIEST_ALLOWED_END"},
    )

    assert code == "ValidationException"
    assert sentence.startswith(
        "1 validation error detected: Value 'ENABLED_UNTIL_EARLIEST_ALLOWED_END' at "
        "'minimumThroughputBillingCommitment.status' failed to satisfy constraint: "
        "Member must satisfy enum value set: ["
    )


def test_an_update_without_settings_is_refused(kinesis: Any) -> None:
    fault = refusal(kinesis.update_account_settings)

    assert fault == (
        "ValidationException",
        (
            "1 validation error detected: Value null at 'minimumThroughputBillingCommitment' failed to satisfy "
            "constraint: Member must not be null"
        ),
    )


def test_an_early_end_comes_when_the_first_day_is_over() -> None:
    commitment = Commitment().enabled(1000)

    ending = commitment.disabled(5000)

    assert ending.status(1000 + _DAY_MS - 1) == "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
    assert ending.status(1000 + _DAY_MS) == "DISABLED"
    assert ending.document(1000 + _DAY_MS)["EndedAt"] == Timestamp(1000 + _DAY_MS)


def test_a_late_end_comes_at_once() -> None:
    commitment = Commitment().enabled(1000)

    ended = commitment.disabled(1000 + 2 * _DAY_MS)

    assert ended.document(1000 + 2 * _DAY_MS) == {
        "Status": "DISABLED",
        "StartedAt": Timestamp(1000),
        "EarliestAllowedEndAt": Timestamp(1000 + _DAY_MS),
        "EndedAt": Timestamp(1000 + 2 * _DAY_MS),
    }


def test_a_commitment_that_ended_begins_anew() -> None:
    ended = Commitment().enabled(1000).disabled(5000)

    again = ended.enabled(1000 + _DAY_MS)

    assert again == Commitment(started_ms=1000 + _DAY_MS)


def test_enabling_twice_keeps_the_first_beginning() -> None:
    commitment = Commitment().enabled(1000)

    again = commitment.enabled(9000)

    assert again == commitment


def test_ending_twice_keeps_the_first_end() -> None:
    ended = Commitment().enabled(1000).disabled(2 * _DAY_MS)

    again = ended.disabled(3 * _DAY_MS)

    assert again == ended


def _update(client: Any, status: str) -> dict[str, Any]:
    answer = client.update_account_settings(MinimumThroughputBillingCommitment={"Status": status})
    commitment: dict[str, Any] = answer["MinimumThroughputBillingCommitment"]
    return commitment


def _code(client: Any) -> str:
    try:
        client.describe_limits()
    except client.exceptions.LimitExceededException as error:
        return f"LimitExceededException: {error.response['Error']['Message']}"
    return ""
