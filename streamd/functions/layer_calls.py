"""Layers by the API: PublishLayerVersion, GetLayerVersion(ByArn), ListLayers, ListLayerVersions, DeleteLayerVersion."""

import hmac
import re
from datetime import UTC, datetime
from hashlib import sha256

from streamd.errors import PackageInvalid
from streamd.functions.calls import Answer, Call
from streamd.functions.code import kept_code
from streamd.functions.faults import Fault, invalid, not_found
from streamd.functions.host import Host
from streamd.functions.layers import LayerVersion
from streamd.functions.pages import page_of

__all__ = [
    "delete_layer_version",
    "get_layer_code",
    "get_layer_version",
    "get_layer_version_by_arn",
    "list_layer_versions",
    "list_layers",
    "publish_layer_version",
]

_ARN = re.compile(r"arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:(\d{12}):layer:([a-zA-Z0-9-_]+)(?::\d+)?")
_NAME_LENGTH_MAX = 64
_NOTHING = "The resource you requested does not exist."


async def publish_layer_version(host: Host, call: Call) -> Answer:
    """Keep a zip as a layer's next version. Raises Fault."""
    members = call.members
    name = _name(host, members["LayerName"])
    package = await kept_code(host.packages, members["Content"])
    version = await host.layers.publish(
        LayerVersion(
            name=name,
            number=0,
            arn=f"arn:aws:lambda:{call.region}:{host.account.id}:layer:{name}",
            code_sha256=package.sha256,
            code_size=package.byte_count,
            unzipped_byte_count=package.unzipped_byte_count,
            description=members.get("Description", ""),
            license=members.get("LicenseInfo", ""),
            runtimes=tuple(members.get("CompatibleRuntimes") or ()),
            architectures=tuple(members.get("CompatibleArchitectures") or ()),
            created_ms=host.clock.now_ms(),
        )
    )
    return Answer(status=201, document=_whole(host, call, version))


async def get_layer_version(host: Host, call: Call) -> Answer:
    """Tell of a version, and where its zip can be fetched. Raises Fault."""
    name = _name(host, call.members["LayerName"])
    number = call.members["VersionNumber"]
    found = [version for version in host.layers.versions(name) if version.number == number]
    if not found:
        raise not_found(_NOTHING)
    return Answer(document=_whole(host, call, found[0]))


async def get_layer_version_by_arn(host: Host, call: Call) -> Answer:
    """Tell of a version by its ARN. Raises Fault."""
    version = host.layers.find(call.members["Arn"])
    if version is None:
        raise not_found(_NOTHING)
    return Answer(document=_whole(host, call, version))


async def list_layers(host: Host, call: Call) -> Answer:
    """List the layers with their newest version that fits. Raises Fault."""
    chosen, marker = page_of(host, host.layers.names(), call, key=str)
    layers = []
    for name in chosen:
        fitting = [version for version in host.layers.versions(name) if _fits(version, call)]
        if fitting:
            arn = fitting[0].arn.rpartition(":")[0]
            layers.append({"LayerName": name, "LayerArn": arn, "LatestMatchingVersion": _short(fitting[0])})
    return Answer(document={"Layers": layers, **marker})


async def list_layer_versions(host: Host, call: Call) -> Answer:
    """List a layer's versions that fit, newest first. Raises Fault."""
    name = _name(host, call.members["LayerName"])
    fitting = [version for version in host.layers.versions(name) if _fits(version, call)]
    chosen, marker = page_of(host, fitting, call, key=lambda version: f"{10**12 - version.number:013d}")
    return Answer(document={"LayerVersions": [_short(version) for version in chosen], **marker})


async def delete_layer_version(host: Host, call: Call) -> Answer:
    """Remove a version, if there is one. Functions that have it keep it. Raises Fault."""
    name, number = _name(host, call.members["LayerName"]), call.members["VersionNumber"]
    arns = [version.arn for version in host.layers.versions(name) if version.number == number]
    users = [
        function.name
        for function in host.registry
        for configuration in (function.latest, *host.registry.versions(function.name))
        if set(arns) & set(configuration.layers)
    ]
    if users:
        # AWS keeps serving it to them in secret; here it would be gone from the disk, so it is refused.
        raise invalid(f"Layer version {arns[0]} is in use by function {users[0]}.")
    await host.layers.delete(name, number)
    return Answer(status=204)


async def get_layer_code(host: Host, call: Call) -> Answer:
    """Send a version's zip to whoever has its address. Raises Fault."""
    name, number = call.path["name"], call.path["version"]
    token = (call.first("token") or "").encode(errors="surrogateescape")
    if not hmac.compare_digest(_token(host, name, number).encode(), token):
        raise Fault(403, "AccessDeniedException", {"Message": "The address of the layer is not whole."})
    found = [version for version in host.layers.versions(name) if str(version.number) == number]
    if not found:
        raise not_found(_NOTHING)
    try:
        content = await host.packages.content(found[0].code_sha256)
    except PackageInvalid as error:
        raise not_found(str(error)) from None
    return Answer(body=content, content_type="application/zip")


def _name(host: Host, told: str) -> str:
    match = _ARN.fullmatch(told)
    name = match[2] if match else told
    if match and match[1] != host.account.id:
        raise not_found(_NOTHING)
    if len(name) > _NAME_LENGTH_MAX or not re.fullmatch(r"[a-zA-Z0-9-_]+", name):
        raise invalid(f"1 validation error detected: Value '{told}' at 'layerName' is not the name of a layer.")
    return name


def _fits(version: LayerVersion, call: Call) -> bool:
    runtime, architecture = call.get("CompatibleRuntime"), call.get("CompatibleArchitecture")
    return (runtime is None or runtime in version.runtimes) and (
        architecture is None or architecture in version.architectures
    )


def _short(version: LayerVersion) -> dict[str, object]:
    document: dict[str, object] = {
        "LayerVersionArn": version.arn,
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": f"{datetime.fromtimestamp(version.created_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.000+0000",
    }
    if version.runtimes:
        document["CompatibleRuntimes"] = list(version.runtimes)
    if version.architectures:
        document["CompatibleArchitectures"] = list(version.architectures)
    if version.license:
        document["LicenseInfo"] = version.license
    return document


def _whole(host: Host, call: Call, version: LayerVersion) -> dict[str, object]:
    token = _token(host, version.name, str(version.number))
    return {
        "LayerArn": version.arn.rpartition(":")[0],
        **_short(version),
        "Content": {
            "Location": f"{call.origin}/_streamd/layers/{version.name}/{version.number}?token={token}",
            "CodeSha256": version.code_sha256,
            "CodeSize": version.code_size,
        },
    }


def _token(host: Host, name: str, number: str) -> str:
    return hmac.digest(host.secret, f"layer {name} {number}".encode(errors="surrogateescape"), sha256).hex()
