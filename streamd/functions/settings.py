"""What may be configured for a function: members of a request, held against AWS's rules and what streamd can do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from streamd.core.function import Configuration
from streamd.functions.faults import Fault, invalid, validation
from streamd.functions.host import Host
from streamd.functions.variables import RESERVED

__all__ = ["changed", "new_configuration", "refuse_what_is_not_there"]

_MEMORY_MB_MAX = 10_240
_VARIABLES_BYTE_COUNT_MAX = 4096
_LAYER_COUNT_MAX = 5
_VARIABLE_NAME = re.compile(r"[a-zA-Z]\w*", re.ASCII)
# What is told back as it was given: it changes nothing about how a function runs here, and tools read it again.
_TOLD = ("VpcConfig", "TracingConfig", "KMSKeyArn", "FileSystemConfigs", "SnapStart")
_UNLIKE_AWS = {
    "CapacityProviderConfig": "Managed instances",
    "DurableConfig": "Durable functions",
    "AcceleratorConfig": "Accelerators",
    "ImageConfig": "Container images",
    "CodeSigningConfigArn": "Code signing",
    "TenancyConfig": "Tenant isolation",
    "PublishTo": "Publishing to $LATEST.PUBLISHED",
    "RuntimeConfig": "Runtime configuration",
}


def refuse_what_is_not_there(members: Mapping[str, Any]) -> None:
    """Refuse features of AWS that would be a lie to accept. Raises Fault."""
    for member, feature in _UNLIKE_AWS.items():
        if members.get(member):
            raise invalid(
                f"{feature} ({member}) are not supported by streamd."
                if feature.endswith("s")
                else f"{feature} ({member}) is not supported by streamd."
            )
    if members.get("PackageType", "Zip") != "Zip":
        raise invalid("PackageType Image is not supported by streamd: send the code as ZipFile.")
    if (members.get("SnapStart") or {}).get("ApplyOn", "None") != "None":
        raise invalid("SnapStart is not supported by streamd.")


def new_configuration(host: Host, members: Mapping[str, Any], configuration: Configuration) -> Configuration:
    """Give the configuration of a new function: the rest of a request's members on top of its code. Raises Fault."""
    if not members.get("Runtime") or not members.get("Handler"):
        raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    architectures = members.get("Architectures") or ["x86_64"]
    if len(architectures) != 1:
        raise invalid("Architectures must hold one value.")
    return changed(host, members, replace(configuration, architecture=architectures[0]))


def changed(host: Host, members: Mapping[str, Any], configuration: Configuration) -> Configuration:
    """Give a configuration with the members of a request that were sent. Raises Fault."""
    refuse_what_is_not_there(members)
    for member, change in _CHANGES.items():
        if (value := members.get(member)) is not None:
            configuration = change(host, value, configuration)
    told = {member: members[member] for member in _TOLD if members.get(member) is not None}
    return replace(configuration, told={**configuration.told, **_as_told(told)})


def _runtime(host: Host, value: str, configuration: Configuration) -> Configuration:
    if value not in host.runtimes:
        raise invalid(
            f"The runtime {value} is not available: streamd found nothing on this machine that runs it, "
            'and its settings name no command for it ([runtime."…"]).'
        )
    return replace(configuration, runtime=value)


def _timeout(host: Host, value: int, configuration: Configuration) -> Configuration:
    if value > host.timeout_s_max:
        raise _over("timeout", value, host.timeout_s_max)
    return replace(configuration, timeout_s=value)


def _memory(_: Host, value: int, configuration: Configuration) -> Configuration:
    if value > _MEMORY_MB_MAX:
        raise _over("memorySize", value, _MEMORY_MB_MAX)
    return replace(configuration, memory_mb=value)


def _variables(_: Host, value: Mapping[str, Any], configuration: Configuration) -> Configuration:
    variables: Mapping[str, str] = value.get("Variables") or {}
    if "Variables" in value and not variables:
        return replace(configuration, variables=None)
    prefix = (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
    )
    reserved = sorted(variables.keys() & RESERVED)
    if reserved:
        raise invalid(
            f"{prefix}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = orjson.dumps(dict(variables))
    if len(measured) > _VARIABLES_BYTE_COUNT_MAX:
        raise invalid(f"{prefix}exceeded the 4KB limit. String measured: {measured.decode()}")
    for name, text in variables.items():
        if "\0" in text or not _VARIABLE_NAME.fullmatch(name):
            raise invalid(f"{prefix}cannot be set: {name}")
    return replace(configuration, variables=dict(variables))


def _layers(host: Host, value: list[str], configuration: Configuration) -> Configuration:
    if len(value) > _LAYER_COUNT_MAX:
        raise invalid("Cannot reference more than 5 layers.")
    for arn in value:
        if host.layers.find(arn) is None:
            raise invalid(f"Layer version {arn} does not exist.")
    if len({arn.rpartition(":")[0] for arn in value}) != len(value):
        raise invalid("Two different versions of the same layer are not allowed to be referenced in the same function.")
    return replace(configuration, layers=tuple(value))


def _dead_letter(host: Host, value: Mapping[str, str], configuration: Configuration) -> Configuration:
    target = value.get("TargetArn") or ""
    if target:
        host.require_target(target)
    return replace(configuration, dead_letter=target)


def _logging(_: Host, value: Mapping[str, str], configuration: Configuration) -> Configuration:
    if value.get("LogFormat") != "JSON" and (value.get("ApplicationLogLevel") or value.get("SystemLogLevel")):
        raise invalid("To set log levels, the log format must be JSON.")
    levels = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"} if value.get("LogFormat") == "JSON" else {}
    return replace(configuration, logging={**levels, **value})


def _architectures(_: Host, value: list[str], configuration: Configuration) -> Configuration:
    return replace(configuration, architecture=value[0]) if value else configuration


_CHANGES: dict[str, Callable[[Host, Any, Configuration], Configuration]] = {
    "Runtime": _runtime,
    "Handler": lambda _, value, configuration: replace(configuration, handler=value),
    "Role": lambda _, value, configuration: replace(configuration, role=value),
    "Description": lambda _, value, configuration: replace(configuration, description=value),
    "Timeout": _timeout,
    "MemorySize": _memory,
    "EphemeralStorage": lambda _, value, configuration: replace(configuration, scratch_mb=value["Size"]),
    "Environment": _variables,
    "Layers": _layers,
    "DeadLetterConfig": _dead_letter,
    "LoggingConfig": _logging,
    "Architectures": _architectures,
}


def _as_told(told: dict[str, Any]) -> dict[str, Any]:
    """Fill in what AWS tells beside what was given."""
    if "VpcConfig" in told:
        told["VpcConfig"] = {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", **told["VpcConfig"]}
    if "SnapStart" in told:
        told["SnapStart"] = {"ApplyOn": "None", "OptimizationStatus": "Off"}
    return told


def _over(member: str, value: int, maximum: int) -> Fault:
    return validation(
        f"Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must have value less than or equal to {maximum}"
    )
