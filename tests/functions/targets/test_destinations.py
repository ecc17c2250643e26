"""Destinations: the real ones of this server, moto as services elsewhere, a webhook, a folder."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.core.outcomes import Outcome, dead_letter_attributes, destination_record
from streamd.engine.clock import SystemClock
from streamd.errors import DeliveryFailed, TargetUnknown
from streamd.functions.deliveries import Delivery
from streamd.functions.naming import Account
from streamd.functions.targets.calls import ServiceCalls
from streamd.functions.targets.destinations import Destinations
from streamd.functions.targets.endpoints import EndpointTable
from streamd.functions.targets.services import Services
from streamd.server.outbound import Outbound
from streamd.storage.outcome_folder import OutcomeFolders
from tests.clocks import ManualClock
from tests.engine.rooms import Rooms, open_rooms
from tests.functions.targets.webhooks import answer, open_webhook

ACCOUNT = Account("000000000000", "us-east-1")
ELSEWHERE = "123456789012"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:audit:live"
REQUEST_ID = "e4b46cbf-b738-4a3e-8880-a18cdf61200e"
OUTCOME = Outcome(
    request_id=REQUEST_ID,
    arn="arn:aws:lambda:us-east-1:000000000000:function:process-orders:$LATEST",
    condition="RetriesExhausted",
    attempt_count=3,
    payload=b'{"id":1}',
    version="$LATEST",
    response=b'{"errorMessage":"boom","errorType":"Exception"}',
    error="Unhandled",
    ended_ms=1_795_404_300_000,
)
RECORD = Delivery(
    body=destination_record(OUTCOME),
    key=f"aws/lambda/async/process-orders/2026/11/23/2026-11-23T03.25.00-{REQUEST_ID}",
    request_id=REQUEST_ID,
    is_record=True,
)
DEAD = Delivery(body=OUTCOME.payload, key=RECORD.key, request_id=REQUEST_ID, attributes=dead_letter_attributes(OUTCOME))


class Queue:
    """Where events for functions go in."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []

    async def enqueue(self, arn: str, payload: bytes, *, depth: int) -> str:
        assert depth == 0, "nothing here was caused by a function"
        self.events.append((arn, payload))
        return REQUEST_ID


class Place:
    """Destinations, and all that a test looks at beside them."""

    def __init__(self, rooms: Rooms, outbound: Outbound, *, moto_url: str = "", folder: str = "") -> None:
        self.rooms = rooms
        self.queue = Queue()
        tables = [
            {"arn": f"arn:aws:{service}:us-east-1:{ELSEWHERE}:*", "endpoint_url": moto_url}
            for service in ("sqs", "sns", "events", "kinesis")
        ]
        tables.append({"arn": "arn:aws:s3:::*", "endpoint_url": moto_url})
        self.destinations = Destinations(
            account=ACCOUNT,
            engine=rooms.engine,
            queue=self.queue,
            endpoints=EndpointTable.parse(tables if moto_url else []),
            services=Services(ServiceCalls(outbound, SystemClock())),
            calls=outbound,
            folders=OutcomeFolders.parse([folder] if folder else []),
        )

    async def deliver(self, target: str, delivery: Delivery) -> None:
        self.destinations.check(target)
        await self.destinations.deliver(target, delivery)


@pytest.fixture
async def place(tmp_path: Path, outbound: Outbound) -> AsyncIterator[Place]:
    async with _open_place(tmp_path, outbound) as opened:
        yield opened


@pytest.fixture
async def served(tmp_path: Path, outbound: Outbound, moto_url: str) -> AsyncIterator[Place]:
    async with _open_place(tmp_path, outbound, moto_url) as opened:
        yield opened


@asynccontextmanager
async def _open_place(path: Path, outbound: Outbound, moto_url: str = "") -> AsyncIterator[Place]:
    async with open_rooms(path / "data", ManualClock()) as rooms:
        yield Place(rooms, outbound, moto_url=moto_url, folder=str(path / "outcomes"))


async def test_a_function_gets_the_record_as_its_event(place: Place) -> None:
    await place.deliver(FUNCTION, RECORD)

    assert place.queue.events == [(FUNCTION, RECORD.body)]


async def test_a_stream_of_this_server_gets_the_record(place: Place) -> None:
    await place.rooms.create("outcomes")

    await place.deliver("arn:aws:kinesis:us-east-1:000000000000:stream/outcomes", RECORD)

    assert await place.rooms.payloads("outcomes") == [RECORD.body]


async def test_a_stream_that_is_not_there_takes_nothing(place: Place) -> None:
    with pytest.raises(DeliveryFailed, match="there is no stream outcomes"):
        await place.deliver("arn:aws:kinesis:us-east-1:000000000000:stream/outcomes", RECORD)


async def test_a_document_too_large_for_a_stream_is_not_put(place: Place) -> None:
    await place.rooms.create("outcomes")

    with pytest.raises(DeliveryFailed, match="may not be as large"):
        await place.deliver(
            "arn:aws:kinesis:us-east-1:000000000000:stream/outcomes", replace(RECORD, body=bytes(1 << 20))
        )


async def test_a_folder_gets_a_file(place: Place, tmp_path: Path) -> None:
    await place.deliver(f"file://{tmp_path}/outcomes/of%20mine", RECORD)

    found = sorted((tmp_path / "outcomes" / "of mine").glob("*"))
    assert [path.name for path in found] == [f"2026-11-23T03.25.00-{REQUEST_ID}.json"]
    assert found[0].read_bytes() == RECORD.body


async def test_a_webhook_is_posted_the_record(place: Place) -> None:
    async with open_webhook(answer(204)) as hook:
        await place.deliver(f"{hook.url}/in?token=1", RECORD)

    heard = hook.heard[0]
    assert (heard.method, heard.target, heard.body) == ("POST", "/in?token=1", RECORD.body)
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["x-streamd-request-id"] == REQUEST_ID


async def test_what_fails_for_the_moment_is_tried_again(place: Place) -> None:
    async with open_webhook(answer(503), b"", answer(200)) as hook:
        await place.deliver(hook.url, RECORD)

    assert [heard.body for heard in hook.heard] == [RECORD.body] * 3


async def test_a_refusal_is_final_and_told_without_the_secrets_of_the_address(place: Place) -> None:
    async with open_webhook(answer(403)) as hook:
        with pytest.raises(DeliveryFailed, match="did not take it: HTTP 403") as caught:
            await place.deliver(f"{hook.url}/?token=hush", RECORD)

    assert len(hook.heard) == 1
    assert "hush" not in str(caught.value)


async def test_what_goes_on_failing_is_given_up(place: Place) -> None:
    async with open_webhook(answer(429)) as hook:
        with pytest.raises(DeliveryFailed, match="HTTP 429"):
            await place.deliver(hook.url, RECORD)

    assert len(hook.heard) == 3


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("arn:aws:sqs:us-east-1:123456789012:dead", r"cannot be reached: no \[\[endpoint\]\]"),
        ("arn:aws:s3:::logs", r"cannot be reached: no \[\[endpoint\]\]"),
        ("arn:aws:kinesis:us-east-1:123456789012:stream/x", r"cannot be reached: no \[\[endpoint\]\]"),
        ("arn:aws:lambda:us-east-1:123456789012:function:f", "a function of another account"),
        ("arn:aws:dynamodb:us-east-1:123456789012:table/x", "is no destination"),
        ("arn:", "is no destination"),
        ("queue", "is no destination"),
        ("", "is no destination"),
        ("http://", "is no address"),
        ("http://a b/", "is no address"),
        ("https://[::1", "is no address"),
        ("file:///etc", "is not allowed as a destination"),
        ("file://host/etc", "is no folder of this machine"),
        ("file:relative", "is no folder of this machine"),
    ],
)
async def test_what_cannot_be_reached_is_refused_beforehand(place: Place, target: str, sentence: str) -> None:
    with pytest.raises(TargetUnknown, match=sentence):
        place.destinations.check(target)
    with pytest.raises(DeliveryFailed, match=sentence):
        await place.destinations.deliver(target, RECORD)


async def test_a_queue_gets_a_dead_event_and_its_attributes(served: Place, elsewhere: Callable[[str], Any]) -> None:
    sqs = elsewhere("sqs")
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]

    await served.deliver(f"arn:aws:sqs:us-east-1:{ELSEWHERE}:dead", DEAD)

    message = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"][0]
    assert message["Body"] == '{"id":1}'
    assert message["MessageAttributes"] == {
        "RequestID": {"DataType": "String", "StringValue": REQUEST_ID},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "boom"},
    }


async def test_a_queue_in_order_gets_a_record_once(served: Place, elsewhere: Callable[[str], Any]) -> None:
    sqs = elsewhere("sqs")
    url = sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    for _ in range(2):
        await served.deliver(f"arn:aws:sqs:us-east-1:{ELSEWHERE}:dead.fifo", RECORD)

    found = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"].encode() for message in found] == [RECORD.body]
    assert found[0]["Attributes"]["MessageGroupId"] == REQUEST_ID


async def test_a_queue_that_is_not_there_takes_nothing(served: Place) -> None:
    with pytest.raises(DeliveryFailed, match=r"missing did not take it: .*(NonExistentQueue|QueueDoesNotExist)"):
        await served.deliver(f"arn:aws:sqs:us-east-1:{ELSEWHERE}:missing", DEAD)


async def test_a_topic_passes_a_dead_event_on(served: Place, elsewhere: Callable[[str], Any]) -> None:
    sqs, sns = elsewhere("sqs"), elsewhere("sns")
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    topic = sns.create_topic(Name="dead")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{ELSEWHERE}:listener")

    await served.deliver(topic, replace(DEAD, body='{"söme":"+ &=text"}'.encode()))

    told = orjson.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
    assert told["Message"] == '{"söme":"+ &=text"}'
    assert told["MessageAttributes"]["ErrorMessage"] == {"Type": "String", "Value": "boom"}
    assert told["MessageAttributes"]["ErrorCode"]["Type"] == "Number"


async def test_a_topic_that_is_not_there_says_so_in_its_own_words(served: Place) -> None:
    with pytest.raises(DeliveryFailed, match=r"did not take it: NotFound: .* does not exist"):
        await served.deliver(f"arn:aws:sns:us-east-1:{ELSEWHERE}:missing", RECORD)


async def test_a_bucket_gets_an_object_under_the_key(served: Place, elsewhere: Callable[[str], Any]) -> None:
    s3 = elsewhere("s3")
    s3.create_bucket(Bucket="outcomes")

    await served.deliver("arn:aws:s3:::outcomes", RECORD)

    found = s3.get_object(Bucket="outcomes", Key=RECORD.key)
    assert found["Body"].read() == RECORD.body
    assert found["ContentType"] == "application/json"


async def test_a_bucket_that_is_not_there_says_so_in_its_own_words(served: Place) -> None:
    with pytest.raises(DeliveryFailed, match="NoSuchBucket"):
        await served.deliver("arn:aws:s3:::missing", RECORD)


async def test_an_event_bus_gets_the_record_in_its_envelope(served: Place, elsewhere: Callable[[str], Any]) -> None:
    events, sqs = elsewhere("events"), elsewhere("sqs")
    url = sqs.create_queue(QueueName="bus-listener")["QueueUrl"]
    bus = events.create_event_bus(Name="outcomes")["EventBusArn"]
    events.put_rule(Name="all", EventBusName="outcomes", EventPattern='{"source":["lambda"]}', State="ENABLED")
    listener = {"Id": "1", "Arn": f"arn:aws:sqs:us-east-1:{ELSEWHERE}:bus-listener"}
    events.put_targets(Rule="all", EventBusName="outcomes", Targets=[listener])

    await served.deliver(bus, RECORD)

    told = orjson.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
    assert told["detail-type"] == "Lambda Function Invocation Result - Failure"
    assert (told["source"], told["resources"]) == ("lambda", [bus, OUTCOME.arn])
    assert told["detail"] == orjson.loads(RECORD.body)


async def test_an_event_bus_takes_nothing_but_records(served: Place) -> None:
    with pytest.raises(DeliveryFailed, match="takes the records of outcomes only"):
        await served.deliver(f"arn:aws:events:us-east-1:{ELSEWHERE}:event-bus/default", DEAD)


async def test_a_stream_elsewhere_gets_the_record(served: Place, elsewhere: Callable[[str], Any]) -> None:
    kinesis = elsewhere("kinesis")
    kinesis.create_stream(StreamName="outcomes", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="outcomes")

    await served.deliver(f"arn:aws:kinesis:us-east-1:{ELSEWHERE}:stream/outcomes", RECORD)

    shard = kinesis.list_shards(StreamName="outcomes")["Shards"][0]["ShardId"]
    start = {"ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName="outcomes", **start)["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert [(record["PartitionKey"], record["Data"]) for record in records] == [(REQUEST_ID, RECORD.body)]
