"""Versions: PublishVersion, ListVersionsByFunction, and what publishes beside them."""

from dataclasses import replace

from streamd.core.function import LATEST, Configuration, Function
from streamd.errors import FunctionMissing
from streamd.functions.calls import Answer, Call
from streamd.functions.documents import listed_document
from streamd.functions.faults import invalid
from streamd.functions.host import Host
from streamd.functions.naming import function_missing
from streamd.functions.pages import page_of
from streamd.functions.revisions import require_revision

__all__ = ["list_versions_by_function", "publish", "publish_version"]


async def publish_version(host: Host, call: Call) -> Answer:
    """Make an immutable version of $LATEST; the last one again if nothing changed since. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    host.require_settled(function, function.latest)
    require_revision(call.get("RevisionId"), function.latest.revision)
    wanted_sha256 = call.get("CodeSha256")
    if wanted_sha256 not in (None, "", function.latest.code_sha256):
        raise invalid(
            f"CodeSHA256 ({wanted_sha256}) is different from current CodeSHA256 in $LATEST "
            f"({function.latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
        )
    published = await publish(host, function, call.get("Description"))
    return Answer(status=201, document=host.document(function, published))


async def list_versions_by_function(host: Host, call: Call) -> Answer:
    """List $LATEST and the published versions, oldest first. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    versions = [function.latest, *host.registry.versions(function.name)]
    chosen, marker = page_of(host, versions, call, key=_place)
    documents = [listed_document(host.document(function, version)) for version in chosen]
    return Answer(document={"Versions": documents, **marker})


async def publish(host: Host, function: Function, description: str | None) -> Configuration:
    """Publish $LATEST, unless nothing updated it since the last version. Raises Fault.

    Any update counts, as on AWS, also one that sets what was there: its service compares revisions, not contents.
    """

    def decide(present: Function) -> Configuration | None:
        last = next(reversed(host.registry.versions(present.name)), None)
        if last is not None and last.published_revision == present.latest.revision:
            return None
        words = present.latest.description if description is None else description
        return replace(
            present.latest,
            description=words,
            revision=host.new_revision(),
            revision_before=host.new_revision(),
            published_revision=present.latest.revision,
        )

    try:
        published = await host.registry.publish(function.name, decide)
    except FunctionMissing:
        raise function_missing(function.arn) from None
    return published or host.registry.versions(function.name)[-1]


def _place(version: Configuration) -> str:
    return f"{0 if version.version == LATEST else int(version.version):020d}"
