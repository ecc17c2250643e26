"""Resource policies: AddPermission, GetPolicy, RemovePermission, and the whole-document operations of 2026.

The statements are kept per qualifier and told as AWS tells them. They decide what a push route may invoke that names
its principal; callers with a key of this server may do everything, as everywhere in streamd.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from streamd.core.function import LATEST, Function, Statements
from streamd.functions.calls import Answer, Call
from streamd.functions.faults import conflict, invalid, not_found
from streamd.functions.host import Host
from streamd.functions.revisions import require_revision

__all__ = [
    "add_permission",
    "allows",
    "delete_resource_policy",
    "get_policy",
    "get_resource_policy",
    "put_resource_policy",
    "remove_permission",
]

_POLICY_BYTE_COUNT_MAX = 20 * 1024
_ACCOUNT = re.compile(r"\d{12}")
_NOTHING = "The resource you requested does not exist."


async def add_permission(host: Host, call: Call) -> Answer:
    """Add a statement. Raises Fault."""
    members = call.members
    function, name = host.named(members["FunctionName"], members.get("Qualifier"))
    qualifier = host.require_qualifier(function, name)
    if name.qualifier == LATEST:
        raise invalid("We currently do not support adding policies for $LATEST.")
    statement = _statement(function, name.qualifier, members)

    def decide(present: Function) -> Function:
        policy = present.policies.get(qualifier, Statements())
        require_revision(members.get("RevisionId"), policy.revision or present.latest.revision, noun="Policy")
        if any(each["Sid"] == statement["Sid"] for each in policy.statements):
            raise conflict(
                f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, "
                "or remove the existing statement."
            )
        return _with_policy(host, present, qualifier, (*policy.statements, statement))

    await host.change(function, decide)
    return Answer(status=201, document={"Statement": orjson.dumps(statement).decode()})


async def get_policy(host: Host, call: Call) -> Answer:
    """Tell the policy, as JSON in a text. Raises Fault."""
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    policy = _policy(function, host.require_qualifier(function, name))
    return Answer(document={"Policy": _written(policy), "RevisionId": policy.revision})


async def remove_permission(host: Host, call: Call) -> Answer:
    """Remove a statement. Raises Fault."""
    members = call.members
    function, name = host.named(members["FunctionName"], members.get("Qualifier"))
    qualifier = host.require_qualifier(function, name)

    def decide(present: Function) -> Function:
        policy = present.policies.get(qualifier)
        if policy is None:
            raise not_found("No policy is associated with the given resource.")
        require_revision(members.get("RevisionId"), policy.revision, noun="Policy")
        rest = tuple(each for each in policy.statements if each.get("Sid") != members["StatementId"])
        if len(rest) == len(policy.statements):
            raise not_found(f"Statement {members['StatementId']} is not found in resource policy.")
        return _with_policy(host, present, qualifier, rest)

    await host.change(function, decide)
    return Answer(status=204)


async def put_resource_policy(host: Host, call: Call) -> Answer:
    """Set the whole policy of a function, version or alias. Raises Fault."""
    function, name = host.named(call.members["ResourceArn"])
    qualifier = host.require_qualifier(function, name)
    statements = _read_policy(call.members["Policy"])

    def decide(present: Function) -> Function:
        policy = present.policies.get(qualifier, Statements())
        require_revision(call.get("RevisionId"), policy.revision, noun="ResourcePolicy")
        return _with_policy(host, present, qualifier, statements)

    function = await host.change(function, decide)
    policy = _policy(function, qualifier)
    return Answer(document={"Policy": _written(policy), "RevisionId": policy.revision})


async def get_resource_policy(host: Host, call: Call) -> Answer:
    """Tell the whole policy. Raises Fault."""
    function, name = host.named(call.members["ResourceArn"])
    policy = _policy(function, host.require_qualifier(function, name))
    return Answer(document={"Policy": _written(policy), "RevisionId": policy.revision})


async def delete_resource_policy(host: Host, call: Call) -> Answer:
    """Remove the whole policy. Raises Fault."""
    function, name = host.named(call.members["ResourceArn"])
    qualifier = host.require_qualifier(function, name)

    def decide(present: Function) -> Function:
        policy = _policy(present, qualifier)
        require_revision(call.get("RevisionId"), policy.revision, noun="ResourcePolicy")
        return _with_policy(host, present, qualifier, ())

    await host.change(function, decide)
    return Answer(status=204)


def allows(function: Function, qualifier: str | None, principal: str, source_arn: str | None) -> bool:
    """Whether a policy lets a principal invoke a function for a source (patterns with ``*`` in the policy)."""
    policy = function.policies.get(qualifier or LATEST)
    if policy is None:
        return False
    fitting = [each for each in policy.statements if _fits(each, principal, source_arn)]
    return any(each["Effect"] == "Allow" for each in fitting) and all(each["Effect"] == "Allow" for each in fitting)


def _fits(statement: Mapping[str, Any], principal: str, source_arn: str | None) -> bool:
    named = statement.get("Principal")
    principals = [named] if isinstance(named, str) else [one for each in (named or {}).values() for one in _list(each)]
    if not any(each in ("*", principal) or each == f"arn:aws:iam::{principal}:root" for each in principals):
        return False
    actions = _list(statement.get("Action", []))
    if not any(fnmatch.fnmatchcase("lambda:InvokeFunction", each) for each in actions):
        return False
    for operator, wanted in (statement.get("Condition") or {}).items():
        for key, patterns in wanted.items():
            if not _holds(operator, key, _list(patterns), source_arn or ""):
                return False
    return True


def _holds(operator: str, key: str, patterns: Sequence[str], source_arn: str) -> bool:
    """Whether a condition holds; one that streamd cannot know the value of does not."""
    match operator.lower(), key.lower():
        case ("arnlike" | "stringlike", "aws:sourcearn"):
            return any(fnmatch.fnmatchcase(source_arn, pattern) for pattern in patterns)
        case ("arnequals" | "stringequals", "aws:sourcearn"):
            return source_arn in patterns
        case ("stringequals", "aws:sourceaccount"):
            account = source_arn.split(":")[4:5]
            # S3's ARNs name no account: there the route's own is meant.
            return not account or account[0] in ("", *patterns)
        case _:
            return False


def _statement(function: Function, qualifier: str | None, members: Mapping[str, Any]) -> dict[str, Any]:
    """Write a statement as AWS writes it."""
    principal: str = members["Principal"]
    shown: Any = {"Service": principal}
    if principal == "*":
        shown = "*"
    elif _ACCOUNT.fullmatch(principal):
        shown = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal.startswith("arn:"):
        shown = {"AWS": principal}
    elif "." not in principal:
        raise invalid("The provided principal was invalid. Please check the principal and try again.")
    statement: dict[str, Any] = {
        "Sid": members["StatementId"],
        "Effect": "Allow",
        "Principal": shown,
        "Action": members["Action"],
        "Resource": function.arn if qualifier is None else f"{function.arn}:{qualifier}",
    }
    equal = {
        key: members[member]
        for member, key in (
            ("SourceAccount", "AWS:SourceAccount"),
            ("EventSourceToken", "lambda:EventSourceToken"),
            ("PrincipalOrgID", "aws:PrincipalOrgID"),
            ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
        )
        if member in members
    }
    condition: dict[str, Any] = {"StringEquals": equal} if equal else {}
    if "SourceArn" in members:
        condition["ArnLike"] = {"AWS:SourceArn": members["SourceArn"]}
    if members.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(members["InvokedViaFunctionUrl"]).lower()}
    return {**statement, "Condition": condition} if condition else statement


def _read_policy(text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid("The policy is not valid JSON.") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not all(_is_statement(each) for each in statements):
        raise invalid("The policy must hold statements, each with an Effect, a Principal and an Action.")
    return tuple(statements)


def _is_statement(statement: object) -> bool:
    return (
        isinstance(statement, dict)
        and statement.get("Effect") in ("Allow", "Deny")
        and isinstance(statement.get("Principal"), str | dict)
        and isinstance(statement.get("Action"), str | list)
        and isinstance(statement.get("Condition", {}), dict)
        and all(isinstance(wanted, dict) for wanted in statement.get("Condition", {}).values())
    )


def _policy(function: Function, qualifier: str) -> Statements:
    policy = function.policies.get(qualifier)
    if policy is None:
        raise not_found(_NOTHING)
    return policy


def _written(policy: Statements) -> str:
    document = {"Version": "2012-10-17", "Id": "default", "Statement": list(policy.statements)}
    return orjson.dumps(document).decode()


def _with_policy(host: Host, function: Function, qualifier: str, statements: tuple[Mapping[str, Any], ...]) -> Function:
    """Give a function with these statements; without any it has no policy. Raises Fault when they are too long."""
    policies = dict(function.policies)
    policies.pop(qualifier, None)
    if statements:
        policy = Statements(statements=statements, revision=host.new_revision())
        if len(_written(policy)) > _POLICY_BYTE_COUNT_MAX:
            raise invalid(f"The final policy size is bigger than the limit ({_POLICY_BYTE_COUNT_MAX}).")
        policies[qualifier] = policy
    return replace(function, policies=policies)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
