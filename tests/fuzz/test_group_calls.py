"""Operations on groups with members that are right, at their bounds, or anything at all: 200 or 400, never a bug."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.limits import LEASE_COUNT_MAX
from streamd.kinesis.group_shapes import GROUP_INPUT_BY_OPERATION
from tests.fuzz.mutations import examples
from tests.fuzz.watched_daemons import Watched, watched_daemon
from tests.server.connections import JSON

__all__: list[str] = []

_PATIENCE_S = 30
_SHARD = st.sampled_from(["shardId-000000000000"] * 9 + ["shardId-000000000001", "shardId-999999999999", "shardId-1"])
_PLACE = st.sampled_from(
    ["TRIM_HORIZON"] * 5
    + ["SHARD_END"] * 5
    + ["AT:0", "AT:999999999999999", "AT:", "AT:-1", "0", "9" * 128, "9" * 129, "", "\u0663"]
)
_WORD = st.sampled_from(["g"] * 20 + ["h", ".", "..", "g/lease", "x" * 128, "x" * 129, "", "\u00e9", "g\n"])
_LEASE = st.fixed_dictionaries(
    {"ShardId": _SHARD, "Place": _PLACE}, optional={"ParentShardIds": st.lists(_SHARD, max_size=3)}
)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_VALUES = {
    "StreamName": st.sampled_from(["fuzzed"] * 12 + ["missing", ""]),
    "StreamARN": st.sampled_from(["arn:aws:kinesis:us-east-1:000000000000:stream/fuzzed", "arn:aws:kinesis"]),
    "GroupName": _WORD,
    "MemberId": _WORD,
    "About": st.text(max_size=300),
    "ShardId": _SHARD,
    "ShardIds": st.lists(_SHARD, max_size=3),
    "Epoch": st.sampled_from([0, 1, 1, 1, 1, 1, 1, 2, -1, (1 << 63) - 1, 1 << 63]),
    "Place": _PLACE,
    "Places": st.dictionaries(_SHARD, _PLACE, max_size=3),
    "Leases": st.lists(_LEASE, max_size=3) | st.just([{}] * (LEASE_COUNT_MAX + 1)),
    "Start": _PLACE,
    "Release": st.booleans(),
    "MaxResults": st.sampled_from([1, 1000, 0, 1001]),
    "NextToken": st.sampled_from(["", "made-up", "A" * 3_000]),
}

_KINDS = ["value"] * 14 + ["anything", "nothing"]
_KINDS_OF_OPTIONAL = ["value"] * 4 + ["anything"] + ["nothing"] * 12
_GROUP = {"StreamName": "fuzzed", "GroupName": "g"}
_LEASED = "shardId-000000000000"
_FIRST_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("CreateGroup", _GROUP | {"Start": "TRIM_HORIZON"}),
    ("DeleteGroup", _GROUP),
    ("CreateGroup", _GROUP | {"Start": "TRIM_HORIZON"}),
    ("AddLeases", _GROUP | {"Leases": [{"ShardId": _LEASED, "Place": "TRIM_HORIZON"}]}),
    ("AcquireLease", _GROUP | {"ShardId": _LEASED, "MemberId": "g", "Epoch": 0}),
]


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw an operation and most of its members, now and then one that is anything."""
    operation = draw(st.sampled_from(sorted(GROUP_INPUT_BY_OPERATION)))
    members: dict[str, Any] = {}
    shape = GROUP_INPUT_BY_OPERATION[operation]
    for name in shape.members:
        kind = draw(st.sampled_from(_KINDS if name in {*shape.required, "StreamName"} else _KINDS_OF_OPTIONAL))
        if kind != "nothing":
            members[name] = draw(_ANYTHING if kind == "anything" else _VALUES[name])
    return operation, members


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Give a daemon that is looked at in the end."""
    with watched_daemon(tmp_path_factory.mktemp("groups")) as watched:
        yield watched


def test_calls_on_groups_are_answered_whatever_they_say(shaped: Watched) -> None:
    done: set[str] = set()

    @given(st.lists(_calls(), min_size=1, max_size=8))
    @examples(150)
    def ask(calls: list[tuple[str, dict[str, Any]]]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", shaped.daemon.port, timeout=_PATIENCE_S)) as connection:
            for operation, members in (*_FIRST_CALLS, *calls):
                if _ask(connection, operation, members):
                    done.add(operation)

    ask()
    shaped.assert_serves()
    assert done == set(GROUP_INPUT_BY_OPERATION)


def _ask(connection: http.client.HTTPConnection, operation: str, members: dict[str, Any]) -> bool:
    """Send a request and look at its answer; whether it was done."""
    headers = {"content-type": JSON, "x-amz-target": f"StreamdGroups_20261127.{operation}"}
    connection.request("POST", "/", json.dumps(members).encode(), headers)
    response = connection.getresponse()
    content = response.read()
    assert response.status in {200, 400}, (operation, members, response.status, content)
    if response.status == 400:
        assert isinstance(orjson.loads(content)["__type"], str)
    return response.status == 200
