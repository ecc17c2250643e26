"""Counts who is mentioned in a stream of posts, by tumbling window, and puts an alert to a second stream for each.

It runs as a function, where there is no SDK: the call that puts an alert is signed by the few lines below. A window may
be closed twice, if the server died between the alert and the checkpoint: an alert names its shard and window, and its
reader keeps one of each.
"""

import hashlib
import hmac
import json
import os
import urllib.request
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

from streamd.demo.mentions import MentionFinder

__all__ = ["handler"]

_FINDER = MentionFinder(json.loads(os.environ["NAMES"]))
_TARGET = "Kinesis_20131202.PutRecord"
_CONTENT_TYPE = "application/x-amz-json-1.1"


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Count a batch of a window into its state; at the window's end put the alert."""
    counted: dict[str, int] = event["state"] or {"": 0}
    for record in event["Records"]:
        post = json.loads(b64decode(record["kinesis"]["data"]))
        counted[""] = counted.get("", 0) + 1
        for name in _FINDER.find(post["text"]):
            counted[name] = counted.get(name, 0) + 1
    if event["isFinalInvokeForWindow"]:
        mentions = {name: count for name, count in counted.items() if name}
        alert = {
            "shard": event["shardId"],
            "window": event["window"],
            "posts": counted.get("", 0),
            "mentions": mentions,
        }
        _put(alert, key=event["shardId"])
    return {"state": counted}


def _put(alert: dict[str, Any], *, key: str) -> None:
    data = b64encode(json.dumps(alert).encode()).decode()
    body = json.dumps({"StreamName": os.environ["ALERTS"], "PartitionKey": key, "Data": data}).encode()
    url = os.environ["AWS_ENDPOINT_URL"] + "/"
    # The address is the server's own, as it tells its functions.
    request = urllib.request.Request(url, data=body, headers=_signed(url, body))  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        answer.read()


def _signed(url: str, body: bytes) -> dict[str, str]:
    """Sign a put by Signature Version 4, with the key that the function was given."""
    region = os.environ["AWS_REGION"]
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": _CONTENT_TYPE,
        "host": url.split("/")[2],
        "x-amz-date": moment,
        "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"],
        "x-amz-target": _TARGET,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{moment[:8]}/{region}/kinesis/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    claim = f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {claim}"}
