"""Messages that SNS sends to its HTTP subscribers, and the event that Lambda makes of a notification.

Nothing here believes a message: ``sns_signatures`` says whether it is SNS's own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from streamd.core.push_fields import table_of, text_of
from streamd.errors import EventMalformed

__all__ = ["SnsKind", "SnsMessage", "is_sns", "read_sns"]

_WHAT = "the SNS message"
_ARN = re.compile(r"arn:[!-~]{1,1024}", re.ASCII)


class SnsKind(StrEnum):
    """What a message is about."""

    NOTIFICATION = "Notification"
    SUBSCRIPTION = "SubscriptionConfirmation"
    UNSUBSCRIPTION = "UnsubscribeConfirmation"


_KINDS = tuple(SnsKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnsMessage:
    """One message, its members as they came. ``token`` and ``subscribe_url`` are those of confirmations."""

    kind: SnsKind
    message_id: str
    topic: str
    message: str
    timestamp: str
    subject: str | None = None
    signature_version: str = ""
    signature: str = ""
    certificate_url: str = ""
    unsubscribe_url: str = ""
    token: str = ""
    subscribe_url: str = ""
    subscription: str = ""
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_event(self) -> bytes:
        """Write a notification as Lambda hands it to functions, where two members are spelled in another way."""
        sns = {
            "SignatureVersion": self.signature_version,
            "Timestamp": self.timestamp,
            "Signature": self.signature,
            "SigningCertUrl": self.certificate_url,
            "MessageId": self.message_id,
            "Message": self.message,
            "MessageAttributes": self.attributes,
            "Type": self.kind.value,
            "UnsubscribeUrl": self.unsubscribe_url,
            "TopicArn": self.topic,
            "Subject": self.subject,
        }
        record = {
            "EventVersion": "1.0",
            "EventSubscriptionArn": self.subscription,
            "EventSource": "aws:sns",
            "Sns": sns,
        }
        return orjson.dumps({"Records": [record]})


def is_sns(headers: Mapping[str, str], document: object) -> bool:
    """Tell whether a request is a message of SNS, by its header or by what it holds."""
    if "x-amz-sns-message-type" in headers:
        return True
    return isinstance(document, dict) and document.get("Type") in _KINDS and "TopicArn" in document


def read_sns(headers: Mapping[str, str], document: object) -> SnsMessage:
    """Read a message. Raises EventMalformed."""
    if headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        # What is delivered raw is not signed, so nobody could tell who sent it.
        raise EventMalformed("raw message delivery carries no signature: switch it off for this subscription")
    if not isinstance(document, dict):
        raise EventMalformed("an SNS message must be a JSON object")
    kind = text_of(document, "Type", what=_WHAT)
    if kind not in _KINDS:
        raise EventMalformed(f"Type {kind[:40]!r} of {_WHAT} is none of {', '.join(SnsKind)}")
    if headers.get("x-amz-sns-message-type", kind) != kind:
        raise EventMalformed(f"Type of {_WHAT} is not what its header x-amz-sns-message-type says")
    is_notification = kind == SnsKind.NOTIFICATION
    unsubscribe_url = text_of(document, "UnsubscribeURL", what=_WHAT, default="")
    topic = text_of(document, "TopicArn", what=_WHAT)
    needed = "" if is_notification else None
    message = document.get("Message")
    subject = document.get("Subject")
    if not isinstance(message, str):
        raise EventMalformed(f"Message of {_WHAT} must be a text")
    if subject is not None and not isinstance(subject, str):
        raise EventMalformed(f"Subject of {_WHAT} must be a text")
    return SnsMessage(
        kind=SnsKind(kind),
        message_id=text_of(document, "MessageId", what=_WHAT),
        topic=topic,
        message=message,
        timestamp=text_of(document, "Timestamp", what=_WHAT),
        subject=subject,
        signature_version=text_of(document, "SignatureVersion", what=_WHAT, default=""),
        signature=text_of(document, "Signature", what=_WHAT, default=""),
        certificate_url=text_of(document, "SigningCertURL", what=_WHAT, default=""),
        unsubscribe_url=unsubscribe_url,
        token=text_of(document, "Token", what=_WHAT, default=needed),
        subscribe_url=text_of(document, "SubscribeURL", what=_WHAT, default=needed),
        subscription=_subscription(headers, unsubscribe_url) or topic,
        attributes=_attributes(document),
    )


def _subscription(headers: Mapping[str, str], unsubscribe_url: str) -> str:
    """Find the subscription: a header names it, and so does the address to end it."""
    named = headers.get("x-amz-sns-subscription-arn", "")
    if not _ARN.fullmatch(named):
        try:
            named = parse_qs(urlsplit(unsubscribe_url).query).get("SubscriptionArn", [""])[0]
        except ValueError:
            named = ""
    return named if _ARN.fullmatch(named) else ""


def _attributes(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    attributes: dict[str, dict[str, str]] = {}
    for name, told in table_of(document, "MessageAttributes", what=_WHAT).items():
        what = f"message attribute {name[:80]!r}"
        if not isinstance(told, dict) or not isinstance(told.get("Value"), str):
            raise EventMalformed(f"{what} must be an object with a Type and a Value")
        attributes[name] = {"Type": text_of(told, "Type", what=what), "Value": told["Value"]}
    return attributes
