"""Functions as the API tells of them, member by member as AWS does."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from streamd.core.function import LATEST, Alias, Configuration, EventSettings, Function

__all__ = ["alias_document", "configuration_document", "event_settings_document", "iso", "listed_document", "qualified"]

_RUNTIME_ARN = "arn:aws:lambda:{region}::runtime:streamd"
_UNLISTED = frozenset(
    {
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode",
        "RuntimeVersionConfig",
        "State",
        "StateReason",
        "StateReasonCode",
    }
)


def qualified(function: Function, version: str) -> str:
    """Give the ARN of a version; $LATEST's has no qualifier."""
    return function.arn if version == LATEST else f"{function.arn}:{version}"


def configuration_document(
    function: Function, configuration: Configuration, *, is_settled: bool, layer_sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Tell of a version; ``is_settled`` is whether the last create or update is done."""
    revision = configuration.revision if is_settled else configuration.revision_before
    document: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": qualified(function, configuration.version),
        "Runtime": configuration.runtime,
        "Role": configuration.role,
        "Handler": configuration.handler,
        "CodeSize": configuration.code_size,
        "Description": configuration.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mb,
        "LastModified": iso(configuration.modified_ms),
        "CodeSha256": configuration.code_sha256,
        "Version": configuration.version,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": revision,
        **_state(configuration, is_settled=is_settled),
        "PackageType": "Zip",
        "Architectures": [configuration.architecture],
        "EphemeralStorage": {"Size": configuration.scratch_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {
            "LogFormat": "Text",
            "LogGroup": f"/aws/lambda/{function.name}",
            **configuration.logging,
        },
        "RuntimeVersionConfig": {"RuntimeVersionArn": _RUNTIME_ARN.format(region=function.arn.split(":")[3])},
        **configuration.told,
    }
    if configuration.variables is not None:
        document["Environment"] = {"Variables": dict(configuration.variables)}
    if configuration.layers:
        document["Layers"] = [{"Arn": arn, "CodeSize": layer_sizes.get(arn, 0)} for arn in configuration.layers]
    if configuration.dead_letter:
        document["DeadLetterConfig"] = {"TargetArn": configuration.dead_letter}
    return document


def listed_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a version's document as lists have it: without what changes by itself."""
    return {name: value for name, value in document.items() if name not in _UNLISTED}


def alias_document(function: Function, alias: Alias) -> dict[str, Any]:
    """Tell of an alias."""
    document: dict[str, Any] = {
        "AliasArn": f"{function.arn}:{alias.name}",
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        document["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return document


def event_settings_document(function: Function, qualifier: str, settings: EventSettings) -> dict[str, Any]:
    """Tell how a version's or alias's asynchronous invocations are settled; the ARN has its qualifier always."""
    document: dict[str, Any] = {
        "LastModified": settings.modified_ms / 1000,
        "FunctionArn": f"{function.arn}:{qualifier}",
        "DestinationConfig": {
            "OnSuccess": {"Destination": settings.on_success} if settings.on_success else {},
            "OnFailure": {"Destination": settings.on_failure} if settings.on_failure else {},
        },
    }
    if settings.retry_count_max is not None:
        document["MaximumRetryAttempts"] = settings.retry_count_max
    if settings.age_s_max is not None:
        document["MaximumEventAgeInSeconds"] = settings.age_s_max
    return document


def _state(configuration: Configuration, *, is_settled: bool) -> dict[str, str]:
    if is_settled:
        return {"State": "Active", "LastUpdateStatus": "Successful"}
    if configuration.is_new:
        return {
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
        }
    return {
        "State": "Active",
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    }


def iso(time_ms: int) -> str:
    """Write a moment as functions have it."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}+0000"
