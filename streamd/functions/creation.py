"""Functions made, changed and deleted: CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, DeleteFunction.

A change is on disk when it is answered. It passes through AWS's states, which waiters look at: what the answer shows
as Pending or InProgress is Active and Successful once ``transition_ms`` have passed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamd.core.function import LATEST, Configuration, Function
from streamd.errors import FunctionMissing
from streamd.functions.calls import Answer, Call
from streamd.functions.code import kept_code
from streamd.functions.faults import conflict, invalid, validation
from streamd.functions.host import Host
from streamd.functions.naming import function_missing, parse_name
from streamd.functions.publishing import publish
from streamd.functions.revisions import require_revision
from streamd.functions.settings import changed, new_configuration, refuse_what_is_not_there
from streamd.functions.tags import checked_tags
from streamd.storage.packages import UNZIPPED_BYTE_COUNT_MAX

__all__ = ["create_function", "delete_function", "update_function_code", "update_function_configuration"]


async def create_function(host: Host, call: Call) -> Answer:
    """Make a function from a zip. Raises Fault."""
    members = call.members
    name = parse_name(host.account, members["FunctionName"])
    if name.qualifier is not None:
        raise invalid(f"{members['FunctionName']} is not a valid function name: it has a qualifier.")
    refuse_what_is_not_there(members)
    if host.registry.find(name.name) is not None:
        raise conflict(f"Function already exist: {name.name}")
    bare = Configuration(runtime="", handler="", role=members["Role"], code_sha256="", code_size=0)
    # Everything but the code first: a request that is wrong anyway must not leave a package behind.
    checked = new_configuration(host, members, bare)
    tags = checked_tags(members.get("Tags") or {}, {})
    package = await kept_code(host.packages, members["Code"])
    configuration = replace(checked, code_sha256=package.sha256, code_size=package.byte_count)
    _require_room(host, configuration, package.unzipped_byte_count)
    function = Function(
        name=name.name,
        arn=host.account.function_arn(name.name, call.region),
        latest=_stamped(host, configuration, is_new=True),
        tags=tags,
    )
    if not await host.registry.create(function):
        raise conflict(f"Function already exist: {name.name}")
    if members.get("Publish"):
        published = await publish(host, function, members.get("Description"))
        return Answer(status=201, document=host.document(function, published, is_settled=False))
    return Answer(status=201, document=host.document(function, function.latest, is_settled=False))


async def update_function_code(host: Host, call: Call) -> Answer:
    """Give $LATEST other code. Raises Fault."""
    members = call.members
    function = _unqualified(host, members)
    code = {member: members.get(member) for member in ("ZipFile", "S3Bucket", "S3Key", "ImageUri")}
    is_dry_run = bool(members.get("DryRun"))
    host.require_settled(function, function.latest)
    require_revision(members.get("RevisionId"), function.latest.revision)
    package = await kept_code(host.packages, code, is_dry_run=is_dry_run)

    def decide(present: Function) -> Function:
        host.require_settled(present, present.latest)
        require_revision(members.get("RevisionId"), present.latest.revision)
        latest = replace(present.latest, code_sha256=package.sha256, code_size=package.byte_count)
        if architectures := members.get("Architectures"):
            latest = replace(latest, architecture=architectures[0])
        _require_room(host, latest, package.unzipped_byte_count)
        return replace(present, latest=_stamped(host, latest, is_new=False))

    if is_dry_run:
        return Answer(document=host.document(function, decide(function).latest, is_settled=False))
    function = await host.change(function, decide)
    if members.get("Publish"):
        published = await publish(host, function, None)
        return Answer(document=host.document(function, published, is_settled=False))
    return Answer(document=host.document(function, function.latest, is_settled=False))


async def update_function_configuration(host: Host, call: Call) -> Answer:
    """Change how $LATEST runs: the members that were sent. Raises Fault."""
    members = call.members
    function = _unqualified(host, members)

    def decide(present: Function) -> Function:
        host.require_settled(present, present.latest)
        require_revision(members.get("RevisionId"), present.latest.revision)
        latest = changed(host, members, present.latest)
        return replace(present, latest=_stamped(host, latest, is_new=False))

    function = await host.change(function, decide)
    return Answer(document=host.document(function, function.latest, is_settled=False))


async def delete_function(host: Host, call: Call) -> Answer:
    """Remove a function, or one published version of it. Raises Fault."""
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    if name.qualifier is None:
        try:
            await host.registry.delete(function.name)
        except FunctionMissing:
            raise function_missing(function.arn) from None
        return Answer(status=204)
    if name.qualifier == LATEST:
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    if not name.is_version:
        raise validation(
            f"Value '{name.qualifier}' at 'qualifier' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: (|[0-9]+)"
        )
    users = [alias.name for alias in function.aliases.values() if name.qualifier in (alias.version, *alias.weights)]
    if users:
        arns = ", ".join(f"{function.arn}:{user}" for user in users)
        raise conflict(f"Version {name.qualifier} is referenced by the following aliases: [{arns}].")
    await host.registry.delete_version(function.name, name.qualifier)
    return Answer(status=204)


def _require_room(host: Host, configuration: Configuration, unzipped_byte_count: int) -> None:
    """Refuse code that is too large together with its layers. Raises Fault."""
    layers = [host.layers.find(arn) for arn in configuration.layers]
    byte_count = unzipped_byte_count + sum(layer.unzipped_byte_count for layer in layers if layer is not None)
    if byte_count >= UNZIPPED_BYTE_COUNT_MAX:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTE_COUNT_MAX} bytes")


def _unqualified(host: Host, members: Mapping[str, Any]) -> Function:
    function, name = host.named(members["FunctionName"])
    if name.qualifier not in (None, LATEST):
        raise invalid("A published version or an alias cannot be changed: name the function without a qualifier.")
    return function


def _stamped(host: Host, configuration: Configuration, *, is_new: bool) -> Configuration:
    """Date a change, and give it the revisions it has before and after it is settled."""
    now_ms = host.clock.now_ms()
    return replace(
        configuration,
        modified_ms=now_ms,
        settled_ms=now_ms + host.transition_ms,
        is_new=is_new,
        revision=host.new_revision(),
        revision_before=host.new_revision(),
    )
