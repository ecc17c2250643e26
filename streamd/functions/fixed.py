"""Operations whose answers hardly vary here: tools read them on every refresh, and nothing depends on them."""

from dataclasses import replace

from streamd.functions.calls import Answer, Call
from streamd.functions.faults import invalid
from streamd.functions.host import Host

__all__ = [
    "get_function_code_signing_config",
    "get_function_recursion_config",
    "get_runtime_management_config",
    "put_function_recursion_config",
    "put_runtime_management_config",
]


async def get_function_code_signing_config(host: Host, call: Call) -> Answer:
    """Tell that code is not signed. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    return Answer(document={"CodeSigningConfigArn": "", "FunctionName": function.name})


async def get_runtime_management_config(host: Host, call: Call) -> Answer:
    """Tell when the runtime is updated: when the machine's interpreter is. Raises Fault."""
    function, configuration = host.configured(call.members["FunctionName"], call.get("Qualifier"))
    arn = str(host.document(function, configuration)["FunctionArn"])
    return Answer(document={"FunctionArn": arn, "UpdateRuntimeOn": function.runtime_update})


async def put_runtime_management_config(host: Host, call: Call) -> Answer:
    """Take the two ways of updating that make no difference here. Raises Fault."""
    function, configuration = host.configured(call.members["FunctionName"], call.get("Qualifier"))
    wanted = call.members["UpdateRuntimeOn"]
    if wanted == "Manual":
        raise invalid("Runtimes cannot be pinned here: streamd runs the interpreters of its machine.")
    await host.change(function, lambda present: replace(present, runtime_update=wanted))
    arn = str(host.document(function, configuration)["FunctionArn"])
    return Answer(document={"FunctionArn": arn, "UpdateRuntimeOn": wanted})


async def get_function_recursion_config(host: Host, call: Call) -> Answer:
    """Tell whether loops are ended. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    return Answer(document={"RecursiveLoop": function.recursion})


async def put_function_recursion_config(host: Host, call: Call) -> Answer:
    """Say whether loops are ended. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    wanted = call.members["RecursiveLoop"]
    await host.change(function, lambda present: replace(present, recursion=wanted))
    return Answer(document={"RecursiveLoop": wanted})
