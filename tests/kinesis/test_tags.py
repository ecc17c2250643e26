"""Tags of streams and consumers, through boto3 and a real daemon."""

from typing import Any

import pytest

from tests.conftest import DaemonFactory
from tests.daemons import Daemon, raw
from tests.kinesis.refusals import ACCOUNT_ID, consumer_arn_of, refusal, stream_arn_of

INVALID = (
    "InvalidArgumentException",
    "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @ :.",
)
SYSTEM = (
    "InvalidArgumentException",
    "Some tag keys in the request started with 'aws:'. System tags cannot be modified.",
)


@pytest.fixture
def stream(kinesis: Any, stream_name: str) -> str:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1)
    return stream_name


def tags_of(kinesis: Any, name: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in kinesis.list_tags_for_stream(StreamName=name)["Tags"]}


def test_added_tags_are_listed_in_order_of_key(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"b": "2", "c": "", "a": "1"})

    listed = kinesis.list_tags_for_stream(StreamName=stream)

    assert listed["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}, {"Key": "c", "Value": ""}]
    assert listed["HasMoreTags"] is False


def test_adding_a_present_key_changes_its_value(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "b": "1"})

    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "2"})

    assert tags_of(kinesis, stream) == {"a": "2", "b": "1"}


def test_removed_tags_are_gone_and_unknown_keys_are_ignored(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "ü0 _.": "1", "/=+-@:": "1"})

    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["ü0 _.", "/=+-@:", "never there"])

    assert tags_of(kinesis, stream) == {"a": "1"}


def test_tags_are_listed_page_by_page(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags=dict.fromkeys("abcde", ""))

    first = kinesis.list_tags_for_stream(StreamName=stream, Limit=2)
    rest = kinesis.list_tags_for_stream(StreamName=stream, Limit=3, ExclusiveStartTagKey="b")

    assert ([tag["Key"] for tag in first["Tags"]], first["HasMoreTags"]) == (["a", "b"], True)
    assert ([tag["Key"] for tag in rest["Tags"]], rest["HasMoreTags"]) == (["c", "d", "e"], False)


def test_a_tag_page_may_start_after_a_key_that_is_not_there(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "", "c": ""})

    listed = kinesis.list_tags_for_stream(StreamName=stream, ExclusiveStartTagKey="b")

    assert [tag["Key"] for tag in listed["Tags"]] == ["c"]


@pytest.mark.parametrize("text", ["abc;def", "abc\tdef", "abc\ndef", "abc,def", "€"])
def test_characters_outside_the_allowed_ones_are_refused_in_keys_and_values(
    kinesis: Any, stream: str, text: str
) -> None:
    assert refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={text: "a"}) == INVALID
    assert refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={"a": text}) == INVALID
    assert refusal(kinesis.remove_tags_from_stream, StreamName=stream, TagKeys=["a", text]) == INVALID
    assert tags_of(kinesis, stream) == {}


def test_letters_of_all_scripts_are_allowed(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"größe 大きさ": "Ωмега ٣"})

    assert tags_of(kinesis, stream) == {"größe 大きさ": "Ωмега ٣"}


def test_a_percent_sign_is_refused_in_words_of_its_own(kinesis: Any, stream: str) -> None:
    why = (
        "because some tags contained illegal characters. The allowed characters are Unicode letters, white-spaces, "
        "'_',',','/','=','+','-','@',':'."
    )
    arn = stream_arn_of(stream)

    added = refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={"a": "5%"})
    removed = refusal(kinesis.remove_tags_from_stream, StreamName=stream, TagKeys=["5%"])
    tagged = refusal(kinesis.tag_resource, ResourceARN=arn, Tags={"5%": "a"})

    code = "InvalidArgumentException"
    assert added == (code, f"Failed to add tags to stream {stream} under account {ACCOUNT_ID} {why}")
    assert removed == (code, f"Failed to remove tags from stream {stream} under account {ACCOUNT_ID} {why}")
    assert tagged == (code, f"Failed to add tags to resource {arn} under account {ACCOUNT_ID} {why}")


@pytest.mark.parametrize("key", ["aws:owner", "AWS:owner", "Aws:"])
def test_keys_of_the_system_are_refused(kinesis: Any, stream: str, key: str) -> None:
    arn = stream_arn_of(stream)

    assert refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={key: "a"}) == SYSTEM
    assert refusal(kinesis.remove_tags_from_stream, StreamName=stream, TagKeys=[key]) == SYSTEM
    assert refusal(kinesis.tag_resource, ResourceARN=arn, Tags={key: "a"}) == SYSTEM
    assert refusal(kinesis.untag_resource, ResourceARN=arn, TagKeys=[key]) == SYSTEM


def test_the_fifty_first_tag_is_refused_and_changing_one_of_fifty_is_not(kinesis: Any, stream: str) -> None:
    kinesis.add_tags_to_stream(StreamName=stream, Tags={f"key{n}": "" for n in range(50)})
    arn = stream_arn_of(stream)

    added = refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={"one more": ""})
    tagged = refusal(kinesis.tag_resource, ResourceARN=arn, Tags={"one more": ""})
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"key7": "changed"})

    assert added == (
        "InvalidArgumentException",
        (
            f"Failed to add tags to stream {stream} under account {ACCOUNT_ID} because a given stream "
            "cannot have more than 50 tags associated with it."
        ),
    )
    assert tagged == (
        "InvalidArgumentException",
        (
            f"Failed to add tags to resource {arn} under account {ACCOUNT_ID} because a given resource "
            "cannot have more than 50 tags associated with it."
        ),
    )
    assert tags_of(kinesis, stream)["key7"] == "changed"
    assert len(tags_of(kinesis, stream)) == 50


def test_a_stream_is_created_with_its_tags(kinesis: Any, stream_name: str) -> None:
    kinesis.create_stream(StreamName=stream_name, ShardCount=1, Tags={"team": "log"})

    assert tags_of(kinesis, stream_name) == {"team": "log"}


def test_a_stream_with_bad_tags_is_not_created(kinesis: Any, stream_name: str) -> None:
    refused = refusal(kinesis.create_stream, StreamName=stream_name, ShardCount=1, Tags={"a;": "b"})

    assert refused == INVALID
    assert refusal(kinesis.describe_stream, StreamName=stream_name)[0] == "ResourceNotFoundException"


def test_an_unknown_stream_is_named_before_its_tags_are_looked_at(kinesis: Any, stream_name: str) -> None:
    expected = ("ResourceNotFoundException", f"Stream {stream_name} under account {ACCOUNT_ID} not found.")
    arn = stream_arn_of(stream_name)

    assert refusal(kinesis.add_tags_to_stream, StreamName=stream_name, Tags={";": "a"}) == expected
    assert refusal(kinesis.remove_tags_from_stream, StreamName=stream_name, TagKeys=[";"]) == expected
    assert refusal(kinesis.list_tags_for_stream, StreamName=stream_name) == expected
    assert refusal(kinesis.tag_resource, ResourceARN=arn, Tags={"a": "a"}) == expected
    assert refusal(kinesis.untag_resource, ResourceARN=arn, TagKeys=["a"]) == expected
    assert refusal(kinesis.list_tags_for_resource, ResourceARN=arn) == expected


def test_tags_of_a_stream_are_reached_by_name_by_arn_and_by_both(kinesis: Any, stream: str) -> None:
    arn = stream_arn_of(stream)

    kinesis.add_tags_to_stream(StreamARN=arn, Tags={"a": "1"})
    kinesis.add_tags_to_stream(StreamName=stream, StreamARN=arn, Tags={"b": "1"})
    kinesis.tag_resource(ResourceARN=arn, Tags={"c": "1", "d": "1"})
    kinesis.untag_resource(ResourceARN=arn, TagKeys=["d", "never there"])
    kinesis.remove_tags_from_stream(StreamARN=arn, TagKeys=["b"])

    expected = [{"Key": "a", "Value": "1"}, {"Key": "c", "Value": "1"}]
    assert kinesis.list_tags_for_stream(StreamARN=arn)["Tags"] == expected
    assert kinesis.list_tags_for_stream(StreamName=stream, StreamARN=arn)["Tags"] == expected
    assert kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"] == expected


def test_a_stream_must_be_named_and_named_once(kinesis: Any, stream: str) -> None:
    neither = refusal(kinesis.add_tags_to_stream, Tags={"a": "1"})
    two = refusal(kinesis.list_tags_for_stream, StreamName=stream, StreamARN=stream_arn_of("other"))

    assert neither == (
        "InvalidArgumentException",
        "Stream arn and stream name can't be empty at the same time",
    )
    assert two == (
        "InvalidArgumentException",
        f"Input stream name {stream} doesn't match the inferred name in stream arn other",
    )


def test_a_consumer_has_tags_of_its_own(kinesis: Any, stream: str) -> None:
    arn = stream_arn_of(stream)
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"stream": "1"})
    registered = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c", Tags={"a": "1"})
    consumer_arn = registered["Consumer"]["ConsumerARN"]

    kinesis.tag_resource(ResourceARN=consumer_arn, Tags={"b": "2"})
    kinesis.untag_resource(ResourceARN=consumer_arn, TagKeys=["a"])

    assert kinesis.list_tags_for_resource(ResourceARN=consumer_arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert tags_of(kinesis, stream) == {"stream": "1"}


def test_an_unknown_consumer_is_named_with_its_time(kinesis: Any, stream: str) -> None:
    arn = consumer_arn_of(stream, "nobody", 1628505164)
    expected = (
        "ResourceNotFoundException",
        f"Consumer nobody with creation timestamp 1628505164 under stream: {stream}, account {ACCOUNT_ID} not found.",
    )

    assert refusal(kinesis.list_tags_for_resource, ResourceARN=arn) == expected
    assert refusal(kinesis.tag_resource, ResourceARN=arn, Tags={"a": "b"}) == expected
    assert refusal(kinesis.untag_resource, ResourceARN=arn, TagKeys=["a"]) == expected


def test_the_stream_of_another_account_is_not_found_there(kinesis: Any, stream: str) -> None:
    arn = stream_arn_of(stream, account_id="999999999999")

    refused = refusal(kinesis.list_tags_for_resource, ResourceARN=arn)

    assert refused == ("ResourceNotFoundException", f"Stream {stream} under account 999999999999 not found.")


@pytest.mark.parametrize("kind", ["queue", "channel"])
def test_queues_and_channels_are_not_found(kinesis: Any, kind: str) -> None:
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT_ID}:{kind}/q"

    code, sentence = refusal(kinesis.list_tags_for_resource, ResourceARN=arn)

    assert code == "ResourceNotFoundException"
    assert "not supported by this version of streamd" in sentence


def test_constraints_on_tags_are_those_of_the_model(kinesis: Any, stream: str) -> None:
    long = "k" * 129
    code, sentence = refusal(kinesis.add_tags_to_stream, StreamName=stream, Tags={long: "v"})

    assert code == "ValidationException"
    assert sentence == (
        f"1 validation error detected: Value '{{{long}=v}}' at 'tags' failed to satisfy constraint: "
        "Map keys must satisfy constraint: [Member must have length less than or equal to 128, "
        "Member must have length greater than or equal to 1]"
    )


def test_a_stream_that_is_being_created_takes_no_tags_yet(daemon_factory: DaemonFactory) -> None:
    kinesis = daemon_factory("--transition-ms", "600000").client()
    kinesis.create_stream(StreamName="slow", ShardCount=1, Tags={"a": "1"})

    refused = refusal(kinesis.add_tags_to_stream, StreamName="slow", Tags={"b": "1"})

    assert refused == (
        "ResourceInUseException",
        f"Stream slow under account {ACCOUNT_ID} not ACTIVE, instead in state CREATING",
    )
    assert tags_of(kinesis, "slow") == {"a": "1"}


def test_changing_tags_answers_an_empty_body(daemon: Daemon, kinesis: Any, stream: str) -> None:
    answer = raw(daemon.url, "AddTagsToStream", {"StreamName": stream, "Tags": {"a": "b"}})

    assert (answer.status, answer.body) == (200, b"")
