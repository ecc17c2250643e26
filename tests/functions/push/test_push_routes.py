"""The settings of push routes: what is read, and what is refused with a sentence that tells no secret."""

from typing import Any

import pytest

from streamd.core.push_events import PushFormat
from streamd.core.push_filters import PushFilter
from streamd.core.push_proofs import HmacEncoding, HmacProof, TokenProof
from streamd.errors import ConfigInvalid
from streamd.functions.push.routes import PushRoutes, SnsTrust
from tests.functions.push.doors import ACCOUNT, ARN

SECRET = "opensesame"
PLAIN = {"name": "uploads", "function": "thumbnails", "auth": "token", "token": f"Bearer {SECRET}"}
HMAC = {"name": "h", "function": "f", "auth": "hmac", "hmac_header": "X-Sig", "hmac_secret": SECRET}
OPEN = {"name": "o", "function": "f", "auth": "none"}
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"


def parse(*tables: object) -> PushRoutes:
    return PushRoutes.parse(list(tables), account=ACCOUNT)


def test_a_route_is_read_member_by_member() -> None:
    route = parse(
        {
            **PLAIN,
            "function": "thumbnails:live",
            "format": "s3",
            "bucket": "uploads",
            "prefix": "in/",
            "suffix": ".jpg",
            "events": ["ObjectCreated:*"],
            "principal": "s3.amazonaws.com",
            "source_arn": "arn:aws:s3:::uploads",
            "addresses": ["10.0.0.0/8"],
            "body_byte_count_max": 1000,
        }
    ).find("uploads")

    assert route is not None
    assert route.arn == f"{ARN}:live"
    assert route.format is PushFormat.S3
    assert route.filter == PushFilter(bucket="uploads", prefix="in/", suffix=".jpg", events=("ObjectCreated:*",))
    assert (route.principal, route.source_arn) == ("s3.amazonaws.com", "arn:aws:s3:::uploads")
    assert route.proofs.secret == TokenProof(f"Bearer {SECRET}")
    assert [str(network) for network in route.proofs.networks] == ["10.0.0.0/8"]
    assert route.body_byte_count_max == 1000


def test_a_route_without_more_takes_every_form() -> None:
    (route,) = parse(PLAIN)

    assert route.arn == ARN
    assert route.format is PushFormat.AUTO
    assert route.sns == SnsTrust(hosts=("sns.*.amazonaws.com",), is_http_allowed=False, is_verified=True)


def test_an_hmac_is_read_member_by_member() -> None:
    (route,) = parse({**HMAC, "hmac_encoding": "base64", "hmac_prefix": "v1="})

    assert route.proofs.secret == HmacProof(header="x-sig", secret=SECRET, encoding=HmacEncoding.BASE64, prefix="v1=")


def test_a_topic_that_signs_needs_no_other_proof() -> None:
    (route,) = parse({**OPEN, "format": "sns", "source_arn": TOPIC})

    assert route.takes_from(TOPIC)
    assert not route.takes_from(TOPIC + "s")


def test_no_secret_is_in_the_representation_of_a_route() -> None:
    assert SECRET not in repr([*parse(PLAIN, HMAC)])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("uploads", "push route 1 is no table"),
        ({"function": "f"}, "push route 1 needs a name"),
        ({**PLAIN, "name": "a/b"}, "push route 1 needs a name"),
        ({**PLAIN, "name": SECRET * 9}, "push route 1 needs a name"),
        ({**PLAIN, "tokn": SECRET}, "unknown field 'tokn' in push route 'uploads'"),
        ({**PLAIN, "token": 7}, "field 'token' of push route 'uploads' must be a text"),
        ({**PLAIN, "token": ""}, "field 'token' of push route 'uploads' must be a text"),
        ({**PLAIN, "token": f" {SECRET}"}, "needs a token"),
        ({**PLAIN, "token": f"{SECRET}\n"}, "needs a token"),
        ({**PLAIN, "token": f"{SECRET}é"}, "needs a token"),
        ({"name": "n", "function": "f", "auth": "token"}, "push route 'n' needs a token"),
        ({"name": "n", "function": "f"}, "field 'auth' of push route 'n' must be one of token, hmac, none"),
        ({**PLAIN, "auth": "none"}, "so its auth must be token"),
        ({**OPEN, "auth": SECRET}, "field 'auth' of push route 'o' must be one of token, hmac, none"),
        ({**PLAIN, "hmac_secret": SECRET}, "has fields of hmac, so its auth must be hmac"),
        ({**HMAC, "token": SECRET}, "has a token, so its auth must be token"),
        ({**HMAC, "hmac_header": "a b"}, "push route 'h' needs hmac_header"),
        ({**HMAC, "hmac_encoding": SECRET}, "field 'hmac_encoding' of push route 'h' must be one of hex, base64"),
        ({"name": "h", "function": "f", "auth": "hmac", "hmac_header": "x"}, "push route 'h' needs hmac_secret"),
        ({**PLAIN, "function": "a b"}, "function 'a b' of push route 'uploads' is no function of this server"),
        ({**PLAIN, "function": ARN.replace("0" * 12, "1" * 12)}, "is no function of this server"),
        ({"name": "n", "auth": "none"}, "push route 'n' names no function"),
        ({**PLAIN, "format": "xml"}, "field 'format' of push route 'uploads' must be one of auto, s3, seaweedfs"),
        ({**PLAIN, "addresses": ["10.0.0.1/8"]}, "'10.0.0.1/8' of push route 'uploads' is neither"),
        ({**PLAIN, "addresses": []}, "field 'addresses' of push route 'uploads' must be a list of texts"),
        ({**PLAIN, "events": "ObjectCreated:*"}, "field 'events' of push route 'uploads' must be a list of texts"),
        ({**PLAIN, "sns_http": 1}, "field 'sns_http' of push route 'uploads' must be true or false"),
        ({**PLAIN, "sns_hosts": ["*"]}, "host '\\*' in sns_hosts of push route 'uploads'"),
        ({**PLAIN, "sns_hosts": ["https://a"]}, "host 'https://a' in sns_hosts of push route 'uploads'"),
        ({**PLAIN, "body_byte_count_max": True}, "must be a number from 1 to"),
        ({**PLAIN, "body_byte_count_max": 1 << 30}, "must be a number from 1 to"),
        (OPEN, "anybody could push to push route 'o'"),
        ({**OPEN, "format": "sns"}, "anybody could push to push route 'o'"),
        ({**OPEN, "format": "sns", "source_arn": TOPIC, "sns_verify": False}, "anybody could push"),
        ({**OPEN, "format": "s3", "source_arn": TOPIC}, "anybody could push to push route 'o'"),
        ({**OPEN, "format": "sns", "source_arn": "arn:aws:sns:*:*:topic"}, "must name the account of a topic"),
        ({**PLAIN, "format": "sns", "bucket": "b"}, "filters objects, of which format sns tells nothing"),
        ({**PLAIN, "format": "raw", "events": ["a"]}, "filters by event, of which format raw tells nothing"),
    ],
)
def test_a_route_that_is_wrong_is_refused_by_name_and_without_its_secret(table: Any, sentence: str) -> None:
    with pytest.raises(ConfigInvalid, match=sentence) as refusal:
        parse(table)

    assert SECRET not in str(refusal.value)


def test_two_routes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="two push routes named 'uploads'"):
        parse(PLAIN, PLAIN)


def test_one_table_instead_of_several_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="two brackets on each side"):
        PushRoutes.parse(PLAIN, account=ACCOUNT)
