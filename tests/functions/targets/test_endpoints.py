"""The endpoint table: which entry holds for an ARN, and what a table may not say."""

from typing import Any

import pytest

from streamd.errors import ConfigInvalid
from streamd.functions.targets.endpoints import EndpointTable

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:jobs"
HERE: dict[str, Any] = {"arn": "arn:aws:sqs:*:*:*", "endpoint_url": "http://127.0.0.1:9324/"}


def test_the_first_entry_that_matches_holds() -> None:
    table = EndpointTable.parse(
        [
            {"arn": "arn:aws:sqs:*:*:jobs", "endpoint_url": "https://first.example"},
            HERE,
            {"arn": "arn:aws:s3:::logs-?", "endpoint_url": "https://s3.example:9000", "region": "eu-north-1"},
        ],
        default_region="us-west-2",
    )

    first, second = table.find(QUEUE), table.find(QUEUE.replace("jobs", "other"))
    bucket = table.find("arn:aws:s3:::logs-1")

    assert first is not None
    assert (first.url, first.region) == ("https://first.example", "eu-west-1")
    assert second is not None
    assert second.url == "http://127.0.0.1:9324"
    assert bucket is not None
    assert bucket.region == "eu-north-1"
    assert table.find("arn:aws:s3:::logs-12") is None
    assert table.find("arn:aws:sns:eu-west-1:111122223333:jobs") is None


def test_a_bucket_without_a_region_takes_the_one_of_the_server() -> None:
    table = EndpointTable.parse([{**HERE, "arn": "arn:aws:s3:::*"}], default_region="us-west-2")

    found = table.find("arn:aws:s3:::logs")

    assert found is not None
    assert found.region == "us-west-2"


def test_keys_are_kept_and_never_shown() -> None:
    table = EndpointTable.parse([{**HERE, "access_key_id": "AKIAOTHER", "secret_access_key": "hush"}])

    found = table.find(QUEUE)

    assert found is not None
    assert (found.credentials.access_key_id, found.credentials.secret) == ("AKIAOTHER", "hush")
    assert "hush" not in repr(found)
    assert "hush" not in repr(table)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"arn": "x"}, r"\[\[endpoint\]\] table, with two brackets"),
        (["x"], "endpoint 1 is no table"),
        ([HERE, {"arn": "arn:aws:sqs:*"}], "endpoint 2 has no endpoint_url"),
        ([{**HERE, "url": "x"}], "unknown field 'url' in endpoint 1"),
        ([{**HERE, "ca": 1}], "field 'ca' of endpoint 1 must be a text"),
        ([{**HERE, "arn": "sqs"}], "'sqs' of endpoint 1 is no pattern"),
        ([{**HERE, "region": "EU west"}], "'EU west' of endpoint 1 is no region"),
        ([{**HERE, "endpoint_url": "127.0.0.1:80"}], "endpoint_url of endpoint 1 must be an address"),
        ([{**HERE, "endpoint_url": "http://a:99999"}], "endpoint_url of endpoint 1 must be an address"),
        ([{**HERE, "endpoint_url": "http://a/queue"}], "endpoint_url of endpoint 1 must be an address"),
        ([{**HERE, "access_key_id": "AKIAOTHER"}], "endpoint 1 needs both access_key_id and secret_access_key"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(tables: object, sentence: str) -> None:
    with pytest.raises(ConfigInvalid, match=sentence):
        EndpointTable.parse(tables)


def test_no_refusal_repeats_a_secret() -> None:
    tables = [
        {**HERE, "endpoint_url": "http://user:hush@example.com"},
        {**HERE, "secret_access_key": "hush"},
        {**HERE, "session_token": "hush"},
    ]

    for table in tables:
        with pytest.raises(ConfigInvalid) as caught:
            EndpointTable.parse([table])
        assert "hush" not in str(caught.value)
