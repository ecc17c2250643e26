"""ListStreams, by either paging style."""

from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.kinesis.refusals import refusal, stream_arn_of

__all__: list[str] = []


@pytest.fixture
def listed(daemon_factory: DaemonFactory) -> Any:
    """Give a client of a daemon that has the streams s-00 to s-24, and one that is gone."""
    client = daemon_factory().client()
    for number in reversed(range(25)):
        client.create_stream(StreamName=f"s-{number:02}", ShardCount=1)
    client.create_stream(StreamName="s-10-gone", ShardCount=1)
    client.delete_stream(StreamName="s-10-gone")
    return client


def test_streams_are_listed_in_order_of_name(listed: Any) -> None:
    answer = listed.list_streams()

    assert answer["StreamNames"] == [f"s-{number:02}" for number in range(25)]
    assert answer["HasMoreStreams"] is False
    assert "NextToken" not in answer
    summary = answer["StreamSummaries"][7]
    del summary["StreamCreationTimestamp"]
    assert summary == {
        "StreamName": "s-07",
        "StreamARN": stream_arn_of("s-07"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
    }


def test_streams_are_paged_by_token_and_by_name(listed: Any) -> None:
    first = listed.list_streams(Limit=10)

    by_token = listed.list_streams(NextToken=first["NextToken"], Limit=10)
    by_name = listed.list_streams(ExclusiveStartStreamName=first["StreamNames"][-1], Limit=10)
    last = listed.list_streams(NextToken=by_token["NextToken"])

    assert first["HasMoreStreams"] is True
    assert by_token["StreamNames"] == by_name["StreamNames"] == [f"s-{number}" for number in range(10, 20)]
    assert last["StreamNames"] == [f"s-{number}" for number in range(20, 25)]
    assert last["HasMoreStreams"] is False
    assert "NextToken" not in last


def test_the_name_to_start_after_need_not_be_there(listed: Any) -> None:
    answer = listed.list_streams(ExclusiveStartStreamName="s-21-and-more")

    assert answer["StreamNames"] == ["s-22", "s-23", "s-24"]


def test_boto3_pages_through_the_streams(listed: Any) -> None:
    pages = listed.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 10})

    assert [len(page["StreamNames"]) for page in pages] == [10, 10, 5]


def test_a_page_that_ends_with_the_last_stream_says_so(listed: Any) -> None:
    answer = listed.list_streams(Limit=25)

    assert len(answer["StreamNames"]) == 25
    assert answer["HasMoreStreams"] is False


def test_a_token_and_a_name_to_start_after_exclude_each_other(listed: Any) -> None:
    token = listed.list_streams(Limit=10)["NextToken"]

    fault = refusal(listed.list_streams, NextToken=token, ExclusiveStartStreamName="s-03")

    assert fault == (
        "InvalidArgumentException",
        "NextToken and ExclusiveStartStreamName cannot be provided together.",
    )


def test_a_token_that_this_store_did_not_make_is_refused(listed: Any) -> None:
    listed.create_stream(StreamName="many", ShardCount=2)
    token = listed.list_streams(Limit=10)["NextToken"]
    token_of_shards = listed.list_shards(StreamName="many", MaxResults=1)["NextToken"]

    garbage = refusal(listed.list_streams, NextToken="garbage")
    altered = refusal(listed.list_streams, NextToken=("A" if token[0] != "A" else "B") + token[1:])
    of_another_listing = refusal(listed.list_streams, NextToken=token_of_shards)

    assert garbage == altered == of_another_listing == ("InvalidArgumentException", "Invalid NextToken.")


def test_a_daemon_without_streams_lists_none(daemon_factory: DaemonFactory) -> None:
    answer = daemon_factory().client().list_streams()

    assert answer["StreamNames"] == answer["StreamSummaries"] == []
    assert answer["HasMoreStreams"] is False
