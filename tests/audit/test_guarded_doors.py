"""With ``--auth`` every door is shut: each operation and each path, over each door, signed wrongly in every way.

What can be asked is found in the code's own tables and botocore's models, so what is new is asked as well. Nothing that
is refused has any effect, which the stream and the function that are there show.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.audit.door_requests import NAME, Asked, every_request, own_paths
from tests.audit.wrong_signatures import KEY, PRESIGNED_WAYS, WAYS, Way, presigned, signed
from tests.daemons import Daemon, RawReply, start_daemon
from tests.durability.wall_clock import WallClock
from tests.functions.lambdas import deploy, lambda_client
from tests.server.doorways import DOORWAYS, Doorway

__all__: list[str] = []

_SECRET_OF_A_FUNCTION = "a-secret-of-a-function"
_REFUSALS = frozenset(
    f"{name}Exception"
    for name in ("IncompleteSignature", "InvalidSignature", "MissingAuthenticationToken", "UnrecognizedClient")
)
_READS = (
    *("DescribeAccountSettings", "DescribeLimits", "DescribeStreamSummary", "ListShards", "ListStreams"),
    *("ListStreamConsumers", "ListTagsForStream", "GetFunction", "GetPolicy", "ListAliases", "ListFunctions"),
    *("ListEventSourceMappings", "ListLayers", "ListVersionsByFunction", "GetAccountSettings", "ListPushRoutes"),
)
"""They change nothing, and tell of all there is."""
_REPLAYED_AFTER_S = 16 * 60


def _start(folder: Path, **settings: Any) -> Daemon:
    keys = folder / "keys.toml"
    keys.write_text(f'[[key]]\nid = "{KEY.access_key_id}"\nsecret = "{KEY.secret}"\n')
    keys.chmod(0o600)
    return start_daemon(folder / "data", "--auth", str(keys), "--workers", "2", **settings)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Give a daemon that knows one key, with a stream and a function in it."""
    running = _start(tmp_path_factory.mktemp("guarded"))
    kinesis = running.client(access_key=KEY.access_key_id, secret_key=KEY.secret)
    kinesis.create_stream(StreamName=NAME, ShardCount=1)
    kinesis.put_record(StreamName=NAME, PartitionKey="k", Data=b"kept")
    functions = lambda_client(running, access_key=KEY.access_key_id, secret_key=KEY.secret)
    deploy(functions, NAME, Environment={"Variables": {"WORD": _SECRET_OF_A_FUNCTION}})
    functions.add_permission(
        FunctionName=NAME, StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def state(guarded: Daemon) -> dict[str, Any]:
    """Give what the daemon tells of itself before anything was tried."""
    return _told(guarded)


@pytest.mark.parametrize("doorway", DOORWAYS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_signed_wrongly_is_refused_and_nothing_happens(
    guarded: Daemon, state: dict[str, Any], doorway: str, way: str
) -> None:
    assert _let_in(guarded, doorway, WAYS[way]) == []
    assert _told(guarded) == state


@pytest.mark.parametrize("doorway", DOORWAYS)
@pytest.mark.parametrize("way", PRESIGNED_WAYS)
def test_what_is_signed_wrongly_in_its_query_is_refused_and_nothing_happens(
    guarded: Daemon, state: dict[str, Any], doorway: str, way: str
) -> None:
    assert _let_in(guarded, doorway, PRESIGNED_WAYS[way]) == []
    assert _told(guarded) == state


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_what_is_presigned_is_good_for_no_other_operation(guarded: Daemon, doorway: str) -> None:
    let_in = []
    with DOORWAYS[doorway](guarded) as ask:
        for asked in every_request():
            if "x-amz-target" not in asked.headers:
                continue
            answer = _send(ask, presigned(asked, _host(guarded), names=()))
            if not _is_refused(answer):
                let_in.append((asked.name, answer))

    assert let_in == []


@pytest.mark.parametrize("doorway", DOORWAYS)
@pytest.mark.parametrize("sign", [signed, presigned])
def test_what_is_signed_rightly_is_let_in(guarded: Daemon, state: dict[str, Any], doorway: str, sign: Way) -> None:
    """Without this, a request that is wrong by itself could pass for one that is refused."""
    reads = [asked for asked in every_request() if asked.name in _READS]
    with DOORWAYS[doorway](guarded) as ask:
        answers = {asked.name: _send(ask, sign(asked, _host(guarded))) for asked in reads}

    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(_READS, 200)
    assert answers.keys() == state.keys() - {"records"}


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_what_was_let_in_is_refused_when_it_is_sent_again_late(tmp_path: Path, clock: WallClock, doorway: str) -> None:
    daemon = _start(tmp_path, environment=clock.environment)
    reads = [asked for asked in every_request() if asked.name in ("ListStreams", "ListFunctions", "GetUsage")]
    sent = [signed(asked, _host(daemon)) for asked in reads] + [presigned(asked, _host(daemon)) for asked in reads]
    with DOORWAYS[doorway](daemon) as ask:
        first, again = ([_send(ask, asked).status for asked in sent] for _ in range(2))
        clock.jump(_REPLAYED_AFTER_S)
        late = [_send(ask, asked) for asked in sent]
    daemon.stop()

    assert first == again == [200] * 6
    assert [answer.status for answer in late if _is_refused(answer)] == [400, 403, 403] * 2


@pytest.mark.parametrize("doorway", DOORWAYS)
def test_open_paths_ask_for_a_proof_of_their_own(guarded: Daemon, doorway: str) -> None:
    with DOORWAYS[doorway](guarded) as ask:
        answers = {
            (path.method, path.path, query): ask(path.method, path.path + query, {"host": _host(guarded)}, b"")
            for path in own_paths()
            for query in ("", "?token=", "?expires=99999999999&token=made-up", "?expires=99999999999&token=%FF")
            if path.is_open and path.path.startswith("/_streamd")
        }

    assert len(answers) == 2 * 4
    assert {answer.status for answer in answers.values()} == {403}
    assert not [answer for answer in answers.values() if _SECRET_OF_A_FUNCTION.encode() in answer.body]


def _let_in(daemon: Daemon, doorway: str, way: Way) -> list[tuple[str, RawReply]]:
    """Ask for everything in one way; what was not refused."""
    let_in = []
    with DOORWAYS[doorway](daemon) as ask:
        for asked in every_request():
            answer = _send(ask, way(asked, _host(daemon)))
            if not _is_refused(answer):
                let_in.append((asked.name, answer))
    return let_in


def _host(daemon: Daemon) -> str:
    return f"127.0.0.1:{daemon.port}"


def _send(ask: Doorway, asked: Asked) -> RawReply:
    return ask(asked.method, asked.path, asked.headers, asked.body)


def _is_refused(answer: RawReply) -> bool:
    code = answer.headers.get("x-amzn-errortype") or str(answer.json()["__type"])
    return answer.status in (400, 403) and code.partition(":")[0] in _REFUSALS


def _told(daemon: Daemon) -> dict[str, Any]:
    """Have the daemon tell all that it has."""
    reads = [asked for asked in every_request() if asked.name in _READS]
    with DOORWAYS["length"](daemon) as ask:
        told: dict[str, Any] = {asked.name: _send(ask, signed(asked, _host(daemon))).json() for asked in reads}
    # The link to the code is good from now on.
    told["GetFunction"]["Code"].pop("Location")
    kinesis = daemon.client(access_key=KEY.access_key_id, secret_key=KEY.secret)
    start = {"StreamName": NAME, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(**start)["ShardIterator"]
    told["records"] = [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    assert told["records"] == [b"kept"]
    return told
