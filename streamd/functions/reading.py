"""Functions told of: GetFunction, GetFunctionConfiguration, ListFunctions, and the code by its own address."""

import hmac
from hashlib import sha256

from streamd.core.function import LATEST, Configuration, Function
from streamd.errors import PackageInvalid
from streamd.functions.calls import Answer, Call
from streamd.functions.documents import listed_document
from streamd.functions.faults import Fault, not_found
from streamd.functions.host import Host
from streamd.functions.pages import page_of

__all__ = ["get_code", "get_function", "get_function_configuration", "list_functions"]

_CODE_AGE_MS_MAX = 600_000


async def get_function(host: Host, call: Call) -> Answer:
    """Tell of a version, and where its code can be fetched for ten minutes. Raises Fault."""
    function, configuration = host.configured(call.members["FunctionName"], call.get("Qualifier"))
    document: dict[str, object] = {
        "Configuration": host.document(function, configuration),
        "Code": {"RepositoryType": "S3", "Location": _location(host, call, function, configuration)},
    }
    if function.tags:
        document["Tags"] = dict(function.tags)
    if function.reserved is not None:
        document["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return Answer(document=document)


async def get_function_configuration(host: Host, call: Call) -> Answer:
    """Tell of a version. Raises Fault."""
    function, configuration = host.configured(call.members["FunctionName"], call.get("Qualifier"))
    return Answer(document=host.document(function, configuration))


async def list_functions(host: Host, call: Call) -> Answer:
    """List the functions by name, with ``FunctionVersion=ALL`` their published versions too. Raises Fault."""
    found: list[tuple[Function, Configuration]] = []
    for function in host.registry:
        found.append((function, function.latest))
        if call.get("FunctionVersion") == "ALL":
            found += [(function, version) for version in host.registry.versions(function.name)]
    chosen, marker = page_of(host, found, call, key=_place)
    documents = [listed_document(host.document(function, configuration)) for function, configuration in chosen]
    return Answer(document={"Functions": documents, **marker})


async def get_code(host: Host, call: Call) -> Answer:
    """Send a version's zip to whoever has its address. Raises Fault."""
    name, version = call.path["name"], call.path["version"].replace("LATEST", LATEST)
    expires = call.first("expires") or ""
    token = call.first("token") or ""
    good = _token(host, name, version, expires)
    is_late = not expires.isascii() or not expires.isdigit() or int(expires[:15]) < host.clock.now_ms()
    if not hmac.compare_digest(good.encode(), token.encode(errors="surrogateescape")) or is_late:
        raise Fault(403, "AccessDeniedException", {"Message": "The address of the code has expired or is not whole."})
    _, configuration = host.configured(name, version)
    try:
        content = await host.packages.content(configuration.code_sha256)
    except PackageInvalid as error:
        raise not_found(str(error)) from None
    return Answer(body=content, content_type="application/zip")


def _location(host: Host, call: Call, function: Function, configuration: Configuration) -> str:
    version = configuration.version
    expires = str(host.clock.now_ms() + _CODE_AGE_MS_MAX)
    token = _token(host, function.name, version, expires)
    place = f"/_streamd/code/{function.name}/{version.removeprefix('$')}"
    return f"{call.origin}{place}?expires={expires}&token={token}"


def _token(host: Host, name: str, version: str, expires: str) -> str:
    return hmac.digest(host.secret, f"code {name} {version} {expires}".encode(errors="surrogateescape"), sha256).hex()


def _place(entry: tuple[Function, Configuration]) -> str:
    function, configuration = entry
    number = 0 if configuration.version == LATEST else int(configuration.version)
    # A name ends before anything that a longer one goes on with.
    return f"{function.name}\0{number:020d}"
