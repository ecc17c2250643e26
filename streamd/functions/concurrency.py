"""Concurrency: what is reserved for a function, what is kept warm for a version, and the account's limits."""

from dataclasses import replace

from streamd.core.function import LATEST, Function
from streamd.functions.calls import Answer, Call
from streamd.functions.documents import iso
from streamd.functions.faults import Fault, invalid
from streamd.functions.host import Host
from streamd.functions.pages import page_of

__all__ = [
    "delete_function_concurrency",
    "delete_provisioned_concurrency_config",
    "get_account_settings",
    "get_function_concurrency",
    "get_provisioned_concurrency_config",
    "list_provisioned_concurrency_configs",
    "put_function_concurrency",
    "put_provisioned_concurrency_config",
]

_TOTAL_CODE_BYTE_COUNT = 80_530_636_800
_UNZIPPED_BYTE_COUNT = 262_144_000
_ZIPPED_BYTE_COUNT = 52_428_800
# AWS keeps a tenth of the account for functions that reserve nothing; so do we, and one environment at least.
_UNRESERVED_PART = 10


async def put_function_concurrency(host: Host, call: Call) -> Answer:
    """Reserve environments for a function; 0 stops it. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    wanted = call.members["ReservedConcurrentExecutions"]

    def decide(present: Function) -> Function:
        others = sum(each.reserved or 0 for each in host.registry if each.name != present.name)
        minimum = _unreserved_minimum(host)
        if host.concurrency.account_limit - others - wanted < minimum:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
            )
        provisioned = sum(present.provisioned.values())
        if wanted < provisioned:
            raise invalid(
                f"ReservedConcurrentExecutions ({wanted}) should not be lower than function's total "
                f"provisioned concurrency ({provisioned})."
            )
        return replace(present, reserved=wanted)

    await host.change(function, decide)
    return Answer(document={"ReservedConcurrentExecutions": wanted})


async def get_function_concurrency(host: Host, call: Call) -> Answer:
    """Tell what is reserved; nothing at all without. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    return Answer(document={} if function.reserved is None else {"ReservedConcurrentExecutions": function.reserved})


async def delete_function_concurrency(host: Host, call: Call) -> Answer:
    """Reserve nothing any more. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    await host.change(function, lambda present: replace(present, reserved=None))
    return Answer(status=204)


async def put_provisioned_concurrency_config(host: Host, call: Call) -> Answer:
    """Keep environments warm for a version or alias. Raises Fault."""
    function, qualifier = _qualified(host, call)
    wanted = call.members["ProvisionedConcurrentExecutions"]

    def decide(present: Function) -> Function:
        limit = host.concurrency.account_limit if present.reserved is None else present.reserved
        others = sum(count for each, count in present.provisioned.items() if each != qualifier)
        elsewhere = sum(sum(each.provisioned.values()) for each in host.registry if each.name != present.name)
        if others + wanted > limit or others + elsewhere + wanted > host.concurrency.account_limit:
            raise invalid(
                "Specified ConcurrentExecutions for function is greater than function's unreserved concurrent "
                f"executions [{max(0, limit - others)}]."
            )
        return replace(present, provisioned={**present.provisioned, qualifier: wanted})

    function = await host.change(function, decide)
    return Answer(status=202, document=_document(host, function, qualifier))


async def get_provisioned_concurrency_config(host: Host, call: Call) -> Answer:
    """Tell how many are kept, and how many of them are ready. Raises Fault."""
    function, qualifier = _qualified(host, call)
    if qualifier not in function.provisioned:
        sentence = f"No Provisioned Concurrency Config found for function: {function.arn}:{qualifier}"
        document = {"Type": "User", "message": sentence}
        raise Fault(404, "ProvisionedConcurrencyConfigNotFoundException", document)
    return Answer(document=_document(host, function, qualifier))


async def list_provisioned_concurrency_configs(host: Host, call: Call) -> Answer:
    """List what is kept warm of a function. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    chosen, marker = page_of(host, sorted(function.provisioned), call, key=str)
    documents = [
        {"FunctionArn": f"{function.arn}:{qualifier}", **_document(host, function, qualifier)} for qualifier in chosen
    ]
    return Answer(document={"ProvisionedConcurrencyConfigs": documents, **marker})


async def delete_provisioned_concurrency_config(host: Host, call: Call) -> Answer:
    """Keep nothing warm any more. Raises Fault."""
    function, qualifier = _qualified(host, call)
    await host.change(
        function,
        lambda present: replace(
            present, provisioned={each: count for each, count in present.provisioned.items() if each != qualifier}
        ),
    )
    return Answer(status=204)


async def get_account_settings(host: Host, _: Call) -> Answer:
    """Tell the account's limits, and what is used of them."""
    reserved = sum(function.reserved or 0 for function in host.registry)
    sizes = [
        version.code_size
        for function in host.registry
        for version in (function.latest, *host.registry.versions(function.name))
    ]
    return Answer(
        document={
            "AccountLimit": {
                "TotalCodeSize": _TOTAL_CODE_BYTE_COUNT,
                "CodeSizeUnzipped": _UNZIPPED_BYTE_COUNT,
                "CodeSizeZipped": _ZIPPED_BYTE_COUNT,
                "ConcurrentExecutions": host.concurrency.account_limit,
                "UnreservedConcurrentExecutions": host.concurrency.account_limit - reserved,
            },
            "AccountUsage": {"TotalCodeSize": sum(sizes), "FunctionCount": len(host.registry)},
        }
    )


def _unreserved_minimum(host: Host) -> int:
    return max(1, host.concurrency.account_limit // _UNRESERVED_PART)


def _qualified(host: Host, call: Call) -> tuple[Function, str]:
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    qualifier = host.require_qualifier(function, name)
    if qualifier == LATEST:
        raise invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    return function, qualifier


def _document(host: Host, function: Function, qualifier: str) -> dict[str, object]:
    wanted = function.provisioned[qualifier]
    alias = function.aliases.get(qualifier)
    version = qualifier if alias is None else alias.version
    ready = min(wanted, host.concurrency.provisioned(f"{function.arn}:{version}"))
    return {
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready,
        "Status": "READY" if ready >= wanted else "IN_PROGRESS",
        "LastModified": iso(function.latest.modified_ms),
    }
