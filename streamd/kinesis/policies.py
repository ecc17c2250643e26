"""Resource policies of streams and registered consumers: kept as they were given, and checked before that.

A policy is IAM's policy JSON. It is stored and answered; it grants and denies nothing here, where access is a matter
of the access keys that the daemon knows. One that IAM would not understand is refused, so that what works here also
works in AWS.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from streamd.engine.engine import Engine
from streamd.kinesis.exchange import Answer, Call
from streamd.kinesis.faults import Fault
from streamd.kinesis.naming import invalid_argument
from streamd.kinesis.resources import Resource, change_resource, load_resource

__all__ = ["delete_resource_policy", "get_resource_policy", "put_resource_policy"]

_POLICY_BYTE_COUNT_MAX = 20 * 1024
_NO_POLICY = "{}"
_VERSIONS = ("2008-10-17", "2012-10-17")
_EFFECTS = ("Allow", "Deny")
_POLICY_ELEMENTS = frozenset({"Id", "Statement", "Version"})
# Each of these is needed, under its own name or turned round.
_CHOICES = (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource"))
_STATEMENT_ELEMENTS = frozenset({"Condition", "Effect", "Sid"}.union(*_CHOICES))


async def put_resource_policy(engine: Engine, call: Call) -> Answer:
    """Attach a policy to a stream or a consumer, in place of the one it had. Raises Fault and the engine's errors."""
    policy = call.members["Policy"]

    def decide(resource: Resource) -> Resource:
        _check_policy(policy)
        return replace(resource, policy=policy)

    await change_resource(engine, call.members["ResourceARN"], decide, must_be_active=True)
    return None


async def get_resource_policy(engine: Engine, call: Call) -> Answer:
    """Answer the policy of a stream or a consumer, an empty one if it has none. Raises Fault and StreamNotFound."""
    resource = await load_resource(engine, call.members["ResourceARN"])
    return {"Policy": resource.policy or _NO_POLICY}


async def delete_resource_policy(engine: Engine, call: Call) -> Answer:
    """Take the policy off a stream or a consumer. Raises Fault, also when there is none, and the engine's errors."""
    arn = call.members["ResourceARN"]

    def decide(resource: Resource) -> Resource:
        if resource.policy is None:
            raise Fault("ResourceNotFoundException", f"No resource policy found for resource ARN {arn}.")
        return replace(resource, policy=None)

    await change_resource(engine, arn, decide, must_be_active=True)
    return None


def _check_policy(policy: str) -> None:
    """Refuse what is not policy JSON. Raises Fault."""
    if len(policy.encode()) > _POLICY_BYTE_COUNT_MAX:
        raise _invalid_policy(f"This policy is larger than {_POLICY_BYTE_COUNT_MAX} bytes")
    try:
        document = orjson.loads(policy)
    except orjson.JSONDecodeError:
        raise _invalid_policy("This policy contains invalid Json") from None
    if not isinstance(document, dict):
        raise _invalid_policy("This policy contains invalid Json")
    _require_known(document, _POLICY_ELEMENTS, where="The policy")
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise _invalid_policy(f"Version must be one of {', '.join(_VERSIONS)}")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _invalid_policy("The policy must have a Statement")
    for statement in statements:
        _check_statement(statement)


def _check_statement(statement: object) -> None:
    if not isinstance(statement, dict):
        raise _invalid_policy("A Statement must be an object")
    _require_known(statement, _STATEMENT_ELEMENTS, where="A Statement")
    if statement.get("Effect") not in _EFFECTS:
        raise _invalid_policy("A Statement's Effect must be Allow or Deny")
    for choice in _CHOICES:
        given = [element for element in choice if element in statement]
        if len(given) != 1:
            raise _invalid_policy(f"A Statement must have either {choice[0]} or {choice[1]}")
        if not _is_valid(given[0], statement[given[0]]):
            raise _invalid_policy(f"A Statement's {given[0]} is not valid")
    if not isinstance(statement.get("Condition", {}), dict):
        raise _invalid_policy("A Statement's Condition must be an object")
    if not isinstance(statement.get("Sid", ""), str):
        raise _invalid_policy("A Statement's Sid must be a string")


def _is_valid(element: str, value: object) -> bool:
    if element.endswith("Principal"):
        return value == "*" or (isinstance(value, dict) and bool(value) and all(map(_are_texts, value.values())))
    return _are_texts(value)


def _are_texts(value: object) -> bool:
    """Tell whether this is a text, or a list of some."""
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(text, str) and text for text in texts)


def _require_known(document: Mapping[str, Any], known: frozenset[str], *, where: str) -> None:
    unknown = sorted(document.keys() - known)
    if unknown:
        raise _invalid_policy(f"{where} has an unknown element {unknown[0]}")


def _invalid_policy(reason: str) -> Fault:
    return invalid_argument(f"Policy validation error: {reason}")
