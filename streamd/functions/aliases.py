"""Aliases: CreateAlias, GetAlias, ListAliases, UpdateAlias and DeleteAlias."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamd.core.function import LATEST, Alias, Function
from streamd.functions.calls import Answer, Call
from streamd.functions.documents import alias_document
from streamd.functions.faults import conflict, invalid, validation
from streamd.functions.host import Host
from streamd.functions.naming import alias_missing
from streamd.functions.pages import page_of
from streamd.functions.revisions import require_revision

__all__ = ["create_alias", "delete_alias", "get_alias", "list_aliases", "update_alias"]

_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)")


async def create_alias(host: Host, call: Call) -> Answer:
    """Name a version. Raises Fault."""
    members = call.members
    function, _ = host.named(members["FunctionName"])
    name: str = members["Name"]
    if not _NAME.fullmatch(name):
        raise validation(
            f"Value '{name}' at 'name' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
        )

    def decide(present: Function) -> Function:
        if name in present.aliases:
            raise conflict(f"Alias already exists: {present.arn}:{name}")
        alias = _checked(
            host,
            present,
            Alias(
                name=name,
                version=members["FunctionVersion"],
                description=members.get("Description", ""),
                weights=_weights(members),
                revision=host.new_revision(),
            ),
        )
        return replace(present, aliases={**present.aliases, name: alias})

    function = await host.change(function, decide)
    return Answer(status=201, document=alias_document(function, function.aliases[name]))


async def get_alias(host: Host, call: Call) -> Answer:
    """Tell of an alias. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    return Answer(document=alias_document(function, _find(function, call.members["Name"])))


async def list_aliases(host: Host, call: Call) -> Answer:
    """List a function's aliases by name, those of one version if it is named. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    wanted = call.get("FunctionVersion")
    aliases = sorted(function.aliases.values(), key=lambda alias: alias.name)
    found = [alias for alias in aliases if wanted is None or wanted in (alias.version, *alias.weights)]
    chosen, marker = page_of(host, found, call, key=lambda alias: alias.name)
    return Answer(document={"Aliases": [alias_document(function, alias) for alias in chosen], **marker})


async def update_alias(host: Host, call: Call) -> Answer:
    """Change what an alias stands for: the members that were sent. Raises Fault."""
    members = call.members
    function, _ = host.named(members["FunctionName"])
    name = members["Name"]

    def decide(present: Function) -> Function:
        alias = _find(present, name)
        require_revision(members.get("RevisionId"), alias.revision, noun="Alias")
        alias = _checked(
            host,
            present,
            replace(
                alias,
                version=members.get("FunctionVersion", alias.version),
                description=members.get("Description", alias.description),
                weights=_weights(members) if "RoutingConfig" in members else alias.weights,
                revision=host.new_revision(),
            ),
        )
        return replace(present, aliases={**present.aliases, name: alias})

    function = await host.change(function, decide)
    return Answer(document=alias_document(function, function.aliases[name]))


async def delete_alias(host: Host, call: Call) -> Answer:
    """Remove an alias, and what was configured for it; one that is not there does not matter. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    name = call.members["Name"]

    def decide(present: Function) -> Function:
        return replace(
            present,
            aliases=_without(present.aliases, name),
            provisioned=_without(present.provisioned, name),
            policies=_without(present.policies, name),
            event_settings=_without(present.event_settings, name),
            urls=_without(present.urls, name),
        )

    await host.change(function, decide)
    return Answer(status=204)


def _weights(members: Mapping[str, Any]) -> dict[str, float]:
    return dict((members.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _checked(host: Host, function: Function, alias: Alias) -> Alias:
    """Refuse an alias of what is not there. Raises Fault."""
    host.configuration(function, alias.version)
    if alias.weights and alias.version == LATEST:
        raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    if len(alias.weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for version, weight in alias.weights.items():
        if version == LATEST or not _NUMBER.fullmatch(version):
            raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
        if version == alias.version:
            raise invalid(f"Invalid function version {version}. Function version {version} is already included.")
        if not 0.0 <= weight <= 1.0:
            raise validation(
                f"Value '{{{version}={weight}}}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
                "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
                "Member must have value greater than or equal to 0.0]"
            )
        host.configuration(function, version)
    return alias


def _find(function: Function, name: str) -> Alias:
    alias = function.aliases.get(name)
    if alias is None:
        raise alias_missing(f"{function.arn}:{name}")
    return alias


def _without(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != name}
