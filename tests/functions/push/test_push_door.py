"""The push door over a socket: what it takes lies on disk before it is answered, and nothing else gets in."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamd.core.sigv4 import Caller, SignedRequest
from streamd.errors_auth import AuthenticationError
from streamd.functions.calls import Call
from streamd.functions.dialect import LambdaDialect
from streamd.metrics import Metrics
from tests.core.push_samples import MINIO, S3_EVENT, SNS_EVENT, SNS_NOTIFICATION, SNS_SUBSCRIPTION
from tests.core.sns_signer import signer
from tests.functions.push.doors import ARN, FakeSns, FullQueue, open_door

TOKEN = "Bearer opensesame"
TOPIC = SNS_NOTIFICATION["TopicArn"]
UPLOADS = {"name": "uploads", "function": "thumbnails", "auth": "token", "token": TOKEN}
ALLOWED = {
    "Sid": "s",
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "lambda:InvokeFunction",
    "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::uploads"}},
}


@pytest.fixture
async def sns() -> AsyncIterator[FakeSns]:
    """Give an SNS that listens."""
    fake = FakeSns()
    async with fake.server:
        yield fake


def news(sns: FakeSns, **members: Any) -> dict[str, Any]:
    """Give a route for messages of that SNS, open to whoever brings one that is signed."""
    return {
        "name": "news",
        "function": "thumbnails",
        "format": "sns",
        "auth": "none",
        "source_arn": TOPIC,
        "sns_hosts": [sns.host],
        "sns_http": True,
        **members,
    }


def signed(sns: FakeSns, document: dict[str, Any], *, version: str = "2", **members: str) -> dict[str, Any]:
    """Sign a message whose addresses are that SNS's."""
    addresses = {"SigningCertURL": f"{sns.url}/x.pem"}
    if "SubscribeURL" in document:
        addresses["SubscribeURL"] = f"{sns.url}/?Action=ConfirmSubscription&Token=t"
    return signer().signed({**document, **addresses, **members}, version=version)


async def test_a_notification_lies_in_the_queue_before_it_is_answered(tmp_path: Path) -> None:
    async with open_door(tmp_path, [UPLOADS]) as step:
        status, answer = await step.push("uploads", MINIO, authorization=TOKEN)

        (event,) = step.queued()

    assert status == 200
    assert answer == {"accepted": True, "requestId": event.request_id}
    assert event.arn == ARN
    assert orjson.loads(event.payload) == S3_EVENT


async def test_the_qualifier_of_a_route_is_the_events(tmp_path: Path) -> None:
    async with open_door(tmp_path, [{**UPLOADS, "function": "thumbnails:$LATEST"}]) as step:
        await step.push("uploads", {"n": 1}, authorization=TOKEN)

        (event,) = step.queued()

    assert event.arn == f"{ARN}:$LATEST"


async def test_without_the_token_nothing_gets_in(tmp_path: Path) -> None:
    async with open_door(tmp_path, [UPLOADS]) as step:
        answers = [await step.push("uploads", MINIO, authorization=each) for each in ("Bearer opensesamE", "x")]
        answers.append(await step.push("uploads", b"no json either"))

        assert not step.queued()

    assert [status for status, _ in answers] == [403, 403, 403]
    assert not any("opensesame" in str(answer) for answer in answers)


async def test_a_signature_over_the_body_lets_in(tmp_path: Path) -> None:
    route = {
        "name": "hooks",
        "function": "thumbnails",
        "auth": "hmac",
        "hmac_header": "X-Hub-Signature-256",
        "hmac_secret": "key",
        "hmac_prefix": "sha256=",
    }
    right = "sha256=" + hmac.new(b"key", b'{"n":1}', hashlib.sha256).hexdigest()
    async with open_door(tmp_path, [route]) as step:
        good, _ = await step.push("hooks", b'{"n":1}', x_hub_signature_256=right)
        bad, _ = await step.push("hooks", b'{"n":2}', x_hub_signature_256=right)

        documents = step.documents()

    assert (good, bad) == (200, 403)
    assert documents == [{"n": 1}]


async def test_only_listed_addresses_get_in(tmp_path: Path) -> None:
    near = {"name": "near", "function": "thumbnails", "auth": "none", "addresses": ["127.0.0.0/8"]}
    far = {"name": "far", "function": "thumbnails", "auth": "none", "addresses": ["10.0.0.0/8"]}
    async with open_door(tmp_path, [near, far]) as step:
        good, _ = await step.push("near", {})
        bad, _ = await step.push("far", {}, x_forwarded_for="10.0.0.1")

        assert len(step.queued()) == 1

    assert (good, bad) == (200, 403)


async def test_a_route_that_is_not_there_is_a_404(tmp_path: Path) -> None:
    async with open_door(tmp_path, [UPLOADS]) as step:
        status, answer = await step.push("elsewhere", {}, authorization=TOKEN)

    assert status == 404
    assert answer["Message"] == "Push route not found: elsewhere"


async def test_what_is_malformed_is_a_400_that_says_why(tmp_path: Path) -> None:
    async with open_door(tmp_path, [{**UPLOADS, "format": "s3"}]) as step:
        status, answer = await step.push("uploads", {"Records": []}, authorization=TOKEN)

        assert not step.queued()

    assert status == 400
    assert "Records of the S3 notification must be a list" in answer["message"]


async def test_what_is_too_large_is_a_413(tmp_path: Path) -> None:
    large = b'"' + b"x" * ((1 << 20) - 2) + b'"'
    async with open_door(tmp_path, [UPLOADS, {**UPLOADS, "name": "small", "body_byte_count_max": 10}]) as step:
        good, _ = await step.push("uploads", large, authorization=TOKEN)
        bad, _ = await step.push("uploads", large + b" ", authorization=TOKEN)
        small, _ = await step.push("small", b'"123456789"', authorization=TOKEN)

        assert len(step.queued()) == 1

    assert (good, bad, small) == (200, 413, 413)


async def test_what_the_filter_drops_is_answered_so_that_it_is_not_sent_again(tmp_path: Path) -> None:
    async with open_door(tmp_path, [{**UPLOADS, "suffix": ".png"}]) as step:
        status, answer = await step.push("uploads", MINIO, authorization=TOKEN)

        assert not step.queued()

    assert status == 200
    assert answer == {"accepted": False, "reason": "the route's filter does not let it through"}


async def test_a_full_queue_and_a_missing_function_are_tried_again_later(tmp_path: Path) -> None:
    async with open_door(
        tmp_path, [UPLOADS, {**UPLOADS, "name": "new", "function": "later"}], queue=FullQueue()
    ) as step:
        full, _ = await step.push("uploads", {}, authorization=TOKEN)
        missing, answer = await step.push("new", {}, authorization=TOKEN)
        async with step.client.post("/_push/uploads", headers={"Authorization": TOKEN}) as response:
            pause = response.headers["Retry-After"]

    assert (full, missing) == (429, 503)
    assert answer["Message"].startswith("Function not found: arn:aws:lambda:")
    assert int(pause) > 0


async def test_a_principal_gets_in_only_with_the_policy_of_the_function(tmp_path: Path) -> None:
    async with open_door(tmp_path, [{**UPLOADS, "principal": "s3.amazonaws.com"}]) as step:
        before, answer = await step.push("uploads", MINIO, authorization=TOKEN)
        await step.allow(ALLOWED)
        after, _ = await step.push("uploads", MINIO, authorization=TOKEN)
        other = orjson.loads(orjson.dumps(MINIO).replace(b'"name":"uploads"', b'"name":"other"'))
        elsewhere, _ = await step.push("uploads", other, authorization=TOKEN)

        assert len(step.queued()) == 1

    assert (before, after, elsewhere) == (403, 200, 403)
    assert "does not let s3.amazonaws.com invoke it for arn:aws:s3:::uploads" in answer["Message"]


async def test_the_source_of_a_route_is_what_its_policy_is_asked_for_when_nothing_else_tells(tmp_path: Path) -> None:
    route = {**UPLOADS, "principal": "s3.amazonaws.com", "source_arn": "arn:aws:s3:::uploads"}
    async with open_door(tmp_path, [route, {**route, "name": "b", "source_arn": "arn:aws:s3:::b"}]) as step:
        await step.allow(ALLOWED)
        good, _ = await step.push("uploads", {"n": 1}, authorization=TOKEN)
        bad, _ = await step.push("b", {"n": 1}, authorization=TOKEN)

    assert (good, bad) == (200, 403)


async def test_a_route_with_a_source_takes_nothing_from_another(tmp_path: Path) -> None:
    async with open_door(tmp_path, [{**UPLOADS, "source_arn": "arn:aws:s3:::other"}]) as step:
        status, answer = await step.push("uploads", MINIO, authorization=TOKEN)

    assert status == 403
    assert answer["Message"] == "uploads takes nothing from arn:aws:s3:::uploads."


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_signed_notification_gets_in_without_anything_else(tmp_path: Path, sns: FakeSns, version: str) -> None:
    message = signed(sns, SNS_NOTIFICATION, version=version)
    async with open_door(tmp_path, [news(sns)]) as step:
        status, _ = await step.push("news", message, x_amz_sns_message_type="Notification")

        (event,) = step.documents()

    assert status == 200
    expected = SNS_EVENT["Records"][0]["Sns"]
    told = event["Records"][0]["Sns"]
    assert told["Signature"] == message["Signature"]
    assert told["SigningCertUrl"] == f"{sns.url}/x.pem"
    assert {name: told[name] for name in ("Message", "Subject", "TopicArn", "MessageAttributes")} == {
        name: expected[name] for name in ("Message", "Subject", "TopicArn", "MessageAttributes")
    }


async def test_the_certificate_is_fetched_once(tmp_path: Path, sns: FakeSns) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        for number in range(3):
            await step.push("news", signed(sns, SNS_NOTIFICATION, MessageId=str(number)))

        assert len(step.queued()) == 3

    assert sns.paths == ["/x.pem"]


async def test_a_message_that_is_not_proven_reaches_no_function(tmp_path: Path, sns: FakeSns) -> None:
    good = signed(sns, SNS_NOTIFICATION)
    forged = [
        {**good, "Message": "Hello from SNS?"},
        {**good, "Signature": signer(1).signed(good)["Signature"]},
        {**good, "SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem"},
        {**good, "SigningCertURL": f"{sns.url}/x.pem".replace("127.0.0.1", "localhost")},
        {**good, "SigningCertURL": ""},
        {**good, "SignatureVersion": "1"},
        signed(sns, SNS_NOTIFICATION, TopicArn="arn:aws:sns:us-east-1:999999999999:topic"),
    ]
    async with open_door(tmp_path, [news(sns)]) as step:
        answers = [await step.push("news", each) for each in forged]

        assert not step.queued()

    assert [status for status, _ in answers] == [403] * len(forged)
    assert set(sns.paths) == {"/x.pem"}


async def test_a_certificate_that_proved_nothing_is_not_kept(tmp_path: Path, sns: FakeSns) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        for number in range(3):
            forged = {**signed(sns, SNS_NOTIFICATION), "SigningCertURL": f"{sns.url}/{number}.pem", "Message": "x"}
            assert (await step.push("news", forged))[0] == 403

        assert not step.door._sns._certificate_by_url

    assert sns.paths == ["/0.pem", "/1.pem", "/2.pem"]


@pytest.mark.parametrize("status", [302, 403, 500])
async def test_a_message_waits_while_the_certificate_cannot_be_had(tmp_path: Path, sns: FakeSns, status: int) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        sns.status = status
        before, _ = await step.push("news", signed(sns, SNS_NOTIFICATION))
        sns.status = 200
        after, _ = await step.push("news", signed(sns, SNS_NOTIFICATION))

        assert len(step.queued()) == 1

    assert (before, after) == (503, 200)
    assert "/elsewhere.pem" not in sns.paths


async def test_a_subscription_is_confirmed(tmp_path: Path, sns: FakeSns) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        status, answer = await step.push("news", signed(sns, SNS_SUBSCRIPTION))

        assert not step.queued()

    assert (status, answer) == (200, {"accepted": False, "reason": "subscribed"})
    assert sns.paths == ["/x.pem", "/?Action=ConfirmSubscription&Token=t"]


async def test_a_subscription_is_confirmed_nowhere_else_even_when_it_is_signed(tmp_path: Path, sns: FakeSns) -> None:
    document = {**SNS_SUBSCRIPTION, "SigningCertURL": f"{sns.url}/x.pem"}
    elsewhere = signer().signed({**document, "SubscribeURL": sns.url.replace("127.0.0.1", "localhost") + "/inside"})
    async with open_door(tmp_path, [news(sns)]) as step:
        status, answer = await step.push("news", elsewhere)

    assert status == 403
    assert "not among the hosts of the route" in answer["Message"]
    assert sns.paths == ["/x.pem"]


async def test_a_subscription_to_a_topic_of_somebody_else_is_not_confirmed(tmp_path: Path, sns: FakeSns) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        foreign = signed(sns, SNS_SUBSCRIPTION, TopicArn="arn:aws:sns:us-east-1:999999999999:topic")
        status, _ = await step.push("news", foreign)

    assert status == 403
    assert not sns.paths


async def test_http_is_asked_only_where_the_route_says_so(tmp_path: Path, sns: FakeSns) -> None:
    async with open_door(tmp_path, [news(sns, sns_http=False)]) as step:
        status, answer = await step.push("news", signed(sns, SNS_SUBSCRIPTION))

    assert status == 403
    assert "is not HTTPS" in answer["Message"]
    assert not sns.paths


async def test_the_end_of_a_subscription_is_logged_and_not_undone(
    tmp_path: Path, sns: FakeSns, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_door(tmp_path, [news(sns)]) as step:
        status, _ = await step.push("news", signed(sns, {**SNS_SUBSCRIPTION, "Type": "UnsubscribeConfirmation"}))

    assert status == 200
    assert sns.paths == ["/x.pem"]
    assert f"push route 'news' is no longer subscribed to {TOPIC}" in caplog.text


async def test_messages_without_signatures_get_in_where_a_token_vouches_for_them(tmp_path: Path, sns: FakeSns) -> None:
    route = news(sns, auth="token", token=TOKEN, sns_verify=False)
    async with open_door(tmp_path, [route]) as step:
        good, _ = await step.push("news", SNS_NOTIFICATION, authorization=TOKEN)
        bad, _ = await step.push("news", SNS_NOTIFICATION)

    assert (good, bad) == (200, 403)
    assert not sns.paths


async def test_who_looks_for_a_receiver_finds_one(tmp_path: Path) -> None:
    async with open_door(tmp_path, [UPLOADS]) as step:
        statuses = []
        for path in ("/", "/_push/uploads", "/_push/uploads/", "/_push/elsewhere"):
            async with step.client.head(path) as response:
                statuses.append(response.status)

    assert statuses == [200, 200, 200, 404]


async def test_routes_are_listed_without_their_secrets(tmp_path: Path) -> None:
    route = {**UPLOADS, "bucket": "uploads", "format": "s3"}
    async with open_door(tmp_path, [route]) as step, step.client.get("/_streamd/push-routes") as response:
        text = await response.text()

    assert "opensesame" not in text
    assert orjson.loads(text) == {
        "PushRoutes": [
            {
                "Name": "uploads",
                "Path": "/_push/uploads",
                "FunctionArn": ARN,
                "Format": "s3",
                "Auth": "token",
                "Filter": {"Bucket": "uploads", "Prefix": "", "Suffix": "", "Events": []},
                "Principal": "",
                "SourceArn": "",
            }
        ]
    }


class NobodySigns:
    """Knows no key."""

    def authenticate(self, request: SignedRequest, *, services: Any) -> Caller:
        """Refuse everybody."""
        raise AuthenticationError(f"{request!r} {services}")


async def test_the_dialect_asks_pushers_for_no_signature_but_those_who_list(tmp_path: Path) -> None:
    async with open_door(tmp_path, [UPLOADS]) as step:
        dialect = LambdaDialect(NobodySigns(), Metrics(), operations={}, routes=step.door.routes())
        headers = {"authorization": TOKEN, "host": "h"}
        pushed = await dialect.answer(SignedRequest("POST", "/_push/uploads", "", headers, b'{"n":1}'))
        listed = await dialect.answer(SignedRequest("GET", "/_streamd/push-routes", "", {"host": "h"}, b""))

        assert step.documents() == [{"n": 1}]

    assert (pushed.status, listed.status) == (200, 403)


async def test_a_caller_whose_address_nobody_knows_is_on_no_list(tmp_path: Path) -> None:
    near = {"name": "near", "function": "thumbnails", "auth": "none", "addresses": ["0.0.0.0/0", "::/0"]}
    async with open_door(tmp_path, [near]) as step:
        dialect = LambdaDialect(NobodySigns(), Metrics(), operations={}, routes=step.door.routes())
        reply = await dialect.answer(SignedRequest("POST", "/_push/near", "", {"host": "h"}, b"{}"))

    assert reply.status == 403
    assert Call.__dataclass_fields__["peer"].default == ""
