"""What an event source mapping may be set to: members of a request, held against AWS's rules and the source's kind."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from streamd.core.event_patterns import compile_filter
from streamd.errors import PatternInvalid
from streamd.functions.faults import invalid, validation

__all__ = ["DYNAMODB", "KINESIS", "checked_members", "kind_of", "shown_members"]

KINESIS = re.compile(
    r"arn:aws[a-zA-Z-]*:kinesis:[a-z0-9-]+:\d{12}:stream/[a-zA-Z0-9_.-]+(?:/consumer/[a-zA-Z0-9_.-]+:\d+)?"
)
DYNAMODB = re.compile(r"arn:aws[a-zA-Z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[a-zA-Z0-9_.-]+/stream/.+")

_FILTER_COUNT_MAX = 10
_AGE_S_MIN = 60
_DEFAULTS: Mapping[str, Any] = {
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}
_KEPT = (*_DEFAULTS, "DestinationConfig", "FilterCriteria", "KMSKeyArn", "MetricsConfig")
_FOREIGN = (
    "AmazonManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "LoggingConfig",
    "ProvisionedPollerConfig",
    "Queues",
    "ScalingConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "Topics",
)


def kind_of(arn: str) -> str:
    """Tell what kind of source an ARN names: ``kinesis`` or ``dynamodb``. Raises Fault for any other."""
    if KINESIS.fullmatch(arn):
        return "kinesis"
    if DYNAMODB.fullmatch(arn):
        return "dynamodb"
    raise invalid(f"Unrecognized event source, must be kinesis or dynamodb: {arn}")


def checked_members(
    given: Mapping[str, Any], present: Mapping[str, Any], *, check_target: Callable[[str], None], kind: str
) -> dict[str, Any]:
    """Give a mapping's members with those that were sent, all defaults filled in. Raises Fault."""
    for member in _FOREIGN:
        if given.get(member):
            raise invalid(f"{member} is not supported for the given event source mapping type.")
    members = {**_DEFAULTS, **present}
    members |= {member: given[member] for member in _KEPT if given.get(member) is not None}
    _check_age(members["MaximumRecordAgeInSeconds"])
    if given.get("FilterCriteria") is not None:
        members["FilterCriteria"] = _checked_filters(given["FilterCriteria"], kind)
        if not members["FilterCriteria"]["Filters"]:
            del members["FilterCriteria"]
    if given.get("DestinationConfig") is not None:
        members["DestinationConfig"] = _checked_destination(given["DestinationConfig"], check_target)
    metrics = (given.get("MetricsConfig") or {}).get("Metrics") or []
    if set(metrics) - {"EventCount"}:
        raise invalid("Only the metric EventCount is supported for the given event source mapping type.")
    return members


def shown_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Give the members as the API tells them."""
    shown = dict(members)
    shown["DestinationConfig"] = {"OnFailure": (members.get("DestinationConfig") or {}).get("OnFailure") or {}}
    return shown


def _check_age(age_s: int) -> None:
    if age_s != -1 and age_s < _AGE_S_MIN:
        raise validation(
            f"Value '{age_s}' at 'maximumRecordAgeInSeconds' failed to satisfy constraint: "
            "Member must be -1 or have value greater than or equal to 60"
        )


def _checked_filters(criteria: Mapping[str, Any], kind: str) -> dict[str, Any]:
    patterns = [each["Pattern"] for each in criteria.get("Filters") or [] if each.get("Pattern") is not None]
    if len(patterns) > _FILTER_COUNT_MAX:
        raise invalid(f"Number of filters cannot be greater than {_FILTER_COUNT_MAX}.")
    try:
        compile_filter(patterns, data_is_parsed=kind == "kinesis")
    except PatternInvalid:
        raise invalid("Invalid filter pattern definition.") from None
    return {"Filters": [{"Pattern": pattern} for pattern in patterns]}


def _checked_destination(config: Mapping[str, Any], check_target: Callable[[str], None]) -> dict[str, Any]:
    if (config.get("OnSuccess") or {}).get("Destination"):
        raise invalid("Unsupported DestinationConfig parameter for given event source mapping type.")
    target = (config.get("OnFailure") or {}).get("Destination")
    if not target:
        return {}
    check_target(target)
    return {"OnFailure": {"Destination": target}}
