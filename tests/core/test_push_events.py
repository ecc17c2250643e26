"""What is pushed from outside: told apart, made into AWS's events, filtered, refused."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.push_events import Pushed, PushedEvent, PushedNothing, PushFormat, read_pushed
from streamd.core.push_filters import PushFilter
from streamd.core.push_s3 import encoded_key, read_s3
from streamd.core.push_sns import SnsMessage
from streamd.errors import EventMalformed
from tests.clocks import START_MS
from tests.core.push_samples import (
    CEPH,
    CLOUDEVENT,
    MINIO,
    S3_EVENT,
    SEAWEEDFS,
    SNS_EVENT,
    SNS_NOTIFICATION,
    SNS_SUBSCRIPTION,
)

EVERYTHING = PushFilter()
SUBSCRIPTION = SNS_EVENT["Records"][0]["EventSubscriptionArn"]
CE_HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "A234-1234-1234",
    "ce-source": "/sensors/7",
    "ce-type": "com.example.reading",
    "ce-time": "2026-11-23T03:33:00Z",
    "content-type": "application/json",
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read(
    document: object,
    *,
    form: str = "auto",
    headers: Mapping[str, str] | None = None,
    wanted: PushFilter = EVERYTHING,
) -> PushedEvent | PushedNothing | SnsMessage:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    pushed = Pushed(headers=headers or {}, body=body, route="uploads", region="us-east-1", now_ms=START_MS)
    return read_pushed(pushed, form=PushFormat(form), wanted=wanted)


def event(document: object, **asked: Any) -> Any:
    found = read(document, **asked)
    assert isinstance(found, PushedEvent), found
    return json.loads(found.payload)


def stored(key: str, **members: object) -> dict[str, Any]:
    return {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": key, **members}},
    }


def sea(**attributes: object) -> dict[str, Any]:
    return {**SEAWEEDFS, "message_data": {"new_entry": {"name": "a.jpg", "attributes": attributes}}}


@pytest.mark.parametrize("form", ["auto", "s3"])
@pytest.mark.parametrize("sent", [MINIO, CEPH, S3_EVENT], ids=["minio", "ceph", "aws"])
def test_notifications_of_s3_servers_become_the_event_of_aws(sent: dict[str, Any], form: str) -> None:
    given_event = event(sent, form=form)

    # The order of the members is AWS's too.
    assert json.dumps(given_event) == json.dumps(S3_EVENT)


def test_an_event_tells_its_buckets_as_its_sources() -> None:
    found = read({"Records": [stored("a"), stored("b")]})

    assert isinstance(found, PushedEvent)
    assert found.sources == ("arn:aws:s3:::b",)


def test_the_event_of_ceph_with_headers_of_a_cloudevent_is_still_the_event_of_s3() -> None:
    assert event(CEPH, headers=CE_HEADERS) == S3_EVENT
    assert event(CEPH, headers=CE_HEADERS, form="cloudevents")["data"] == CEPH


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("in%2FHappy+Face.jpg", "in/Happy+Face.jpg"),
        ("in/Happy Face.jpg", "in/Happy+Face.jpg"),
        ("in/gr%C3%BCn", "in/gr%C3%BCn"),
        ("in/grün", "in/gr%C3%BCn"),
        ("100% sure", "100%25+sure"),
        ("100%", "100%25"),
        ("a%FF", "a%25FF"),
    ],
)
def test_keys_are_encoded_as_aws_does_however_they_come(sent: str, written: str) -> None:
    assert event({"Records": [stored(sent)]})["Records"][0]["s3"]["object"]["key"] == written


def test_the_key_of_the_envelope_tells_a_raw_key_from_an_encoded_one() -> None:
    raw = event({"Key": "b/1+1", "Records": [stored("1+1")]})
    encoded = event({"Key": "b/1 1", "Records": [stored("1+1")]})

    assert raw["Records"][0]["s3"]["object"]["key"] == "1%2B1"
    assert encoded["Records"][0]["s3"]["object"]["key"] == "1+1"


@given(key=st.text(min_size=1).filter(str.isprintable))
def test_every_key_that_minio_encodes_is_given_back_whole(key: str) -> None:
    (record,) = read_s3({"Records": [stored(quote_plus(key))]}, region="", now_ms=0)

    assert record.key == key
    assert unquote_plus(encoded_key(record.key)) == key


def test_what_a_record_does_not_tell_is_filled_in() -> None:
    record = event({"Records": [stored("k")]})["Records"][0]

    assert record["awsRegion"] == "us-east-1"
    assert record["eventTime"] == "2025-06-15T15:06:40.000Z"
    assert record["userIdentity"] == {"principalId": ""}
    assert record["s3"]["object"] == {"key": "k"}


def test_times_are_told_in_utc_with_milliseconds() -> None:
    record = {**stored("k"), "eventTime": "2026-11-23T04:31:00.123456+01:00"}

    assert event({"Records": [record]})["Records"][0]["eventTime"] == "2026-11-23T03:31:00.123Z"


def test_versions_and_tags_of_objects_are_taken_over_without_their_quotes() -> None:
    record = stored("k", size="5", eTag='"abc"', versionId="v1", extra={"deep": []})

    assert event({"Records": [record]})["Records"][0]["s3"]["object"] == {
        "key": "k",
        "size": 5,
        "eTag": "abc",
        "versionId": "v1",
    }


def test_an_object_that_is_gone_has_neither_size_nor_tag() -> None:
    record = {**stored("k", size=0, eTag="", sequencer="1"), "eventName": "s3:ObjectRemoved:Delete"}

    written = event({"Records": [record]})["Records"][0]

    assert written["eventName"] == "ObjectRemoved:Delete"
    assert written["s3"]["object"] == {"key": "k", "sequencer": "1"}


def test_a_test_event_reaches_no_function() -> None:
    found = read({"Service": "S3", "Event": "s3:TestEvent", "Bucket": "b"})

    assert isinstance(found, PushedNothing)


@pytest.mark.parametrize("form", ["auto", "seaweedfs"])
def test_a_message_of_seaweedfs_becomes_the_event_of_aws(form: str) -> None:
    (record,) = event(SEAWEEDFS, form=form)["Records"]

    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-23T03:31:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": ""},
        "requestParameters": {"sourceIPAddress": ""},
        "responseElements": {"x-amz-request-id": "", "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": {
                "name": "uploads",
                "ownerIdentity": {"principalId": ""},
                "arn": "arn:aws:s3:::uploads",
            },
            "object": {"key": "in/a.jpg", "size": 1024, "sequencer": "18EA8F069B618800"},
        },
    }


def test_a_rename_in_seaweedfs_is_a_new_object_and_one_that_is_gone() -> None:
    moved = {
        "key": "/buckets/uploads/in/a.jpg",
        "event_type": "rename",
        "message_data": {
            "old_entry": {"name": "a.jpg"},
            "new_entry": {"name": "b c.jpg", "attributes": {"file_size": "7", "mtime": 1, "md5": "KEg="}},
            "new_parent_path": "/buckets/uploads/out",
        },
    }

    made, gone = event(moved)["Records"]

    assert (made["eventName"], made["s3"]["object"]["key"]) == ("ObjectCreated:Copy", "out/b+c.jpg")
    assert made["s3"]["object"]["eTag"] == "2848"
    assert (gone["eventName"], gone["s3"]["object"]["key"]) == ("ObjectRemoved:Delete", "in/a.jpg")
    assert gone["eventTime"] == "2025-06-15T15:06:40.000Z"


@pytest.mark.parametrize("path", ["/etc/iam/identity.json", "/buckets/uploads", "/buckets/uploads/", "/bucketsx/a/b"])
def test_what_is_no_object_in_seaweedfs_reaches_no_function(path: str) -> None:
    assert isinstance(read({**SEAWEEDFS, "key": path}), PushedNothing)


def test_a_folder_in_seaweedfs_reaches_no_function() -> None:
    folder = {**SEAWEEDFS, "message_data": {"new_entry": {"name": "in", "is_directory": True}}}

    assert isinstance(read(folder), PushedNothing)


@pytest.mark.parametrize("form", ["auto", "sns"])
def test_a_notification_of_sns_becomes_the_event_of_lambda(form: str) -> None:
    message = read(SNS_NOTIFICATION, form=form, headers={"x-amz-sns-subscription-arn": SUBSCRIPTION})

    assert isinstance(message, SnsMessage)
    assert json.dumps(json.loads(message.to_event())) == json.dumps(SNS_EVENT)


def test_a_notification_without_subject_or_header_has_null_and_the_arn_of_its_address() -> None:
    url = "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:r:1:t:7"
    sent = {name: value for name, value in SNS_NOTIFICATION.items() if name != "Subject"} | {"UnsubscribeURL": url}

    message = read(sent)

    assert isinstance(message, SnsMessage)
    (record,) = json.loads(message.to_event())["Records"]
    assert record["EventSubscriptionArn"] == "arn:aws:sns:r:1:t:7"
    assert record["Sns"]["Subject"] is None


def test_a_request_to_confirm_a_subscription_is_read_member_by_member() -> None:
    message = read(SNS_SUBSCRIPTION, headers={"x-amz-sns-message-type": "SubscriptionConfirmation"})

    assert isinstance(message, SnsMessage)
    assert (message.token, message.subscribe_url) == (SNS_SUBSCRIPTION["Token"], SNS_SUBSCRIPTION["SubscribeURL"])


@pytest.mark.parametrize("form", ["auto", "cloudevents"])
def test_a_structured_cloudevent_is_passed_on_byte_for_byte(form: str) -> None:
    body = json.dumps(CLOUDEVENT, indent=3).replace("21.5", "21.500000000000000000001").encode()

    found = read(body, form=form, headers={"content-type": "application/cloudevents+json; charset=utf-8"})
    guessed = read(body, form=form)

    assert isinstance(found, PushedEvent)
    assert found.payload == body
    assert guessed == found


@pytest.mark.parametrize("form", ["auto", "cloudevents"])
def test_a_binary_cloudevent_becomes_structured(form: str) -> None:
    assert event({"t": 21.5}, form=form, headers=CE_HEADERS) == CLOUDEVENT


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("text/plain", b"plain", {"data": "plain"}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("application/octet-stream", b"\0\1", {"data_base64": b64encode(b"\0\1").decode()}),
        ("application/json", b"", {}),
        ("", b"{", {"data_base64": "ew=="}),
        ("application/vnd.x+json; a=b", b"[1]", {"data": [1]}),
    ],
)
def test_the_data_of_a_binary_cloudevent_goes_in_by_its_type(content_type: str, body: bytes, data: object) -> None:
    told = event(body, headers={**CE_HEADERS, "content-type": content_type})

    assert {name: told[name] for name in told if name.startswith("data") and name != "datacontenttype"} == data
    assert told.get("datacontenttype", "") == content_type


def test_data_that_is_not_what_its_type_says_is_refused() -> None:
    with pytest.raises(EventMalformed, match="the data of the CloudEvent is no JSON"):
        read(b"{", headers=CE_HEADERS)


def test_attributes_of_a_binary_cloudevent_are_freed_of_percents_and_quotes() -> None:
    headers = {**CE_HEADERS, "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-own": r'"a \"b\""'}

    told = event({}, headers=headers)

    assert told["subject"] == "Euro € 😀"
    assert told["own"] == 'a "b"'


def test_anything_else_is_passed_on_byte_for_byte() -> None:
    body = b'{ "n": 123456789012345678901234567890, "Records": [] }'

    found = read(body)

    assert isinstance(found, PushedEvent)
    assert found.payload == body
    assert read(b"", form="raw") == PushedEvent(b"{}")


@pytest.mark.parametrize(
    ("form", "sent", "sentence"),
    [
        ("auto", b"{", "the body is no JSON"),
        ("raw", b"\xff", "the body is no JSON"),
        ("s3", [], "must be a JSON object"),
        ("s3", {"Records": []}, "Records of the S3 notification must be a list that is not empty"),
        ("s3", {"Records": [7]}, "each of the Records must be an object"),
        ("s3", {"Records": [{}]}, "s3 of the S3 record must be an object"),
        ("s3", {"Records": [{**stored("k"), "eventName": ""}]}, "the S3 record has no eventName"),
        ("s3", {"Records": [{**stored("k"), "eventName": "s3:"}]}, "names no event"),
        ("s3", {"Records": [{**stored("k"), "eventTime": "yesterday"}]}, "is no moment"),
        ("s3", {"Records": [stored("k", size=-1)]}, "size of the object of the S3 record must be a whole number"),
        ("s3", {"Records": [stored("k", size=2**63)]}, "must be a whole number"),
        ("s3", {"Records": [stored("")]}, "the object of the S3 record has no key"),
        ("seaweedfs", {**SEAWEEDFS, "event_type": "touch"}, "'touch' of the SeaweedFS message is none of"),
        ("seaweedfs", {"key": "/buckets/a/b"}, "has no event_type"),
        ("seaweedfs", [], "must be a JSON object"),
        ("seaweedfs", sea(mtime=2**62), "is no moment"),
        ("seaweedfs", sea(md5="?"), "md5 of the SeaweedFS message is no base64"),
        ("seaweedfs", {**SEAWEEDFS, "event_type": "rename", "message_data": {}}, "has no new_parent_path"),
        ("sns", {"Type": "Gossip"}, "'Gossip' of the SNS message is none of"),
        ("sns", {**SNS_NOTIFICATION, "Message": None}, "Message of the SNS message must be a text"),
        ("sns", {**SNS_NOTIFICATION, "TopicArn": 1}, "TopicArn of the SNS message must be a text"),
        ("sns", {**SNS_SUBSCRIPTION, "Token": ""}, "the SNS message has no Token"),
        ("sns", {**SNS_NOTIFICATION, "MessageAttributes": {"a": 1}}, "message attribute 'a'"),
        ("cloudevents", {**CLOUDEVENT, "specversion": "0.3"}, "'0.3' of the CloudEvent is not 1.0"),
        ("cloudevents", {**CLOUDEVENT, "id": ""}, "the CloudEvent has no id"),
        ("cloudevents", {**CLOUDEVENT, "data_base64": ""}, "both data and data_base64"),
        ("cloudevents", [CLOUDEVENT], "must be a JSON object"),
        ("cloudevents", b"{", "the CloudEvent is no JSON"),
        ("sns", [], "must be a JSON object"),
        ("sns", {**SNS_NOTIFICATION, "Subject": 7}, "Subject of the SNS message must be a text"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(form: str, sent: object, sentence: str) -> None:
    with pytest.raises(EventMalformed, match=sentence):
        read(sent, form=form)


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"content-type": "application/cloudevents-batch+json"}, "batches of CloudEvents are not taken"),
        ({**CE_HEADERS, "ce-type": ""}, "has no type"),
        ({**CE_HEADERS, "ce-data": "x"}, "names no attribute"),
        ({**CE_HEADERS, "ce-subject": "%FF"}, "is no UTF-8 text"),
        ({"x-amz-sns-rawdelivery": "true", "x-amz-sns-message-type": "Notification"}, "carries no signature"),
        ({"x-amz-sns-message-type": "Notification"}, "has no Type"),
    ],
)
def test_headers_that_are_malformed_are_refused_with_the_reason(headers: dict[str, str], sentence: str) -> None:
    with pytest.raises(EventMalformed, match=sentence):
        read({}, headers=headers)


@given(
    sent=JSON_VALUES
    | st.builds(
        lambda inner: {"Records": [{**stored("k"), **inner}]},
        st.dictionaries(st.sampled_from(list(stored("k"))), JSON_VALUES),
    )
    | st.builds(
        lambda inner: {**SNS_NOTIFICATION, **inner},
        st.dictionaries(st.sampled_from(list(SNS_NOTIFICATION)), JSON_VALUES),
    )
    | st.builds(lambda inner: {**SEAWEEDFS, **inner}, st.dictionaries(st.sampled_from(list(SEAWEEDFS)), JSON_VALUES)),
    form=st.sampled_from(list(PushFormat)),
)
def test_whatever_is_sent_is_an_event_of_json_or_nothing_or_malformed(sent: object, form: PushFormat) -> None:
    try:
        found = read(sent, form=form)
    except EventMalformed:
        return

    match found:
        case PushedEvent(payload=payload):
            json.loads(payload)
        case SnsMessage():
            json.loads(found.to_event())
        case PushedNothing(reason=reason):
            assert reason


@pytest.mark.parametrize(
    ("wanted", "is_let"),
    [
        (PushFilter(bucket="uploads", prefix="in/", suffix=".jpg", events=("ObjectCreated:*",)), True),
        (PushFilter(events=("s3:ObjectRemoved:*", "s3:ObjectCreated:Put")), True),
        (PushFilter(prefix="in/Happy Face"), True),
        (PushFilter(bucket="up*"), True),
        (PushFilter(prefix="in/Happy+Face"), False),
        (PushFilter(bucket="upload"), False),
        (PushFilter(suffix=".png"), False),
        (PushFilter(events=("ObjectRemoved:*",)), False),
    ],
)
def test_a_filter_lets_through_the_objects_that_fit_it(wanted: PushFilter, *, is_let: bool) -> None:
    assert isinstance(read(MINIO, wanted=wanted), PushedEvent) is is_let


def test_only_the_records_that_fit_are_in_the_event() -> None:
    told = event({"Records": [stored("a/1"), stored("b/2"), stored("a/3")]}, wanted=PushFilter(prefix="a/"))

    assert [record["s3"]["object"]["key"] for record in told["Records"]] == ["a/1", "a/3"]


@pytest.mark.parametrize("sent", [{"n": 1}, CLOUDEVENT, SNS_NOTIFICATION])
def test_a_filter_of_objects_lets_nothing_else_through(sent: object) -> None:
    assert isinstance(read(sent, wanted=PushFilter(bucket="uploads")), PushedNothing)


def test_a_filter_of_events_looks_at_the_type_of_a_cloudevent() -> None:
    assert isinstance(read(CLOUDEVENT, wanted=PushFilter(events=("com.example.*",))), PushedEvent)
    assert isinstance(read(CLOUDEVENT, wanted=PushFilter(events=("org.*",))), PushedNothing)
