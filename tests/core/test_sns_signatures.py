"""Signatures of SNS: real keys, certificates of the test's own making, and everything that must not get through."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamd.core.push_sns import SnsMessage, read_sns
from streamd.core.sns_signatures import SNS_HOSTS, canonical_text, require_certificate_url, require_url, verify_sns
from streamd.errors import MessageUnproven
from tests.clocks import START_MS
from tests.core.push_samples import SNS_NOTIFICATION, SNS_SUBSCRIPTION
from tests.core.sns_signer import signer

DAY_MS = 86_400_000
UNSUBSCRIPTION = {**SNS_SUBSCRIPTION, "Type": "UnsubscribeConfirmation"}
WITHOUT_SUBJECT = {name: value for name, value in SNS_NOTIFICATION.items() if name != "Subject"}
MESSAGES = [SNS_NOTIFICATION, WITHOUT_SUBJECT, SNS_SUBSCRIPTION, UNSUBSCRIPTION]
NAMES = ["notification", "without subject", "subscription", "unsubscription"]


def message(document: dict[str, Any]) -> SnsMessage:
    return read_sns({}, json.loads(json.dumps(document)))


def test_a_notification_is_signed_name_by_name() -> None:
    assert canonical_text(message(SNS_NOTIFICATION)).decode() == (
        "Message\nHello from SNS!\n"
        "MessageId\n95df01b4-ee98-5cb9-9903-4c221d41eb5e\n"
        "Subject\nhello\n"
        "Timestamp\n2026-11-23T03:32:00.000Z\n"
        "TopicArn\narn:aws:sns:us-east-1:000000000000:topic\n"
        "Type\nNotification\n"
    )


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("document", MESSAGES, ids=NAMES)
def test_a_message_that_is_signed_is_proven(document: dict[str, Any], version: str) -> None:
    signed = signer().signed({**document, "Message": "grün\n\n😀"}, version=version)

    verify_sns(message(signed), signer().certificate, now_ms=START_MS)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("document", MESSAGES, ids=NAMES)
def test_no_signed_member_can_be_changed(document: dict[str, Any], version: str) -> None:
    signed = signer().signed(document, version=version)
    members = {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn"} & signed.keys()

    for name in members:
        with pytest.raises(MessageUnproven, match="does not fit"):
            verify_sns(message({**signed, name: signed[name] + "x"}), signer().certificate, now_ms=START_MS)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"Type": "UnsubscribeConfirmation"}, "does not fit"),
        ({"SignatureVersion": "1"}, "does not fit"),
        ({"SignatureVersion": "3"}, "'3' of the SNS message is neither 1 nor 2"),
        ({"SignatureVersion": ""}, "carries no signature"),
        ({"Signature": ""}, "does not fit"),
        ({"Signature": "?"}, "no base64"),
    ],
)
def test_a_signature_of_another_sort_is_refused(changed: dict[str, str], sentence: str) -> None:
    signed = {**signer().signed(SNS_SUBSCRIPTION), **changed}

    with pytest.raises(MessageUnproven, match=sentence):
        verify_sns(message(signed), signer().certificate, now_ms=START_MS)


def test_the_signature_of_another_key_is_refused() -> None:
    signed = signer(1).signed(SNS_NOTIFICATION)

    with pytest.raises(MessageUnproven, match="does not fit"):
        verify_sns(message(signed), signer().certificate, now_ms=START_MS)


@pytest.mark.parametrize("now_ms", [START_MS - 2 * DAY_MS, START_MS + 2 * DAY_MS])
def test_a_certificate_that_is_not_valid_now_is_refused(now_ms: int) -> None:
    signed = signer().signed(SNS_NOTIFICATION)

    with pytest.raises(MessageUnproven, match="not valid now"):
        verify_sns(message(signed), signer().certificate, now_ms=now_ms)


def test_what_is_no_certificate_is_refused() -> None:
    key = signer().key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    for content in (b"", b"<html>", key):
        with pytest.raises(MessageUnproven, match="no certificate"):
            verify_sns(message(signer().signed(SNS_NOTIFICATION)), content, now_ms=START_MS)


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem",
        "https://sns.us-east-1.amazonaws.com:443/x.pem",
        "https://SNS.eu-central-1.amazonaws.com/x.pem?a=b",
    ],
)
def test_certificates_of_sns_may_be_fetched(url: str) -> None:
    require_certificate_url(url, hosts=SNS_HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.txt",
        "https://sns.us-east-1.amazonaws.com/?x.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
        "https://evil.example#sns.us-east-1.amazonaws.com/x.pem",
        "https://evil.example\\.sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com:8443/x.pem",
        "https://sns.a.b.amazonaws.com/x.pem",
        "https://sns.s3.amazonaws.com/x.pem",
        "https://sns.s3-us-west-2.amazonaws.com/x.pem",
        "https://sns.mine.s3.amazonaws.com/x.pem",
        "https://xsns.us-east-1.amazonaws.com/x.pem",
        "https://sns..amazonaws.com/x.pem",
        "file:///etc/x.pem",
        "https://[::1]/x.pem",
        " https://sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem\n",
        "",
    ],
)
def test_certificates_from_elsewhere_are_not_fetched(url: str) -> None:
    with pytest.raises(MessageUnproven):
        require_certificate_url(url, hosts=SNS_HOSTS)


def test_a_route_may_list_a_host_of_its_own_with_its_port_and_without_https() -> None:
    require_url("http://127.0.0.1:4100/?a=b", what="SubscribeURL", hosts=["127.0.0.1:4100"], is_http_allowed=True)

    with pytest.raises(MessageUnproven, match="4101, which is not among"):
        require_url("http://127.0.0.1:4101/", what="SubscribeURL", hosts=["127.0.0.1:4100"], is_http_allowed=True)
