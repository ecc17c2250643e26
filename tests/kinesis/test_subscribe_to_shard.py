"""SubscribeToShard: records pushed to a registered consumer, by boto3 and by bare bytes, over HTTP/1.1."""

import re
import resource
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.conftest import DaemonFactory
from tests.daemons import Daemon
from tests.kinesis.calls import HELD_MS
from tests.kinesis.event_streams import pushed

__all__: list[str] = []

_SHARD = "shardId-000000000000"
_OPEN = re.compile(r"^streamd_open_subscriptions(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


class Fan:
    """A stream with one consumer."""

    def __init__(self, daemon: Daemon, name: str, *, shard_count: int = 1) -> None:
        self.daemon = daemon
        self.client = daemon.client()
        self.name = name
        self.client.create_stream(StreamName=name, ShardCount=shard_count)
        self.arn = self.client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
        self.consumer = self.register("c")
        self._events: list[Events] = []

    def close(self) -> None:
        """Hang up on every subscription."""
        for events in self._events:
            events.close()

    def register(self, name: str) -> str:
        """Register one more consumer; its ARN."""
        arn: str = self.client.register_stream_consumer(StreamARN=self.arn, ConsumerName=name)["Consumer"][
            "ConsumerARN"
        ]
        return arn

    def put(self, *payloads: bytes) -> list[str]:
        """Put records; their sequence numbers."""
        return [
            self.client.put_record(StreamName=self.name, Data=data, PartitionKey="k")["SequenceNumber"]
            for data in payloads
        ]

    def subscribe(
        self, kind: str = "TRIM_HORIZON", *, shard: str = _SHARD, consumer: str | None = None, **position: Any
    ) -> "Events":
        """Subscribe with boto3."""
        answer = self.client.subscribe_to_shard(
            ConsumerARN=consumer or self.consumer, ShardId=shard, StartingPosition={"Type": kind, **position}
        )
        self._events.append(Events(answer["EventStream"]))
        return self._events[-1]


class Events:
    """What is pushed, as boto3 gives it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._events = iter(stream)

    def next(self) -> dict[str, Any]:
        """Wait for an event."""
        event: dict[str, Any] = next(self._events)["SubscribeToShardEvent"]
        return event

    def payloads(self, count: int) -> list[bytes]:
        """Wait for so many records."""
        found: list[bytes] = []
        while len(found) < count:
            found += [record["Data"] for record in self.next()["Records"]]
        return found

    def rest(self) -> list[dict[str, Any]]:
        """Read to the end. Raises EventStreamError when the subscription was ended by a fault."""
        return [event["SubscribeToShardEvent"] for event in self._events]

    def close(self) -> None:
        """Hang up."""
        self.stream.close()


MakeFan = Callable[..., Fan]


@pytest.fixture
def make_fan(stream_name: str) -> Iterator[MakeFan]:
    """Give a function that makes streams with one consumer; subscriptions end after the test."""
    made: list[Fan] = []

    def make(daemon: Daemon, *, shard_count: int = 1) -> Fan:
        made.append(Fan(daemon, stream_name, shard_count=shard_count))
        return made[-1]

    yield make
    for fan in made:
        fan.close()


@pytest.fixture
def fan(daemon: Daemon, make_fan: MakeFan) -> Fan:
    """Give a stream of one shard with one consumer."""
    return make_fan(daemon)


def test_what_is_there_is_pushed_and_what_comes_follows(fan: Fan) -> None:
    numbers = fan.put(b"0", b"1")

    events = fan.subscribe()
    first = events.next()
    numbers += fan.put(b"2")
    second = events.next()
    events.close()

    assert [record["Data"] for record in first["Records"] + second["Records"]] == [b"0", b"1", b"2"]
    assert [record["SequenceNumber"] for record in first["Records"] + second["Records"]] == numbers
    assert [record["PartitionKey"] for record in second["Records"]] == ["k"]
    assert second["Records"][0]["ApproximateArrivalTimestamp"] <= datetime.now(UTC) + timedelta(seconds=1)
    assert second["MillisBehindLatest"] == 0
    assert "ChildShards" not in second
    assert "EncryptionType" not in second["Records"][0]


def test_a_subscription_starts_wherever_it_is_told_to(fan: Fan) -> None:
    numbers = fan.put(b"0", b"1", b"2")
    consumers = iter([fan.register(f"c-{place}") for place in range(5)])

    def first(kind: str, **position: Any) -> list[bytes]:
        events = fan.subscribe(kind, consumer=next(consumers), **position)
        found = [record["Data"] for record in events.next()["Records"]]
        events.close()
        return found

    assert first("TRIM_HORIZON") == [b"0", b"1", b"2"]
    assert first("AT_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == [b"1", b"2"]
    assert first("AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == [b"2"]
    assert first("AT_TIMESTAMP", Timestamp=datetime.now(UTC) - timedelta(hours=1)) == [b"0", b"1", b"2"]
    assert first("LATEST") == []


@pytest.mark.parametrize("kind", ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"])
def test_a_continuation_neither_skips_nor_repeats(fan: Fan, kind: str) -> None:
    fan.put(b"0", b"1")
    places: list[str] = []

    def go_on(consumer: str) -> dict[str, Any]:
        place = fan.register(consumer)
        events = (
            fan.subscribe(kind, consumer=place, SequenceNumber=places[-1])
            if places
            else fan.subscribe("LATEST", consumer=place)
        )
        event = events.next()
        places.append(event["ContinuationSequenceNumber"])
        events.close()
        return event

    assert go_on("a")["Records"] == []
    fan.put(b"2")
    assert [record["Data"] for record in go_on("b")["Records"]] == [b"2"]
    assert go_on("d")["Records"] == []
    fan.put(b"3", b"4")
    assert [record["Data"] for record in go_on("e")["Records"]] == [b"3", b"4"]


def test_a_continuation_is_a_place_for_iterators_too(fan: Fan) -> None:
    fan.put(b"0")
    events = fan.subscribe()
    place = events.next()["ContinuationSequenceNumber"]
    events.close()
    fan.put(b"1")

    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        iterator = fan.client.get_shard_iterator(
            StreamName=fan.name, ShardId=_SHARD, ShardIteratorType=kind, StartingSequenceNumber=place
        )["ShardIterator"]
        assert [record["Data"] for record in fan.client.get_records(ShardIterator=iterator)["Records"]] == [b"1"]


def test_nothing_is_lost_or_repeated_over_reconnects_under_load(fan: Fan) -> None:
    sent = [b"%d" % number for number in range(300)]
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(lambda: fan.put(*sent))
        found: list[bytes] = []
        position: dict[str, Any] = {"kind": "TRIM_HORIZON"}
        turn = 0
        while len(found) < len(sent):
            events = fan.subscribe(**position, consumer=fan.register(f"c-{turn}"))
            event = events.next()
            events.close()
            fan.client.deregister_stream_consumer(StreamARN=fan.arn, ConsumerName=f"c-{turn}")
            found += [record["Data"] for record in event["Records"]]
            position = {"kind": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
            turn += 1
        putting.result()

    assert found == sent
    assert turn > 1


def test_a_split_ends_the_subscription_and_names_the_children(fan: Fan) -> None:
    fan.put(b"0")
    events = fan.subscribe()
    assert events.payloads(1) == [b"0"]

    fan.client.split_shard(StreamName=fan.name, ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))
    last = events.rest()[-1]

    assert last["Records"] == []
    assert last.get("ContinuationSequenceNumber") is None
    assert [child["ShardId"] for child in last["ChildShards"]] == ["shardId-000000000001", "shardId-000000000002"]
    assert {tuple(child["ParentShards"]) for child in last["ChildShards"]} == {(_SHARD,)}
    assert last["ChildShards"][1]["HashKeyRange"]["StartingHashKey"] == str(1 << 127)


def test_a_merge_is_named_to_the_subscribers_of_both_parents(daemon: Daemon, make_fan: MakeFan) -> None:
    fan = make_fan(daemon, shard_count=2)
    parents = [_SHARD, "shardId-000000000001"]
    subscriptions = [fan.subscribe(shard=parent) for parent in parents]
    for events in subscriptions:
        assert events.next()["Records"] == []

    fan.client.merge_shards(StreamName=fan.name, ShardToMerge=parents[0], AdjacentShardToMerge=parents[1])

    for events in subscriptions:
        (child,) = events.rest()[-1]["ChildShards"]
        assert (child["ShardId"], sorted(child["ParentShards"])) == ("shardId-000000000002", parents)


def test_a_shard_that_is_closed_already_is_read_to_its_end(fan: Fan) -> None:
    fan.put(b"0", b"1")
    fan.client.split_shard(StreamName=fan.name, ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))

    found = fan.subscribe().rest()

    assert [record["Data"] for event in found for record in event["Records"]] == [b"0", b"1"]
    assert len(found[-1]["ChildShards"]) == 2


def test_a_second_subscription_is_refused_while_the_first_is_young(fan: Fan) -> None:
    first = fan.subscribe()
    assert first.next()["Records"] == []

    with pytest.raises(ClientError, match="Another active subscription exists for this consumer") as refused:
        fan.subscribe()
    other = fan.subscribe(consumer=fan.register("other"))
    assert other.next()["Records"] == []
    fan.put(b"0")

    assert refused.value.response["Error"]["Code"] == "ResourceInUseException"
    assert first.payloads(1) == [b"0"]
    assert other.payloads(1) == [b"0"]
    first.close()
    other.close()


def test_deregistering_ends_the_subscription_with_the_reason(fan: Fan) -> None:
    events = fan.subscribe()
    assert events.next()["Records"] == []

    fan.client.deregister_stream_consumer(StreamARN=fan.arn, ConsumerName="c")

    with pytest.raises(EventStreamError, match=r"ResourceNotFoundException.*Consumer c under stream"):
        events.rest()


def test_deleting_the_stream_ends_its_subscriptions_with_the_reason(fan: Fan) -> None:
    events = fan.subscribe()
    assert events.next()["Records"] == []

    fan.client.delete_stream(StreamName=fan.name, EnforceConsumerDeletion=True)

    with pytest.raises(EventStreamError, match=rf"ResourceNotFoundException.*Stream {fan.name} under account"):
        events.rest()


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"ShardId": "shardId-000000000009"}, "ResourceNotFoundException", "shardId-000000000009 in stream"),
        ({"ShardId": "nonsense"}, "ResourceNotFoundException", "Could not find shard nonsense in stream"),
        ({"ConsumerARN": "{consumer}1"}, "ResourceNotFoundException", "Consumer c with creation timestamp"),
        ({"ConsumerARN": "{stream}"}, "ValidationException", "consumerARN"),
        ({"StartingPosition": {"Type": "SOMEWHERE"}}, "ValidationException", "startingPosition.type"),
        ({"StartingPosition": {"Type": "AT_SEQUENCE_NUMBER"}}, "InvalidArgumentException", "Must either specify"),
        ({"StartingPosition": {"Type": "AT_TIMESTAMP"}}, "InvalidArgumentException", "no timestamp parameter"),
        (
            {"StartingPosition": {"Type": "AT_TIMESTAMP", "Timestamp": 99_999_999_999}},
            "InvalidArgumentException",
            "cannot be greater than",
        ),
        (
            {"StartingPosition": {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "12"}},
            "InvalidArgumentException",
            "StartingSequenceNumber 12 used in SubscribeToShard on shard",
        ),
        ({"StartingPosition": None}, "ValidationException", "Value null at 'startingPosition'"),
        ({"DryRun": True}, "DryRunOperationException", "SubscribeToShard"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused_before_any_event(
    fan: Fan, members: dict[str, Any], code: str, words: str
) -> None:
    asked: dict[str, Any] = {
        "ConsumerARN": fan.consumer,
        "ShardId": _SHARD,
        "StartingPosition": {"Type": "LATEST"},
        **members,
    }
    asked["ConsumerARN"] = asked["ConsumerARN"].format(consumer=fan.consumer, stream=fan.arn)

    with pushed(fan.daemon.port, asked) as answer:
        status, document = answer.response.status, answer.document()

    assert (status, document["__type"]) == (400, code)
    assert words in document["message"]
    events = fan.subscribe()
    assert events.next()["Records"] == []
    events.close()


def test_a_number_of_another_shard_is_refused(daemon: Daemon, make_fan: MakeFan) -> None:
    fan = make_fan(daemon, shard_count=2)
    put = fan.client.put_record(StreamName=fan.name, Data=b"x", PartitionKey="k", ExplicitHashKey="0")

    with pytest.raises(ClientError, match="It encodes shardId-000000000000, while it was used in a call to a shard"):
        fan.subscribe("AT_SEQUENCE_NUMBER", shard="shardId-000000000001", SequenceNumber=put["SequenceNumber"])


def test_a_consumer_that_is_still_being_registered_cannot_subscribe(
    daemon_factory: DaemonFactory, stream_name: str
) -> None:
    first = daemon_factory()
    first.client().create_stream(StreamName=stream_name, ShardCount=1)
    first.stop()
    client = daemon_factory("--transition-ms", HELD_MS, data=first.data).client()
    arn = client.describe_stream_summary(StreamName=stream_name)["StreamDescriptionSummary"]["StreamARN"]
    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]

    with pytest.raises(ClientError, match=r"ResourceInUseException.*is not in ACTIVE status"):
        client.subscribe_to_shard(ConsumerARN=consumer, ShardId=_SHARD, StartingPosition={"Type": "LATEST"})


@pytest.mark.parametrize("is_chunked", [False, True], ids=["lean door", "web door"])
@pytest.mark.parametrize("codec", ["json", "cbor"])
def test_the_bytes_are_an_event_stream_in_the_codec_of_the_request(fan: Fan, codec: str, *, is_chunked: bool) -> None:
    fan.put(b"data")
    asked = {"ConsumerARN": fan.consumer, "ShardId": _SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"}}

    with pushed(fan.daemon.port, asked, codec=codec, is_chunked=is_chunked) as answer:
        headers = answer.response.headers
        messages = answer.messages()
        first, second = next(messages), next(messages)

    assert answer.response.status == 200
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    assert headers["x-amzn-requestid"]
    assert headers["transfer-encoding"] == "chunked"
    content_type = f"application/x-amz-{codec}-1.1"
    assert first.headers == {
        ":message-type": "event",
        ":event-type": "initial-response",
        ":content-type": content_type,
    }
    assert first.payload == (b"{}" if codec == "json" else b"\xa0")
    assert second.headers == {
        ":message-type": "event",
        ":event-type": "SubscribeToShardEvent",
        ":content-type": content_type,
    }
    assert (b'"Data":"ZGF0YQ=="' if codec == "json" else b"\x64Data\x44data") in second.payload


@pytest.mark.parametrize("codec", ["json", "cbor"])
def test_the_fault_that_ends_a_subscription_is_an_exception_in_the_same_codec(fan: Fan, codec: str) -> None:
    asked = {"ConsumerARN": fan.consumer, "ShardId": _SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"}}

    with pushed(fan.daemon.port, asked, codec=codec) as answer:
        documents = answer.documents()
        begun = [next(documents)[0], next(documents)[0]]
        fan.client.deregister_stream_consumer(ConsumerARN=fan.consumer)
        (kind, document) = next(documents)
        rest = list(documents)

    assert begun == ["initial-response", "SubscribeToShardEvent"]
    assert kind == "ResourceNotFoundException"
    assert document["__type"] == "ResourceNotFoundException"
    assert document["message"].startswith("Consumer c under stream")
    assert rest == []


def test_records_of_an_encrypted_stream_say_so(fan: Fan) -> None:
    fan.client.start_stream_encryption(StreamName=fan.name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
    fan.put(b"secret")

    events = fan.subscribe()
    (record,) = events.next()["Records"]
    events.close()

    assert (record["Data"], record["EncryptionType"]) == (b"secret", "KMS")


def test_large_records_are_pushed_whole(fan: Fan) -> None:
    fan.client.update_max_record_size(StreamARN=fan.arn, MaxRecordSizeInKiB=10_240)
    sizes = [1, 5_000_000, 900_000, 900_000, 10_000_000]
    fan.put(*(b"x" * size for size in sizes))

    events = fan.subscribe()

    assert [len(data) for data in events.payloads(len(sizes))] == sizes
    events.close()


def test_a_put_through_one_worker_wakes_a_subscription_in_another(
    daemon_factory: DaemonFactory, make_fan: MakeFan, stream_name: str
) -> None:
    daemon = daemon_factory("--workers", "3")
    fan = make_fan(daemon)
    subscriptions = [fan.subscribe(consumer=fan.register(f"c-{place}")) for place in range(6)]
    for events in subscriptions:
        assert events.next()["Records"] == []

    # A connection of its own for each put: the kernel hands them to different workers.
    for number in range(12):
        daemon.client().put_record(StreamName=stream_name, Data=b"%d" % number, PartitionKey="k")

    for events in subscriptions:
        assert events.payloads(12) == [b"%d" % number for number in range(12)]
        events.close()


def test_a_reader_that_does_not_read_holds_little_and_nobody_else(
    daemon_factory: DaemonFactory, make_fan: MakeFan, stream_name: str
) -> None:
    daemon = daemon_factory()
    fan = make_fan(daemon)
    for _ in range(16):
        records = [{"Data": b"x" * 1_000_000, "PartitionKey": "k"} for _ in range(5)]
        fan.client.put_records(StreamName=stream_name, Records=records)
    before = _own_byte_count(daemon)

    asked = {"ConsumerARN": fan.consumer, "ShardId": _SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"}}
    slow = []
    with pushed(daemon.port, asked) as answer:
        slow.append(next(answer.messages()))
        other = fan.subscribe(consumer=fan.register("other"))
        assert len(other.payloads(80)) == 80
        held = _own_byte_count(daemon) - before
        rest = sum(len(document["Records"]) for kind, document in _until(answer.documents(), 80))
        other.close()

    assert rest == 80
    # 107 MB are there to be sent; the door holds a few megabytes of them, and what reading them took for a moment.
    assert held < 50_000_000


def test_hanging_up_ends_the_subscription(daemon_factory: DaemonFactory, make_fan: MakeFan) -> None:
    daemon = daemon_factory()
    fan = make_fan(daemon)
    events = fan.subscribe()
    events.next()
    assert _open_count(daemon) == 1

    events.close()
    # The door learns of it with the next event at the latest.
    pause = threading.Event()
    for _ in range(300):
        fan.put(b"x")
        if _open_count(daemon) == 0:
            break
        pause.wait(0.05)

    assert _open_count(daemon) == 0


def test_a_thousand_subscriptions_are_pushed_to_at_once(daemon_factory: DaemonFactory, make_fan: MakeFan) -> None:
    _allow_files(2048)
    daemon = daemon_factory("--workers", "2")
    fan = make_fan(daemon, shard_count=50)
    consumers = [fan.consumer, *(fan.register(f"c-{number}") for number in range(19))]
    shards = [shard["ShardId"] for shard in fan.client.list_shards(StreamName=fan.name)["Shards"]]

    with ExitStack() as stack:
        begun: list[Iterator[tuple[str, Any]]] = []
        for shard in shards:
            for consumer in consumers:
                asked = {"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": {"Type": "LATEST"}}
                documents = stack.enter_context(pushed(daemon.port, asked)).documents()
                assert next(documents)[0] == "initial-response"
                begun.append(documents)
        assert _open_count(daemon) == 1000
        width = (1 << 128) // 50
        for number in range(50):
            fan.client.put_record(
                StreamName=fan.name, Data=b"%d" % number, PartitionKey="k", ExplicitHashKey=str(number * width)
            )
        found = [
            record["Data"]
            for documents in begun
            for _, document in _until(documents, 1)
            for record in document["Records"]
        ]

    assert found == [b64encode(b"%d" % number).decode() for number in range(50) for _ in consumers]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_the_daemon_ends_subscriptions_in_good_order(
    daemon_factory: DaemonFactory, make_fan: MakeFan, workers: str
) -> None:
    daemon = daemon_factory("--workers", workers)
    fan = make_fan(daemon)
    fan.put(b"0")
    subscriptions = [fan.subscribe(consumer=fan.register(f"c-{place}")) for place in range(4)]
    for events in subscriptions:
        assert events.payloads(1) == [b"0"]

    status = daemon.stop()

    assert status == 0
    for events in subscriptions:
        assert all(event["Records"] == [] for event in events.rest())
    assert "Traceback" not in daemon.log.read_text()


def test_signatures_are_verified_before_anything_is_pushed(daemon_factory: DaemonFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[key]]\nid = "AKIDFAN"\nsecret = "a-secret-for-tests-only"\n')
    keys.chmod(0o600)
    daemon = daemon_factory("--auth", str(keys))
    client = daemon.client(access_key="AKIDFAN", secret_key="a-secret-for-tests-only")
    client.create_stream(StreamName="s", ShardCount=1)
    arn = client.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    consumer = client.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    asked = {"ConsumerARN": consumer, "ShardId": _SHARD, "StartingPosition": {"Type": "LATEST"}}

    with pushed(daemon.port, asked) as answer:
        refused = answer.response.status
    events = Events(client.subscribe_to_shard(**asked)["EventStream"])

    assert refused == 400
    assert events.next()["Records"] == []
    events.close()


def test_the_next_request_of_a_connection_waits_for_the_end_of_the_push(fan: Fan) -> None:
    events = fan.subscribe()
    assert events.next()["Records"] == []
    fan.client.split_shard(StreamName=fan.name, ShardToSplit=_SHARD, NewStartingHashKey=str(1 << 127))
    assert events.rest()

    # boto3 gives the connection back to its pool when the stream has ended, and uses it again.
    assert fan.client.list_shards(StreamName=fan.name)["Shards"]


def _allow_files(count: int) -> None:
    """Let this process, and those it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _until(documents: Iterator[tuple[str, Any]], count: int) -> Iterator[tuple[str, Any]]:
    found = 0
    for kind, document in documents:
        if kind == "SubscribeToShardEvent":
            yield kind, document
            found += len(document["Records"])
            if found >= count:
                return


def _open_count(daemon: Daemon) -> float:
    return sum(float(found) for found in _OPEN.findall(daemon.page("/metrics").body.decode()))


def _own_byte_count(daemon: Daemon) -> int:
    for line in Path(f"/proc/{daemon.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError
