"""How a folder or a file becomes a function: what runs it, what is called, and the calls that make or change it."""

import asyncio
import sys
import time
from base64 import b64encode
from collections.abc import Set as AbstractSet
from typing import Final

from streamd.errors import ConfigInvalid
from streamd.sdk.client import JsonObject
from streamd.sdk.failures import ServiceRefused, WaitTimedOut
from streamd.sdk.lambda_client import LambdaClient

__all__ = ["deployed", "entry_point", "runtime_of"]

_FUNCTIONS: Final = "/2015-03-31/functions"
_MODULES: Final = ("app", "main", "handler", "lambda_function", "index")
_WAIT_S: Final = 300.0
_PAUSE_S: Final = 0.05
_NODE: Final = (".mjs", ".js", ".cjs")


def runtime_of(names: AbstractSet[str]) -> str:
    """Tell what runs files of these names. Raises ConfigInvalid when they do not say."""
    if "bootstrap" in names:
        return "provided.al2023"
    if any(name.endswith(".py") for name in names):
        return f"python{sys.version_info.major}.{sys.version_info.minor}"
    if any(name.endswith(_NODE) for name in names):
        return "nodejs22.x"
    raise ConfigInvalid("there is no bootstrap, no .py and no .js file in it: name the runtime with --runtime")


def entry_point(names: AbstractSet[str], runtime: str) -> str:
    """Guess the handler: in one of the usual modules, or in the only one. Raises ConfigInvalid."""
    if runtime.startswith("provided"):
        return "bootstrap"
    ends = (".py",) if runtime.startswith("python") else _NODE
    modules = sorted({name.rpartition(".")[0] for name in names if name.endswith(ends) and "/" not in name})
    usual = [module for module in _MODULES if module in modules]
    if usual or len(modules) == 1:
        module = (usual or modules)[0]
        return f"{module}.{'lambda_handler' if module == 'lambda_function' else 'handler'}"
    raise ConfigInvalid("which module holds the handler? Name it with --handler, such as app.handler")


async def deployed(
    client: LambdaClient, name: str, content: bytes, settings: JsonObject, *, publish: bool
) -> tuple[JsonObject, bool]:
    """Make a function or update it, wait until it is active, and tell of it; whether it is new.

    Raises ServiceRefused, ServiceUnreachable and WaitTimedOut.
    """
    package = b64encode(content).decode()
    path = f"{_FUNCTIONS}/{name}"
    try:
        await client.call("GET", f"{path}/configuration")
        is_new = False
    except ServiceRefused as refused:
        if refused.status != 404:
            raise
        is_new = True
    if is_new:
        document = {"FunctionName": name, "Code": {"ZipFile": package}, **settings}
        await client.call("POST", _FUNCTIONS, document=document)
    else:
        await client.call("PUT", f"{path}/configuration", document=settings)
        await _until_settled(client, name)
        await client.call("PUT", f"{path}/code", document={"ZipFile": package})
    told = await _until_settled(client, name)
    if publish:
        told = (await client.call("POST", f"{path}/versions", document={})).document()
    return told, is_new


async def _until_settled(client: LambdaClient, name: str) -> JsonObject:
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        told: JsonObject = (await client.call("GET", f"{_FUNCTIONS}/{name}/configuration")).document()
        if told["State"] == "Active" and told.get("LastUpdateStatus") == "Successful":
            return told
        if time.monotonic() > deadline_s:
            raise WaitTimedOut(name, awaited="Active", found=told["State"], timeout_s=_WAIT_S)
        await asyncio.sleep(_PAUSE_S)
